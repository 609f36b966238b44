"""Settling the pixels in which rounding might decide what sigma clipping rejects.

Ties need numbers with few digits, counts above all: their squares fit machine integers, and the clipping
is repeated
in these. What does not fit goes to `exact`.
"""

from __future__ import annotations

import math

import numpy as np

from .compiled import LANES, Array, compiled, inner
from .exact import clip_column
from .options import Rejection
from .state import Chunk

#: Largest sum of squares, with all factors, that is handled in int64.
FITS = 2.0**62


@inner
def lowest_bit(x: float) -> float:
    """Return the largest power of two of which ``x`` is a multiple; infinite for zero."""
    if x == 0.0:
        return np.inf
    mantissa, exponent = math.frexp(abs(x))
    whole = np.int64(math.ldexp(mantissa, 53))
    return math.ldexp(float(whole & -whole), exponent - 53)


@inner
def small_integers(column: Array, numbers: Array, factor: float) -> bool:
    """Store sorted values, less the first, in a common unit; return whether all that follows fits."""
    unit = np.inf
    for x in column:
        unit = min(unit, lowest_bit(x))
    n = column.size
    # The first factor keeps the differences exact, the second the squares of 2 n times them.
    reach = (column[n - 1] - column[0]) / unit if unit < np.inf else 0.0
    if not (reach < 2.0**30 and 4.0 * n * n * reach * reach * factor < FITS):
        return False
    for i in range(n):
        numbers[i] = np.int64((column[i] - column[0]) / unit) if unit < np.inf else 0
    return True


@inner
def edges(numbers: Array, first: int, last: int, about_mean: bool, ratio: Array) -> tuple[int, int]:
    """Ranks of all values within the bounds made from those used: first, and end."""
    n = last - first
    total, squares = 0, 0
    for i in range(first, last):
        total += numbers[i]
        squares += numbers[i] * numbers[i]
    variance = 4 * (n * squares - total * total)
    centre = (
        2 * total if about_mean else n * (numbers[(first + last - 1) // 2] + numbers[(first + last) // 2])
    )
    low, high = 0, numbers.size
    for i in range(numbers.size):
        away = 2 * n * numbers[i] - centre
        if away < 0 and away * away * ratio[0, 1] > variance * ratio[0, 0]:
            low = i + 1
        if away > 0 and high == numbers.size and away * away * ratio[1, 1] > variance * ratio[1, 0]:
            high = i
    return low, high


@inner
def clip_integers(numbers: Array, maxiters: int, about_mean: bool, ratio: Array) -> tuple[int, int]:
    """Clip sorted integers: ranks used, first and end; see `clip` for the rounds."""
    first, last, turn = 0, numbers.size, 0
    while True:
        turn += 1
        low, high = edges(numbers, first, last, about_mean, ratio)
        f, e = max(low, first), min(high, last)
        if (f == first and e == last) or f == e or turn == maxiters:
            return low, high
        first, last = f, e


@compiled
def settle_columns(
    columns: Array, counts: Array, maxiters: int, about_mean: bool, ratio: Array, numbers: Array, ranks: Array
) -> None:
    """Clip columns in int64; ``ranks`` receives first and end, or -1 where the numbers do not fit.

    ``numbers``, of int64, is scratch for a column.
    """
    factor = 1.0
    for i in range(2):
        factor = max(factor, max(float(ratio[i, 0]), float(ratio[i, 1])))
    for k in range(columns.shape[0]):
        n = counts[k]
        ranks[0, k] = -1
        if small_integers(columns[k, :n], numbers[:n], factor):
            ranks[0, k], ranks[1, k] = clip_integers(numbers[:n], maxiters, about_mean, ratio)


def squared_ratio(sigma: float) -> tuple[int, int]:
    """Return numerator and denominator of the square; (0, 0), which rejects nothing, for no bound."""
    if sigma == math.inf:
        return 0, 0
    numerator, denominator = sigma.as_integer_ratio()
    return numerator * numerator, denominator * denominator


def settle_chunk(chunk: Chunk, size: int, pixels: int, rule: Rejection) -> None:
    """Set the ranks used of the pixels marked as unsure, and remove the marks.

    Parameters
    ----------
    chunk : Chunk
        Sorted values; receives the ranks.
    size, pixels : int
        Values in a tile, pixels in the chunk.
    rule : Rejection
        Sigma clipping.
    """
    where = np.flatnonzero(chunk.unsure[:pixels])
    tiles = chunk.ranked.reshape(-1, size // LANES, LANES)
    columns = tiles[where // LANES, :, where % LANES].astype(np.float64)
    counts, ranks = chunk.total[where], np.full((2, where.size), -1, np.int64)
    ratio = [squared_ratio(rule.sigma_lower), squared_ratio(rule.sigma_upper)]
    if not rule.by_mad and max(map(max, ratio)) < FITS:
        numbers, squares = np.zeros(columns.shape[1], np.int64), np.array(ratio, np.int64)
        settle_columns(columns, counts, rule.maxiters, rule.about_mean, squares, numbers, ranks)
    for k in np.flatnonzero(ranks[0] < 0):
        ranks[:, k] = clip_column(columns[k, : counts[k]].tolist(), rule)
    chunk.state.first[where], chunk.state.last[where] = ranks
    chunk.unsure[where] = False
