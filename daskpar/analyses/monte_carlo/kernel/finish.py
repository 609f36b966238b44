"""From the last node to the numbers a person reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from daskpar.analyses.monte_carlo.kernel.moments import FOURTH, MAXIMUM, MEAN, MINIMUM, SECOND, THIRD
from daskpar.analyses.monte_carlo.kernel.tree import Node

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Summary:
    """Statistics of k columns over n samples.

    Attributes
    ----------
    n : number of samples
    mean, std : (k,); the standard deviation has n - 1 below
    standard_error : (k,) standard error of the mean; NaN where fewer than two values tell
    low, high : (k,) interval of the mean, by Student's t
    skewness, kurtosis : (k,) third and fourth standardised moments, the normal's kurtosis being 0; NaN
        for a constant
    minimum, maximum : (k,)
    covariance : (k, k), n - 1 below
    variance_error : (k,) standard error of the variance over the variance, of the values that the
        standard error was made from
    """

    n: int
    mean: Floats
    std: Floats
    standard_error: Floats
    low: Floats
    high: Floats
    skewness: Floats
    kurtosis: Floats
    minimum: Floats
    maximum: Floats
    covariance: Floats
    variance_error: Floats


def deviate(confidence: float, freedom: float | None = None) -> float:
    """Two-sided deviate of the normal distribution, or of Student's t with that many degrees of freedom.

    Rounded to 12 digits, so that the last bits of the library do not enter results.
    """
    tail = 0.5 + 0.5 * confidence
    exact = special.ndtri(tail) if freedom is None else special.stdtrit(freedom, tail)
    return float(f"{exact:.12g}")


def finish(node: Node, confidence: float = 0.95, independent: bool = True) -> Summary:
    """Summary of a node.

    Parameters
    ----------
    node : dict of arrays
        See `tree`.
    confidence : float
        Of the interval of the mean.
    independent : bool
        Whether the samples of one batch are independent. If not (antithetic, stratified, Sobol), the batches
        are, and the standard error comes from their means; they must all have the same size.
    """
    n, batches, moments = int(node["count"]), int(node["batches"]), node["moments"]
    second = np.diagonal(moments[SECOND:]).copy()
    with np.errstate(all="ignore"):
        error, freedom, uncertain = _error(*((moments, n) if independent else (node["replicates"], batches)))
        width = deviate(confidence, freedom) * error if freedom > 0 else np.full_like(error, np.nan)
        spread = np.where(second > 0, second, np.nan)
        skewness = np.sqrt(float(n)) * (moments[THIRD] / spread) / np.sqrt(spread)
        kurtosis = n * (moments[FOURTH] / spread) / spread - 3.0
        covariance = moments[SECOND:] / (n - 1 if n > 1 else np.nan)
    mean = moments[MEAN]
    return Summary(
        n=n,
        mean=mean.copy(),
        std=np.sqrt(np.diagonal(covariance)),
        standard_error=error,
        low=mean - width,
        high=mean + width,
        skewness=skewness,
        kurtosis=kurtosis,
        minimum=moments[MINIMUM].copy(),
        maximum=moments[MAXIMUM].copy(),
        covariance=covariance,
        variance_error=uncertain,
    )


def _error(moments: Floats, n: int) -> tuple[Floats, int, Floats]:
    """Return standard error of the mean, its degrees of freedom, and the relative error of the variance."""
    second, fourth = np.diagonal(moments[SECOND:]), moments[FOURTH]
    if n < 2:
        return np.full(second.shape, np.nan), 0, np.full(second.shape, np.inf)
    error = np.sqrt(second / (n - 1) / n)
    excess = np.where(second > 0, n * (fourth / second) / second - 1.0, np.inf)
    return error, n - 1, np.sqrt(np.maximum(excess, 0.0) / n)
