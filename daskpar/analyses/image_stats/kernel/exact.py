"""Sigma clipping of one pixel in exact arithmetic, with integers of any length.

All values are multiples of one power of two and only their differences matter, so they are counted in
that unit from the smallest; distances and bounds are compared squared, without a root. Slow (tens of
microseconds a pixel), and needed only where a value lies within rounding of a bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from .compiled import MAD_TO_STD
from .options import Rejection


def as_integers(column: Sequence[float]) -> list[int]:
    """Return sorted values, less the first, in a common unit."""
    ratios = [x.as_integer_ratio() for x in column]
    unit = max(denominator for _, denominator in ratios)
    numbers = [numerator * (unit // denominator) for numerator, denominator in ratios]
    return [number - numbers[0] for number in numbers]


def four_mads(used: Sequence[int]) -> int:
    """Return four times the median absolute deviation from the median."""
    twice_median = used[(len(used) - 1) // 2] + used[len(used) // 2]
    deviations = sorted(abs(2 * x - twice_median) for x in used)
    return deviations[(len(used) - 1) // 2] + deviations[len(used) // 2]


def outside(numbers: Sequence[int], first: int, last: int, rule: Rejection) -> list[int]:
    """Return for each value -1, 0 or 1: below, within or above the bounds made from those used.

    Those used are ``numbers[first:last]``. Lengths are in units of 1 / (2 n), squares of 1 / (2 n)^2.
    """
    used = numbers[first:last]
    n = len(used)
    total = sum(used)
    if rule.about_mean:
        centre = 2 * total
    else:
        centre = n * (used[(n - 1) // 2] + used[n // 2])
    if rule.by_mad:
        scale = Fraction(n * four_mads(used), 2) * Fraction(MAD_TO_STD)
        square = scale * scale
    else:
        square = Fraction(4 * (n * sum(x * x for x in used) - total * total))
    limits = [
        math.inf if sigma == math.inf else Fraction(sigma) ** 2 * square
        for sigma in (rule.sigma_lower, rule.sigma_upper)
    ]
    sides = []
    for x in numbers:
        away = 2 * n * x - centre
        side = (away > 0) - (away < 0)
        sides.append(side if away * away > limits[side > 0] else 0)
    return sides


def clip_column(column: Sequence[float], rule: Rejection) -> tuple[int, int]:
    """Clip sorted finite values; see `clip` for the rounds.

    Returns
    -------
    first, last : int
        First rank used and end of the ranks used.
    """
    numbers = as_integers(column)
    first, last = 0, len(numbers)
    turn = 0
    while True:
        turn += 1
        sides = outside(numbers, first, last, rule)
        low, high = sides.count(-1), len(sides) - sides.count(1)
        kept = max(low, first), min(high, last)
        if kept == (first, last) or kept[0] == kept[1] or turn == rule.maxiters:
            return low, high
        first, last = kept
