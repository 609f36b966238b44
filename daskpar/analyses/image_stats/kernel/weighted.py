"""Weighted combinations, and input uncertainties carried to the result.

Weights and uncertainties travel with their values: each pixel's are put in the order of its sorted values,
those of equal values in their own order. Sums in that order do not depend on the order of the frames.
"""

from __future__ import annotations

import numpy as np

from .chunks import Output, Task, sorted_chunks
from .compiled import LANES, Array, compiled, inner
from .finish import MEDIAN, MEDIAN_FACTOR, SUM
from .load import Frames
from .state import Chunk


@inner
def first_rank(ranked: Array, base: int, count: int, x: float) -> int:
    """Rank of the first of the sorted values of a pixel that is not below ``x``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ranked[base + middle * LANES] < x:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def insert(pairs: Array, first: int, k: int, weight: float, error: float) -> None:
    """Put a pair at place ``k`` or before, so that places from ``first`` on stay in order."""
    while k > first and (pairs[0, k - 1] > weight or (pairs[0, k - 1] == weight and pairs[1, k - 1] > error)):
        pairs[0, k], pairs[1, k] = pairs[0, k - 1], pairs[1, k - 1]
        k -= 1
    pairs[0, k], pairs[1, k] = weight, error


@inner
def rank_pairs(
    chunk: Chunk, base: int, count: int, weights: Array, errors: Array, placed: Array, pairs: Array
) -> None:
    """Store weight and uncertainty of each value of a pixel in ``pairs`` (2, n), in value order."""
    placed[:count] = 0
    for frame in range(weights.size):
        x = chunk.values[base + frame * LANES]
        if x < np.inf:
            rank = first_rank(chunk.ranked, base, count, x)
            insert(pairs, rank, rank + placed[rank], weights[frame], errors[frame])
            placed[rank] += 1


@inner
def weighted_sums(
    ranked: Array, base: int, first: int, last: int, pivot: float, pairs: Array
) -> tuple[float, float, float]:
    """Add up, over the values used, weight, weight times deviation, and squared weighted uncertainty."""
    total, deviation, variance = 0.0, 0.0, 0.0
    for r in range(first, last):
        weight, error = pairs[0, r], pairs[0, r] * pairs[1, r]
        total += weight
        deviation += weight * (ranked[base + r * LANES] - pivot)
        variance += error * error
    return total, deviation, variance


@compiled
def weigh_chunk(
    chunk: Chunk, n: int, size: int, start: int, pixels: int, ranks: Array, weights: Array, errors: Array,
    method: int, combined: Array, propagated: Array,
) -> None:  # fmt: skip
    """Combine pixels from ``start`` with weights; see `weigh`."""
    placed, pairs = np.zeros(n, np.int64), np.zeros((2, n))
    for j in range(pixels):
        i = start + j
        first, last = ranks[0, i], ranks[1, i]
        if last > first:
            base = j // LANES * size + j % LANES
            w = weights[:, i if weights.shape[1] > 1 else 0]
            e = errors[:, i if errors.shape[1] > 1 else 0]
            rank_pairs(chunk, base, chunk.total[j], w, e, placed, pairs)
            pivot = np.float64(chunk.ranked[base + (first + last) // 2 * LANES])
            total, deviation, variance = weighted_sums(chunk.ranked, base, first, last, pivot, pairs)
            if method == SUM:
                combined[i], propagated[i] = pivot * total + deviation, np.sqrt(variance)
            else:
                factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
                combined[i], propagated[i] = pivot + deviation / total, np.sqrt(variance) / total * factor


def weigh(
    frames: Frames, task: Task, out: Output, weights: Array | None, errors: Array | None
) -> dict[str, Array]:
    """Put weighted results into ``out``; return the propagated uncertainty if there is one.

    Parameters
    ----------
    frames : Frames
        The band.
    task : Task
        MEAN, SUM, or MEDIAN (without weights).
    out : Output
        The same values combined without weights: says which are used.
    weights, errors : ndarray of float64, shape (n, pixels) or (n, 1), or None
        Weight and uncertainty of each value, or of each frame.

    Returns
    -------
    dict
        ``uncertainty_propagated``, shape (pixels,), where there are uncertainties; NaN where nothing is used.
    """
    n = frames.words.shape[0]
    ones = np.ones((n, 1))
    w, e = ones if weights is None else weights, ones if errors is None else errors
    if frames.affine.size:
        e = e * abs(frames.affine[:, 1:])
    ranks = np.stack([out.rejected_low, out.rejected_low + out.used])
    combined, propagated = np.full_like(out.combined, np.nan), np.full_like(out.combined, np.nan)
    for chunk, size, start, pixels in sorted_chunks(frames, task.work):
        weigh_chunk(chunk, n, size, start, pixels, ranks, w, e, task.method, combined, propagated)
    if weights is not None:
        out.combined[:] = combined
    return {} if errors is None else {"uncertainty_propagated": propagated}
