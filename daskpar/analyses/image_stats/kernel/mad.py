"""Median absolute deviation from the median, of the used values of every pixel of a sorted tile.

Of n sorted values with median m, let h = n // 2. The h lowest deviate downwards, the h highest
upwards; the deviations m - x[k] fall and x[n - h + k] - m rise with k. Pairing them splits their
union in halves (Batcher's half-cleaner): the h-th smallest is the largest of the pairs' minima, the
next one the smallest of the pairs' maxima. No sorting, no branches.
"""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, inner, wide_vectors


@inner
def deviation(tile: Array, j: int, first: int, last: int, pivot: float) -> float:
    """MAD of one pixel; 0 where no value is used."""
    half = (last - first) // 2
    low, high = 0.0, np.inf
    for k in range(half):
        under = pivot - tile[(first + k) * LANES + j]
        over = tile[(last - half + k) * LANES + j] - pivot
        low = max(low, min(under, over))
        high = min(high, max(under, over))
    return 0.5 * low + 0.5 * high if (last - first) % 2 == 0 and half > 0 else low


@inner
def pair_rows(under: Array, over: Array, lanes: int, pivot: Array, low: Array, high: Array) -> None:
    """Take one pair of ranks into account, for all pixels."""
    for j in range(lanes):
        p = pivot[j]
        a, b = p - under[j], over[j] - p
        small, large = (a if a < b else b), (b if a < b else a)
        low[j] = small if small > low[j] else low[j]
        high[j] = large if large < high[j] else high[j]


@inner
def deviations(
    tile: Array, lanes: int, first: Array, last: Array, pivot: Array, mads: Array, high: Array
) -> None:
    """Store the MAD of every pixel; ``high`` is scratch.

    Parameters
    ----------
    tile : ndarray of float, flat
        Sorted columns.
    lanes : int
        Pixels in use.
    first, last : ndarray of int32
        Range of ranks used, of each pixel.
    pivot : ndarray of float64
        Medians of the used values.
    mads : ndarray of float64
        Result; 0 where no value is used.
    """
    wide_vectors()
    start, end = first[0], last[0]
    for j in range(lanes):
        if first[j] != start or last[j] != end:
            for i in range(lanes):
                mads[i] = deviation(tile, i, first[i], last[i], pivot[i])
            return
    half = (end - start) // 2
    mads[:lanes] = 0.0
    high[:lanes] = np.inf
    for k in range(half):
        a, b = (start + k) * LANES, (end - half + k) * LANES
        pair_rows(tile[a : a + LANES], tile[b : b + LANES], lanes, pivot, mads, high)
    if (end - start) % 2 == 0 and half > 0:
        for j in range(lanes):
            mads[j] = 0.5 * mads[j] + 0.5 * high[j]
