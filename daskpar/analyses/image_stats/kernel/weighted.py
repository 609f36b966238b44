"""Weighted combinations, and input uncertainties carried to the result.

Weights and uncertainties travel with their values: each pixel's are put in the order of its sorted values,
those of equal values in their own order. Sums in that order do not depend on the order of the frames.
"""

from __future__ import annotations

import numpy as np

from .columns import Scratch
from .compiled import LANES, Array, compiled
from .finish import MEDIAN, MEDIAN_FACTOR, SUM
from .load import Frames, frame_and_pixel_numbers, load_tile
from .network import sort_tile


@compiled
def first_rank(ranked: Array, j: int, count: int, x: float) -> int:
    """Rank of the first of the sorted values of pixel ``j`` that is not below ``x``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ranked[middle * LANES + j] < x:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def insert(weights: Array, errors: Array, first: int, k: int, weight: float, error: float) -> None:
    """Put a pair at place ``k`` or before, so that places from ``first`` on stay in order."""
    while k > first and (weights[k - 1] > weight or (weights[k - 1] == weight and errors[k - 1] > error)):
        weights[k], errors[k] = weights[k - 1], errors[k - 1]
        k -= 1
    weights[k], errors[k] = weight, error


@compiled
def rank_pairs(
    scratch: Scratch, n: int, j: int, count: int, weights: Array, errors: Array, placed: Array, ranked: Array
) -> None:
    """Store weight and uncertainty of each value of pixel ``j`` in ``ranked`` (2, n), in the order of the values."""
    placed[:count] = 0
    for frame in range(n):
        x = scratch.values[frame * LANES + j]
        if x < np.inf:
            rank = first_rank(scratch.ranked, j, count, x)
            insert(ranked[0], ranked[1], rank, rank + placed[rank], weights[frame], errors[frame])
            placed[rank] += 1


@compiled
def weighted_sums(
    tile: Array, j: int, first: int, last: int, pivot: float, pairs: Array
) -> tuple[float, float, float]:
    """Sums over the values used of weight, weight times deviation, and squared weighted uncertainty."""
    total, deviation, variance = 0.0, 0.0, 0.0
    for r in range(first, last):
        weight, error = pairs[0, r], pairs[0, r] * pairs[1, r]
        total += weight
        deviation += weight * (tile[r * LANES + j] - pivot)
        variance += error * error
    return total, deviation, variance


@compiled
def weigh_columns(
    frames: Frames, ranks: Array, weights: Array, errors: Array, method: int, scratch: Scratch,
    combined: Array, propagated: Array,
) -> None:  # fmt: skip
    """Combine with weights the values of which the ranks are known.

    Parameters
    ----------
    frames : Frames
        The band.
    ranks : ndarray of int32, shape (2, pixels)
        First rank used and end of the ranks used.
    weights, errors : ndarray of float64, shape (n, pixels) or (n, 1)
        Weight and uncertainty of each value, or of each frame.
    method : int
        MEAN, SUM or MEDIAN (its uncertainty alone; weights have to be 1).
    scratch : Scratch
        Tiles of `padded_rows` rows filled with +inf.
    combined, propagated : ndarray of float, shape (pixels,)
        Results; left as they are where nothing is used.
    """
    n, pixels = frame_and_pixel_numbers(frames)
    count, placed, pairs = np.zeros(LANES, np.int32), np.zeros(n, np.int64), np.zeros((2, n))
    for start in range(0, pixels, LANES):
        lanes = min(LANES, pixels - start)
        load_tile(frames, start, lanes, scratch.values, count)
        sort_tile(scratch.values, scratch.ranked, n)
        for j in range(lanes):
            i = start + j
            first, last = ranks[0, i], ranks[1, i]
            if last > first:
                w = weights[:, i if weights.shape[1] > 1 else 0]
                e = errors[:, i if errors.shape[1] > 1 else 0]
                rank_pairs(scratch, n, j, count[j], w, e, placed, pairs)
                pivot = np.float64(scratch.ranked[(first + last) // 2 * LANES + j])
                total, deviation, variance = weighted_sums(scratch.ranked, j, first, last, pivot, pairs)
                if method == SUM:
                    combined[i], propagated[i] = pivot * total + deviation, np.sqrt(variance)
                else:
                    combined[i] = pivot + deviation / total
                    factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
                    propagated[i] = np.sqrt(variance) / total * factor
