"""Pixels of which no value can lie beyond the bounds, found without making the bounds.

Most pixels lose nothing. To know that takes no root and no division, and of the rules that repeat an
estimate until it converges one turn. What is left open here is decided by the bounds themselves: whether
a pixel counts as clear never changes a result.

Let d be the distance of a pixel's farthest value from the centre.

- Sigma clipping with the standard deviation s: nothing goes where d < sigma s, or n^2 d^2 < sigma^2 (n S2 -
  S1^2), with S1 and S2 the sums of deviations from the pivot and of their squares.
- Winsorized: an estimate s becomes g(s), and g never falls with s, since drawing values in farther brings no
  two of them farther apart. So where s0 = d / sigma is no more than the first estimate, and g(s0) no less
  than s0, no estimate ever falls below s0, and nothing goes.
"""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, inner, whole_vectors, wide_vectors
from .options import Rejection
from .state import Bounds, State
from .winsorized import CORRECTION, REACH, add_all

ULP = 2.0**-52

#: More than all roundings of sums of up to a million terms, relative to these.
MARGIN = 1.0 + 1e-9

#: Squares in this range neither overflow nor underflow.
SMALLEST, LARGEST = 1e-270, 1e280


@inner
def extremes(tile: Array, lanes: int, s: State, lowest: Array, highest: Array) -> None:
    """Store the lowest and highest value used of each pixel; anything where there is none."""
    first, last = s.first, s.last
    for j in range(lanes):
        low, high = np.uint64(first[j]), np.uint64(max(last[j], np.int32(1)) - np.int32(1))
        lowest[j] = tile[low * np.uint64(LANES) + np.uint64(j)]
        highest[j] = tile[high * np.uint64(LANES) + np.uint64(j)]


@inner
def clear_of_sigma(tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Mark the pixels that sigma clipping with standard deviations leaves as they are.

    The slack is at least the doubt of `bounds.sigma_bounds`: a standard deviation is no larger than d.
    """
    wide_vectors()
    extremes(tile, lanes, s, b.lower, b.upper)
    widest = 0.0
    for sigma in (rule.sigma_lower, rule.sigma_upper):
        widest = max(widest, sigma) if sigma < np.inf else widest
    low_square, high_square = rule.sigma_lower * rule.sigma_lower, rule.sigma_upper * rule.sigma_upper
    about_mean = 1.0 if rule.about_mean else 0.0
    firsts, lasts, pivots, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    lowest, highest, clear = b.lower, b.upper, b.clear
    for j in range(whole_vectors(lanes)):
        n, pivot = np.float64(lasts[j] - firsts[j]), pivots[j]
        below, above = pivot - lowest[j], highest[j] - pivot
        farthest = below if below > above else above
        slack = ULP * (4.0 * abs(pivot) + (4.0 * n + 32.0) * (1.0 + widest) * 2.5 * farthest)
        variance = n * sum2[j] - sum1[j] * sum1[j]
        shift = about_mean * sum1[j]
        under, over = n * (below + slack) + shift, n * (above + slack) - shift
        inside = (under * under * MARGIN < low_square * variance) & (
            over * over * MARGIN < high_square * variance
        )
        known = (sum2[j] > SMALLEST) & (sum2[j] < LARGEST)
        clear[j] = (known & inside) | (lowest[j] == highest[j]) | (n == 0.0)


@inner
def clear_of_winsorized(tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Mark the pixels that winsorized clipping leaves as they are."""
    wide_vectors()
    extremes(tile, lanes, s, b.lower, b.upper)
    low_part, high_part = MARGIN / rule.sigma_lower, MARGIN / rule.sigma_upper
    firsts, lasts, pivots, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    lowest, highest, clear = b.lower, b.upper, b.clear
    w, reach = b.room.state, b.room.reach
    w_first, w_last, w_pivot, w_sum1, w_sum2 = w.first, w.last, w.pivot, w.sum1, w.sum2
    for j in range(whole_vectors(lanes)):
        below, above = (pivots[j] - lowest[j]) * low_part, (highest[j] - pivots[j]) * high_part
        w_first[j], w_last[j], w_pivot[j] = firsts[j], lasts[j], pivots[j]
        reach[j] = REACH * (below if below > above else above)
    add_all(tile, lanes, w, reach)
    for j in range(whole_vectors(lanes)):
        n, estimate = np.float64(lasts[j] - firsts[j]), reach[j] * (1.0 / REACH)
        square = MARGIN * n * (n - 1.0) * estimate * estimate
        start = n * sum2[j] - sum1[j] * sum1[j]
        following = CORRECTION * CORRECTION * (n * w_sum2[j] - w_sum1[j] * w_sum1[j])
        known = (sum2[j] > SMALLEST) & (sum2[j] < LARGEST) & (w_sum2[j] > SMALLEST)
        inside = (square < start) & (square < following)
        clear[j] = (known & inside) | (lowest[j] == highest[j]) | (n < 4.0)


@inner
def clear_of_bounds(tile: Array, lanes: int, s: State, b: Bounds) -> None:
    """Mark the pixels whose values all lie within bounds that are made already, beyond doubt."""
    first, last, centre, lower, upper, doubt = s.first, s.last, b.centre, b.lower, b.upper, b.doubt
    clear = b.clear
    for j in range(lanes):
        clear[j] = True
        if last[j] > first[j]:
            below = centre[j] - tile[first[j] * LANES + j] - lower[j]
            above = tile[(last[j] - 1) * LANES + j] - centre[j] - upper[j]
            beyond_doubt = below < -doubt[j] and above < -doubt[j]
            clear[j] = beyond_doubt or (doubt[j] == 0.0 and below <= 0.0 and above <= 0.0)


@inner
def list_open(lanes: int, b: Bounds, pixels: Array) -> int:
    """List the pixels that are not clear; return their number."""
    active, clear = 0, b.clear
    for j in range(lanes):
        pixels[active] = j
        active += int(not clear[j])
    return active
