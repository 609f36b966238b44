"""Count, mean, central moments to the fourth, extremes and covariance, mergeable and in a fixed order.

The moments of k columns are one float64 array of shape ``(5 + k, k)``. Its rows are the means, minima,
maxima, third and fourth central sums, and the ``(k, k)`` matrix of central second sums. A central sum is
``sum((x - mean)**p)``, not divided by the count.

Sums run over 128 independent lanes in eight rows, so that a compiler can use vector registers
without changing the order of additions; the lanes are then folded in halves.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MEAN, MINIMUM, MAXIMUM, THIRD, FOURTH, SECOND = range(6)
_LANES = 128
_ROWS = 1024


@njit(nogil=True, cache=True)
def _fold(lanes: Floats) -> float:
    half = _LANES // 2
    while half >= 1:
        for j in range(half):
            lanes[j] += lanes[j + half]
        half //= 2
    return lanes[0]  # type: ignore[no-any-return]


@njit(nogil=True, cache=True)
def _sum_and_extremes(x: Floats) -> tuple[float, float, float]:
    total = np.zeros(_LANES)
    low = np.full(_LANES, x[0])
    high = np.full(_LANES, x[0])
    whole = x.size // _ROWS * _ROWS
    for o in range(0, whole, _ROWS):
        a, b, c, d = x[o : o + 128], x[o + 128 : o + 256], x[o + 256 : o + 384], x[o + 384 : o + 512]
        e, f, g, h = x[o + 512 : o + 640], x[o + 640 : o + 768], x[o + 768 : o + 896], x[o + 896 : o + 1024]
        for j in range(_LANES):
            total[j] += ((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j]))
        for j in range(_LANES):
            p, q = (a[j] if a[j] < b[j] else b[j]), (c[j] if c[j] < d[j] else d[j])
            r, s = (e[j] if e[j] < f[j] else f[j]), (g[j] if g[j] < h[j] else h[j])
            p, r = (p if p < q else q), (r if r < s else s)
            p = p if p < r else r
            low[j] = p if p < low[j] else low[j]
        for j in range(_LANES):
            p, q = (a[j] if a[j] > b[j] else b[j]), (c[j] if c[j] > d[j] else d[j])
            r, s = (e[j] if e[j] > f[j] else f[j]), (g[j] if g[j] > h[j] else h[j])
            p, r = (p if p > q else q), (r if r > s else s)
            p = p if p > r else r
            high[j] = p if p > high[j] else high[j]
    rest, least, most = 0.0, low.min(), high.max()
    for i in range(whole, x.size):
        rest += x[i]
        least = min(least, x[i])
        most = max(most, x[i])
    return _fold(total) + rest, least, most


@njit(nogil=True, cache=True)
def _central_sums(x: Floats, mean: float) -> tuple[float, float, float, float]:
    first, second = np.zeros(_LANES), np.zeros(_LANES)
    third, fourth = np.zeros(_LANES), np.zeros(_LANES)
    whole = x.size // _ROWS * _ROWS
    for o in range(0, whole, _LANES):
        row = x[o : o + _LANES]
        for j in range(_LANES):
            d = row[j] - mean
            q = d * d
            first[j] += d
            second[j] += q
            third[j] += q * d
            fourth[j] += q * q
    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
    for i in range(whole, x.size):
        d = x[i] - mean
        q = d * d
        s1, s2, s3, s4 = s1 + d, s2 + q, s3 + q * d, s4 + q * q
    return _fold(first) + s1, _fold(second) + s2, _fold(third) + s3, _fold(fourth) + s4


@njit(nogil=True, cache=True)
def _central_product(x: Floats, y: Floats, mean_x: float, mean_y: float) -> float:
    lanes = np.zeros(_LANES)
    whole = x.size // _ROWS * _ROWS
    for o in range(0, whole, _LANES):
        u, v = x[o : o + _LANES], y[o : o + _LANES]
        for j in range(_LANES):
            lanes[j] += (u[j] - mean_x) * (v[j] - mean_y)
    rest = 0.0
    for i in range(whole, x.size):
        rest += (x[i] - mean_x) * (y[i] - mean_y)
    return _fold(lanes) + rest


@njit(nogil=True, cache=True)
def of_columns(columns: Floats) -> Floats:
    """Moments of one batch.

    Parameters
    ----------
    columns : (k, n) float64 array, C-contiguous
        The values of k columns, n at least 1.

    Returns
    -------
    (5 + k, k) float64 array
        As described at the top of this module. A mean that is not finite says that a value is not finite,
        or that the sum overflowed.
    """
    k, n = columns.shape
    moments = np.empty((5 + k, k))
    for i in range(k):
        total, low, high = _sum_and_extremes(columns[i])
        mean = total / n
        s1, s2, s3, s4 = _central_sums(columns[i], mean)
        # The mean of the differences corrects what rounding left in the mean.
        shift = s1 / n
        moments[MEAN, i] = mean + shift
        moments[MINIMUM, i], moments[MAXIMUM, i] = low, high
        moments[SECOND + i, i] = max(s2 - s1 * shift, 0.0)
        moments[THIRD, i] = s3 - 3.0 * shift * s2 + 2.0 * s1 * shift * shift
        moments[FOURTH, i] = max(s4 - 4.0 * shift * s3 + 6.0 * shift * shift * s2 - 3.0 * s1 * shift**3, 0.0)
    for i in range(k):
        for j in range(i):
            product = _central_product(columns[i], columns[j], moments[MEAN, i], moments[MEAN, j])
            moments[SECOND + i, j] = product
            moments[SECOND + j, i] = product
    return moments


@njit(nogil=True, cache=True)
def merge(left: Floats, n_left: int, right: Floats, n_right: int) -> Floats:
    """Moments of two samples together, of `n_left` and `n_right` values a column.

    Pébay, Terriberry, Kolla and Bennett (2016), doi:10.1007/s00180-015-0637-z. The order of the two
    arguments is part of the result's last bits.
    """
    if n_left == 0:
        return right.copy()
    if n_right == 0:
        return left.copy()
    k = left.shape[1]
    merged = np.empty_like(left)
    a, b = float(n_left), float(n_right)
    n = a + b
    for i in range(k):
        d = right[MEAN, i] - left[MEAN, i]
        r = d / n
        p, q = left[SECOND + i, i], right[SECOND + i, i]
        s, t = left[THIRD, i], right[THIRD, i]
        merged[MEAN, i] = left[MEAN, i] + b * r
        merged[MINIMUM, i] = min(left[MINIMUM, i], right[MINIMUM, i])
        merged[MAXIMUM, i] = max(left[MAXIMUM, i], right[MAXIMUM, i])
        merged[THIRD, i] = (s + t) + a * b * (a - b) * d * r * r + 3.0 * r * (a * q - b * p)
        corner = a * b * (a * a - a * b + b * b) * d * r * r * r
        cross = 6.0 * r * r * (a * a * q + b * b * p) + 4.0 * r * (a * t - b * s)
        merged[FOURTH, i] = (left[FOURTH, i] + right[FOURTH, i]) + corner + cross
        for j in range(k):
            e = right[MEAN, j] - left[MEAN, j]
            merged[SECOND + i, j] = (left[SECOND + i, j] + right[SECOND + i, j]) + a * b * (d * e) / n
    return merged
