"""Resamples and permutations of data from a PCG64DXSM stream, in compiled code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel.pcg import next_double

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


@njit(nogil=True, cache=True)
def resample(words: Words, data: Floats, out: Floats) -> Words:
    """Fill each row of `out` with rows of `data` drawn with replacement.

    Parameters
    ----------
    words : (4,) uint64 array
        Place in the stream, from `pcg.words_at`.
    data : (m, c) float64 array
    out : (r, m, c) float64 array
        Filled: r resamples.

    Returns
    -------
    (4,) uint64 array
        The place after the last number used. A row's index is ``floor(u * m)``, u uniform in [0, 1) with 53
        bits.
    """
    high, low, step_high, step_low = words[0], words[1], words[2], words[3]
    m = data.shape[0]
    for r in range(out.shape[0]):
        for i in range(m):
            u, high, low = next_double(high, low, step_high, step_low)
            j = int(u * m)
            for c in range(data.shape[1]):
                out[r, i, c] = data[j, c]
    return np.array([high, low, step_high, step_low], np.uint64)


@njit(nogil=True, cache=True)
def permute(words: Words, data: Floats, out: Floats) -> Words:
    """Fill each row of `out` (r, m) with `data` (m,) in a random order, by Fisher and Yates' shuffle."""
    high, low, step_high, step_low = words[0], words[1], words[2], words[3]
    m = data.size
    for r in range(out.shape[0]):
        for i in range(m):
            out[r, i] = data[i]
        for i in range(m - 1, 0, -1):
            u, high, low = next_double(high, low, step_high, step_low)
            j = int(u * (i + 1))
            out[r, i], out[r, j] = out[r, j], out[r, i]
    return np.array([high, low, step_high, step_low], np.uint64)


def _mean(x: Floats) -> Floats:
    return np.mean(x[..., 0], axis=-1)  # type: ignore[no-any-return]


def _median(x: Floats) -> Floats:
    return np.median(x[..., 0], axis=-1)


def _variance(x: Floats) -> Floats:
    return np.var(x[..., 0], axis=-1, ddof=1)  # type: ignore[no-any-return]


def _std(x: Floats) -> Floats:
    return np.sqrt(_variance(x))


def _sum(x: Floats) -> Floats:
    return np.sum(x[..., 0], axis=-1)  # type: ignore[no-any-return]


def _mad(x: Floats) -> Floats:
    return np.median(np.abs(x[..., 0] - _median(x)[..., None]), axis=-1)


def _interquartile_range(x: Floats) -> Floats:
    low, high = np.quantile(x[..., 0], [0.25, 0.75], axis=-1)
    return high - low  # type: ignore[no-any-return]


def correlation(x: Floats, y: Floats) -> Floats:
    """Pearson's coefficient along the last axis."""
    u, v = x - np.mean(x, axis=-1, keepdims=True), y - np.mean(y, axis=-1, keepdims=True)
    # Two roots, not the root of a product, which could overflow or vanish.
    return np.sum(u * v, axis=-1) / (np.sqrt(np.sum(u * u, axis=-1)) * np.sqrt(np.sum(v * v, axis=-1)))  # type: ignore[no-any-return]


def _correlation(x: Floats) -> Floats:
    return correlation(x[..., 0], x[..., 1])


STATISTICS: dict[str, Any] = {
    "mean": _mean, "median": _median, "std": _std, "variance": _variance, "sum": _sum, "mad": _mad,
    "interquartile_range": _interquartile_range, "correlation": _correlation,
}  # fmt: skip
_SAMPLES_AT_A_TIME = 1 << 18


def bootstrap(words: Words, data: Floats, statistic: str, n: int) -> Floats:
    """Statistic of n resamples of `data` (m, c), shape (n,)."""
    found = np.empty(n)
    rows = max(1, _SAMPLES_AT_A_TIME // data.shape[0])
    for start in range(0, n, rows):
        drawn = np.empty((min(rows, n - start), *data.shape))
        words = resample(words, data, drawn)
        found[start : start + len(drawn)] = STATISTICS[statistic](drawn)
    return found


def difference_of_means(words: Words, data: Floats, first: int, n: int) -> Floats:
    """Mean of the first `first` values minus mean of the others, of n permutations of `data` (m,)."""
    found = np.empty(n)
    for start, drawn in _permutations(words, data, n):
        difference = np.mean(drawn[:, :first], axis=1) - np.mean(drawn[:, first:], axis=1)
        found[start : start + len(drawn)] = difference
    return found


def permuted_correlation(words: Words, x: Floats, y: Floats, n: int) -> Floats:
    """Pearson's coefficient of `x` (m,) and n permutations of `y` (m,)."""
    found = np.empty(n)
    for start, drawn in _permutations(words, y, n):
        found[start : start + len(drawn)] = correlation(x[None, :], drawn)
    return found


def _permutations(words: Words, data: Floats, n: int) -> Any:
    rows = max(1, _SAMPLES_AT_A_TIME // data.size)
    for start in range(0, n, rows):
        drawn = np.empty((min(rows, n - start), data.size))
        words = permute(words, data, drawn)
        yield start, drawn
