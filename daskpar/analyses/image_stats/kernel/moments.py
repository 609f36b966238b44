"""Median, and sums about it, of the used values of every pixel of a sorted tile.

The median is the pivot of the sums: |mean - median| is at most one standard deviation, so the variance
from the sums keeps all but two of its bits, however far the values are from zero.

The used values of pixel j are ranks ``first[j]`` to ``last[j] - 1``. Each sum is taken over ranks in
groups of eight, with zeros for ranks not used: its bits depend on the sorted values alone.
"""

from __future__ import annotations

from .compiled import LANES, Array, inner, whole_vectors, wide_vectors
from .state import Chunk, State, tile_state


@inner
def medians(tile: Array, lanes: int, first: Array, last: Array, pivot: Array) -> None:
    """Store the median of the used values (mean of the middle two); 0 where there is none."""
    for j in range(lanes):
        total = first[j] + last[j]
        if last[j] > first[j]:
            low, high = tile[(total - 1) // 2 * LANES + j], tile[total // 2 * LANES + j]
            pivot[j] = 0.5 * low + 0.5 * high
        else:
            pivot[j] = 0.0


@inner
def middles(rows: Array, step: int, lanes: int, pivot: Array) -> None:
    """Store the median where all pixels use the same ranks: the middle ones are two rows, or one."""
    for j in range(lanes):
        pivot[j] = 0.5 * rows[j] + 0.5 * rows[j + step]


@inner
def sum8(rows: Array, lanes: int, pivot: Array, sum1: Array, sum2: Array) -> None:
    """Add eight rows, all used, to the sums of (x - pivot) and (x - pivot)^2."""
    wide_vectors()
    for j in range(lanes):
        p = pivot[j]
        a, b, c, d = rows[j] - p, rows[j + LANES] - p, rows[j + 2 * LANES] - p, rows[j + 3 * LANES] - p
        e, f = rows[j + 4 * LANES] - p, rows[j + 5 * LANES] - p
        g, h = rows[j + 6 * LANES] - p, rows[j + 7 * LANES] - p
        sum1[j] += ((a + b) + (c + d)) + ((e + f) + (g + h))
        sum2[j] += ((a * a + b * b) + (c * c + d * d)) + ((e * e + f * f) + (g * g + h * h))


@inner
def used(x: float, pivot: float, rank: int, first: int, last: int) -> float:
    """Deviation of a value from the pivot, 0 where its rank is not used."""
    deviation = x - pivot
    return deviation if (rank >= first) & (rank < last) else 0.0


@inner
def sum8_used(
    rows: Array, r: int, lanes: int, first: Array, last: Array, pivot: Array, sum1: Array, sum2: Array
) -> None:
    """Add eight rows from rank ``r``, some of which are not used."""
    wide_vectors()
    for j in range(lanes):
        p, lo, hi = pivot[j], first[j] - r, last[j] - r
        a, b = used(rows[j], p, 0, lo, hi), used(rows[j + LANES], p, 1, lo, hi)
        c, d = used(rows[j + 2 * LANES], p, 2, lo, hi), used(rows[j + 3 * LANES], p, 3, lo, hi)
        e, f = used(rows[j + 4 * LANES], p, 4, lo, hi), used(rows[j + 5 * LANES], p, 5, lo, hi)
        g, h = used(rows[j + 6 * LANES], p, 6, lo, hi), used(rows[j + 7 * LANES], p, 7, lo, hi)
        sum1[j] += ((a + b) + (c + d)) + ((e + f) + (g + h))
        sum2[j] += ((a * a + b * b) + (c * c + d * d)) + ((e * e + f * f) + (g * g + h * h))


@inner
def moments(tile: Array, lanes: int, s: State) -> None:
    """Store median, sum of deviations from it, and sum of their squares, of the used values.

    Parameters
    ----------
    tile : ndarray of float, flat
        Sorted columns.
    lanes : int
        Pixels in use.
    s : State
        Ranks used; receives the results.
    """
    wide_vectors()
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    start, inner_start, inner_end, end = first[0], first[0], last[0], last[0]
    for j in range(lanes):
        start, inner_start = min(start, first[j]), max(inner_start, first[j])
        inner_end, end = min(inner_end, last[j]), max(end, last[j])
    wide = whole_vectors(lanes)
    if start == inner_start and end == inner_end and start < end:
        middle = tile[(start + end - 1) // 2 * LANES : ((start + end) // 2 + 1) * LANES]
        middles(middle, middle.size - LANES, wide, pivot)
    else:
        medians(tile, lanes, first, last, pivot)
    for j in range(wide):
        sum1[j], sum2[j] = 0.0, 0.0
    for r in range(start // 8 * 8, end, 8):
        rows = tile[r * LANES : (r + 8) * LANES]
        if r >= inner_start and r + 8 <= inner_end:
            sum8(rows, wide, pivot, sum1, sum2)
        else:
            sum8_used(rows, r, wide, first, last, pivot, sum1, sum2)


@inner
def moments_chunk(chunk: Chunk, size: int, pixels: int) -> None:
    """Store the moments of all pixels of a chunk, whose tiles have ``size`` values."""
    wide_vectors()
    for t in range((pixels + LANES - 1) // LANES):
        tile = chunk.ranked[t * size : (t + 1) * size]
        moments(tile, min(LANES, pixels - t * LANES), tile_state(chunk, t * LANES))
