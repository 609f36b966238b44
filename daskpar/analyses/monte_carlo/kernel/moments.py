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

from daskpar.compiled import compiled, wide_vectors

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
    lanes = np.empty((3, _LANES))
    lanes[0], lanes[1], lanes[2] = 0.0, x[0], x[0]
    whole = x.size // _ROWS * _ROWS
    _add_rows(x, whole, lanes.reshape(-1))
    rest, least, most = 0.0, lanes[1].min(), lanes[2].max()
    for i in range(whole, x.size):
        rest += x[i]
        least = min(least, x[i])
        most = max(most, x[i])
    return _fold(lanes[0]) + rest, least, most


# Without numba's counting of references, which is done by atomic operations at every slice.
@compiled(_nrt=False)
def _add_rows(x: Floats, whole: int, lanes: Floats) -> None:
    """Add eight rows at a time to sum, least and greatest of each lane; one array, whose parts are apart."""
    wide_vectors()
    for o in range(0, whole, _ROWS):
        row = x[o : o + _ROWS]
        for j in range(_LANES):
            a, b, c, d = row[j], row[j + _LANES], row[j + 2 * _LANES], row[j + 3 * _LANES]
            e, f = row[j + 4 * _LANES], row[j + 5 * _LANES]
            g, h = row[j + 6 * _LANES], row[j + 7 * _LANES]
            lanes[j] += ((a + b) + (c + d)) + ((e + f) + (g + h))
            p, q = (a if a < b else b), (c if c < d else d)
            r, s = (e if e < f else f), (g if g < h else h)
            p, r = (p if p < q else q), (r if r < s else s)
            p = p if p < r else r
            lanes[_LANES + j] = p if p < lanes[_LANES + j] else lanes[_LANES + j]
            p, q = (a if a > b else b), (c if c > d else d)
            r, s = (e if e > f else f), (g if g > h else h)
            p, r = (p if p > q else q), (r if r > s else s)
            p = p if p > r else r
            lanes[2 * _LANES + j] = p if p > lanes[2 * _LANES + j] else lanes[2 * _LANES + j]


@njit(nogil=True, cache=True)
def _central_sums(x: Floats, mean: float) -> tuple[float, float, float, float]:
    lanes = np.zeros((4, _LANES))
    whole = x.size // _ROWS * _ROWS
    _add_powers(x, whole, mean, lanes.reshape(-1))
    s1, s2, s3, s4 = 0.0, 0.0, 0.0, 0.0
    for i in range(whole, x.size):
        d = x[i] - mean
        q = d * d
        s1, s2, s3, s4 = s1 + d, s2 + q, s3 + q * d, s4 + q * q
    return _fold(lanes[0]) + s1, _fold(lanes[1]) + s2, _fold(lanes[2]) + s3, _fold(lanes[3]) + s4


@compiled(_nrt=False)
def _add_powers(x: Floats, whole: int, mean: float, lanes: Floats) -> None:
    """Add powers of deviations from the mean to the sums of each lane, in registers over eight rows."""
    wide_vectors()
    for o in range(0, whole, _ROWS):
        row = x[o : o + _ROWS]
        for j in range(_LANES):
            first, second = lanes[j], lanes[_LANES + j]
            third, fourth = lanes[2 * _LANES + j], lanes[3 * _LANES + j]
            for k in range(8):
                d = row[j + k * _LANES] - mean
                q = d * d
                first += d
                second += q
                third += q * d
                fourth += q * q
            lanes[j], lanes[_LANES + j] = first, second
            lanes[2 * _LANES + j], lanes[3 * _LANES + j] = third, fourth


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
