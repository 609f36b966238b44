"""Errors from counts between patches: jackknife and bootstrap without a second count.

A count with patches is a sparse matrix: row k holds the ordered pairs between the patches ``patches[k, 0]``
and ``patches[k, 1]``. Leaving a patch out, or taking it several times, is a weighted sum of its rows; coarser
bins and other estimators use the same matrix.

Pairs across patches. The jackknife leaves out a patch k: its own pairs have weight 0, and pairs between k and
another patch the weight 1 - α. ``cross_weight`` is α: 1 (the default) removes every pair with a member in k,
as if its points were not there; `matched_cross_weight` is Mohammad & Percival (2022, MNRAS 514, 1289), which
makes the variance of pairs across patches scale as that of pairs inside them. In the bootstrap a pair of
patches taken m and n times counts m n times, a patch with itself m times: pairs between two copies of one
patch are not made up.

Normalisation. The number of all weighted pairs is resampled by the same rule from the weights of each patch,
see `all_pairs`, and counts are divided by it: so a patch that is dense, or has heavy weights, is not mistaken
for clustering.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def patch_weights(patches: Ints, weights: Floats, n_patches: int) -> tuple[Floats, Floats]:
    """Σw and Σw² of each patch, each of shape (n_patches,).

    Parameters
    ----------
    patches : int64, shape (n,)
        The patch of each point.
    weights : float64, shape (n,)
    n_patches : int
    """
    first = np.bincount(patches, weights, n_patches)
    second = np.bincount(patches, weights * weights, n_patches)
    return np.asarray(first, np.float64), np.asarray(second, np.float64)


def all_pairs(
    sums1: tuple[Floats, Floats], sums2: tuple[Floats, Floats] | None = None
) -> tuple[Ints, Floats]:
    """Count all weighted ordered pairs between patches, as a count: ``patches`` (n², 2) and values (n²,).

    Parameters
    ----------
    sums1, sums2 : from `patch_weights`
        ``sums2`` is None for a sample with itself: then self-pairs are left out.
    """
    n = len(sums1[0])
    pairs = np.multiply.outer(sums1[0], sums1[0] if sums2 is None else sums2[0])
    if sums2 is None:
        pairs[np.arange(n), np.arange(n)] -= sums1[1]
    first, second = np.divmod(np.arange(n * n), n)
    return np.stack([first, second], axis=1), pairs.reshape(-1)


def matched_cross_weight(n_patches: int) -> float:
    """α = n / (2 + √2 (n - 1)) of Mohammad & Percival (2022)."""
    return float(n_patches / (2.0 + np.sqrt(2.0) * (n_patches - 1)))


def total(counts: NDArray[Any]) -> Floats:
    """Add up the counts of all pairs of patches together.

    Parameters
    ----------
    counts : shape (k, ...)
    """
    return np.asarray(counts.sum(axis=0), dtype=np.float64)


def jackknife(patches: Ints, counts: NDArray[Any], n_patches: int, cross_weight: float = 1.0) -> Floats:
    """Find the counts with each patch left out in turn.

    Parameters
    ----------
    patches : int64, shape (k, 2)
    counts : shape (k, ...)
        Of ordered pairs.
    n_patches : int
    cross_weight : float
        How much of the pairs between the patch left out and another is removed: 1 all, see above.

    Returns
    -------
    float64, shape (n_patches, ...)
    """
    counts = np.asarray(counts, dtype=np.float64)
    removed = np.zeros((n_patches, *counts.shape[1:]))
    inside = patches[:, 0] == patches[:, 1]
    np.add.at(removed, patches[inside, 0], counts[inside])
    for side in (0, 1):
        np.add.at(removed, patches[~inside, side], cross_weight * counts[~inside])
    return total(counts) - removed


def bootstrap(patches: Ints, counts: NDArray[Any], times: Ints) -> Floats:
    """Find the counts of patches drawn with replacement.

    Parameters
    ----------
    patches : int64, shape (k, 2)
    counts : shape (k, ...)
    times : int64, shape (samples, n_patches)
        How often each patch is in each sample, from `draw`.

    Returns
    -------
    float64, shape (samples, ...)
    """
    inside = patches[:, 0] == patches[:, 1]
    weight = times[:, patches[:, 0]] * np.where(inside, 1, times[:, patches[:, 1]])
    flat = np.asarray(counts, dtype=np.float64).reshape(len(patches), -1)
    # Row by row in their order: the same bits anywhere, which a matrix product does not promise.
    sums = np.stack([(row[:, None] * flat).sum(axis=0) for row in weight])
    return sums.reshape(len(times), *counts.shape[1:])


def draw(n_patches: int, samples: int, seed: int) -> Ints:
    """How often each patch is drawn, shape (samples, n_patches); sample i depends on the seed and i only."""
    rows = []
    for i in range(samples):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(i,)))
        rows.append(np.bincount(rng.integers(0, n_patches, n_patches), minlength=n_patches))
    return np.asarray(rows, dtype=np.int64).reshape(samples, n_patches)


def jackknife_covariance(values: Floats) -> Floats:
    """Covariance (n - 1)/n Σ (x - x̄)(x - x̄)ᵀ over n jackknife values (Tukey 1958; Norberg et al. 2009).

    Parameters
    ----------
    values : float64, shape (n, bins)

    Returns
    -------
    float64, shape (bins, bins)
    """
    n = len(values)
    return _scatter(values) * ((n - 1) / n)


def bootstrap_covariance(values: Floats) -> Floats:
    """Covariance 1/(B - 1) Σ (x - x̄)(x - x̄)ᵀ over B bootstrap values, shape (B, bins)."""
    return _scatter(values) / (len(values) - 1)


def _scatter(values: Floats) -> Floats:
    apart = values - values.mean(axis=0)
    result = np.zeros((values.shape[1], values.shape[1]))
    for row in apart:
        result += np.multiply.outer(row, row)
    return result


def rebinned(counts: NDArray[Any], keep: NDArray[np.integer[Any]], axis: int) -> NDArray[Any]:
    """Give the counts in coarser bins, without a recount.

    Parameters
    ----------
    counts : array
    keep : int, shape (m + 1,)
        Which of the old edges remain: increasing indices; what lies outside them is dropped.
    axis : int
    """
    inside = np.take(counts, np.arange(keep[0], keep[-1]), axis=axis)
    return np.asarray(np.add.reduceat(inside, np.asarray(keep[:-1]) - keep[0], axis=axis))
