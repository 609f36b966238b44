"""Estimates that are functions of a mean vector and its covariance: control variates, importance sampling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value, its standard error, and what the method says about its own success.

    Attributes
    ----------
    value, standard_error : float
    gain : float
        Variance of the plain estimate over the variance of this one (control variates), or effective
        sample size over the number of samples (importance sampling).
    """

    value: float
    standard_error: float
    gain: float


def control_variate(mean: Floats, covariance: Floats, n: int, expected: Floats) -> Estimate:
    """Mean of column 0, corrected by columns 1.. whose expectations are known.

    Parameters
    ----------
    mean : (1 + c,) float64 array
    covariance : (1 + c, 1 + c) float64 array
        Of the columns, n - 1 below.
    n : int
        Number of samples.
    expected : (c,) float64 array
        True means of the controls.

    Notes
    -----
    Owen (2013), "Monte Carlo theory, methods and examples", section 8.9. The coefficients come from the same
    samples, which biases the value by a term of order 1/n; the error has n - 1 - c degrees of freedom.
    """
    c = expected.size
    coefficients = _solve(covariance[1:, 1:], covariance[1:, 0])
    explained = 0.0
    value = float(mean[0])
    for i in range(c):
        value -= coefficients[i] * (float(mean[1 + i]) - float(expected[i]))
        explained += coefficients[i] * float(covariance[1 + i, 0])
    left = max(float(covariance[0, 0]) - explained, 0.0) * (n - 1) / max(n - 1 - c, 1)
    error = float(np.sqrt(left / n))
    return Estimate(value, error, float(covariance[0, 0]) / left if left > 0 else np.inf)


def importance(mean: Floats, covariance: Floats, n: int, normalised: bool) -> Estimate:
    """Estimate the expectation of f under a target density from samples of another.

    Parameters
    ----------
    mean, covariance
        Of the two columns w f and w, w being the ratio of target and sampling density.
    n : int
        Number of samples.
    normalised : bool
        True if w is the ratio of normalised densities: the estimate is the mean of w f. False if w is
        known up to a factor: the ratio of the means, with the error of the delta method.

    Returns
    -------
    Estimate
        `gain` is Kish's effective sample size ``sum(w)**2 / sum(w**2)`` over n.
    """
    weight = float(mean[1])
    square = float(covariance[1, 1]) * (n - 1) / n + weight * weight
    share = weight * weight / square if square > 0 else 0.0
    if normalised:
        return Estimate(float(mean[0]), float(np.sqrt(covariance[0, 0] / n)), share)
    value = float(mean[0]) / weight
    spread = (
        float(covariance[0, 0])
        - 2.0 * value * float(covariance[0, 1])
        + value * value * float(covariance[1, 1])
    )
    return Estimate(value, float(np.sqrt(max(spread, 0.0) / n)) / abs(weight), share)


def _solve(matrix: Floats, right: Floats) -> list[float]:
    """Solution of a small symmetric positive system by Cholesky's method, without LAPACK.

    A control that is a combination of earlier ones, or constant, gets the coefficient 0.
    """
    n = right.size
    factor, half = lower_factor(matrix), [0.0] * n
    for i in range(n):
        rest = float(right[i]) - sum(float(factor[i, j]) * half[j] for j in range(i))
        half[i] = rest / float(factor[i, i]) if factor[i, i] > 0 else 0.0
    found = [0.0] * n
    for i in reversed(range(n)):
        rest = half[i] - sum(float(factor[j, i]) * found[j] for j in range(i + 1, n))
        found[i] = rest / float(factor[i, i]) if factor[i, i] > 0 else 0.0
    return found


def lower_factor(matrix: Floats) -> Floats:
    """Lower triangular L with L L^T the matrix; a column whose pivot vanishes is zero.

    Raises
    ------
    ValueError
        If a pivot is negative beyond rounding: the matrix is no covariance.
    """
    n = matrix.shape[0]
    factor = np.zeros((n, n))
    for j in range(n):
        pivot = float(matrix[j, j]) - sum(float(factor[j, k]) ** 2 for k in range(j))
        if pivot < -1e-9 * abs(float(matrix[j, j])) or matrix[j, j] < 0:
            raise ValueError("the matrix is not positive semidefinite")
        if pivot <= 1e-13 * float(matrix[j, j]):
            continue
        factor[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            rest = float(matrix[i, j]) - sum(float(factor[i, k]) * float(factor[j, k]) for k in range(j))
            factor[i, j] = rest / factor[j, j]
    return factor
