"""Laws of scaling, fitted to times: Amdahl, Gustafson, and the Universal Scalability Law.

With S(N) the speed-up of N workers, T(N) = T(1) / S(N) for a problem of fixed size, and N T(1) / S(N) for one
that grows with the workers.

========== ========================================= ===================
amdahl     1 / (s + (1 - s) / N)                     s: serial share
gustafson  s + (1 - s) N                             s: serial share
usl        N / (1 + σ (N - 1) + κ N (N - 1))         σ contention, κ coherence
========== ========================================= ===================

Amdahl 1967; Gustafson 1988; Gunther 2007. The fit is by least squares in log T, since the scatter of times is
relative; the choice by Akaike's criterion with the correction for few points (AICc).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

Floats = NDArray[np.float64]

FEWEST = 3  # different numbers of workers that a curve is drawn through


def amdahl(n: Floats, s: float) -> Floats:
    """Return Amdahl's speed-up."""
    return np.asarray(1.0 / (s + (1.0 - s) / n))


def gustafson(n: Floats, s: float) -> Floats:
    """Return Gustafson's scaled speed-up."""
    return np.asarray(s + (1.0 - s) * n)


def usl(n: Floats, sigma: float, kappa: float) -> Floats:
    """Return the speed-up of the Universal Scalability Law."""
    return np.asarray(n / (1.0 + sigma * (n - 1.0) + kappa * n * (n - 1.0)))


LAWS: dict[str, tuple[Callable[..., Floats], tuple[str, ...], tuple[float, ...]]] = {
    "amdahl": (amdahl, ("serial_share",), (1.0,)),
    "gustafson": (gustafson, ("serial_share",), (1.0,)),
    "usl": (usl, ("contention", "coherence"), (1.0, 1.0)),
}
"""Function, names of its parameters, and their largest values; the smallest is 0."""


@dataclass(frozen=True)
class Fit:
    """A law fitted to the times of a version.

    Attributes
    ----------
    law : str
    weak : bool
        Whether the problem grew with the workers.
    parameters, errors : dict of str to float
        ``seconds`` is T(1); then those of the law, with their standard errors.
    residuals : dict of int to float
        For each number of workers, the mean of log(T measured / T fitted).
    aicc : float
        Smaller is better.
    chosen : bool
        Whether it is the best of those that were tried.
    covariance : list
        Of the parameters: (log T(1), those of the law).
    """

    law: str
    weak: bool
    parameters: dict[str, float]
    errors: dict[str, float]
    residuals: dict[int, float]
    aicc: float
    chosen: bool = False
    covariance: list[list[float]] = field(default_factory=list)

    def seconds(self, workers: ArrayLike) -> Floats:
        """Return the times that the law predicts."""
        first, *rest = self.parameters.values()
        return _seconds(self.law, self.weak, np.asarray(workers, np.float64), math.log(first), *rest)

    def speedup(self, workers: ArrayLike) -> Floats:
        """Return the speed-up that the law predicts."""
        return LAWS[self.law][0](np.asarray(workers, np.float64), *list(self.parameters.values())[1:])

    def draws(self, number: int = 400, seed: int = 0) -> list[dict[str, float]]:
        """Return sets of parameters within their uncertainty, inside their bounds."""
        names, most = list(self.parameters), LAWS[self.law][2]
        values = list(self.parameters.values())
        mean = [math.log(values[0]), *values[1:]]
        drawn = np.random.default_rng(seed).multivariate_normal(
            mean, np.array(self.covariance), number, check_valid="ignore", method="eigh"
        )
        drawn[:, 1:] = np.clip(drawn[:, 1:], 0.0, most)
        drawn[:, 0] = np.exp(drawn[:, 0])
        return [dict(zip(names, row, strict=True)) for row in drawn.tolist()]

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "law": self.law,
            "parameters": self.parameters,
            "errors": self.errors,
            "residuals": {str(n): value for n, value in self.residuals.items()},
            "aicc": self.aicc if math.isfinite(self.aicc) else None,
            "chosen": self.chosen,
        }


def _seconds(law: str, weak: bool, n: Floats, log_first: float, *parameters: float) -> Floats:
    work = n if weak else 1.0
    return np.asarray(np.exp(log_first) * work / LAWS[law][0](n, *parameters))


def fit(law: str, workers: Sequence[int], seconds: Sequence[float], *, weak: bool = False) -> Fit | None:
    """Fit a law to times; None where there are fewer than three different numbers of workers.

    Parameters
    ----------
    law : str
        Of `LAWS`.
    workers, seconds : sequences
        All measurements, repeats one by one.
    weak : bool
        Whether the problem grew with the workers.
    """
    n, times = np.asarray(workers, np.float64), np.asarray(seconds, np.float64)
    _, names, most = LAWS[law]
    if np.unique(n).size < max(FEWEST, 1 + len(names)):
        return None

    def residual(values: Floats) -> Floats:
        with np.errstate(divide="ignore", over="ignore"):
            return np.log(times) - np.log(_seconds(law, weak, n, *values))

    low, high = [-np.inf, *(0.0 for _ in names)], [np.inf, *most]
    start = [math.log(float(np.median(times[n == n.min()]))), *(0.02 for _ in names)]
    found = least_squares(residual, start, bounds=(low, high), x_scale=[1.0, *(0.1 for _ in names)])
    squares = float(np.sum(found.fun**2))
    free = max(n.size - len(start), 1)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * squares / free
    errors = np.sqrt(np.diag(covariance))
    first = math.exp(found.x[0])
    return Fit(
        law,
        weak,
        {"seconds": first, **dict(zip(names, map(float, found.x[1:]), strict=True))},
        {"seconds": first * float(errors[0]), **dict(zip(names, map(float, errors[1:]), strict=True))},
        {int(one): float(np.mean(found.fun[n == one])) for one in np.unique(n)},
        _aicc(squares, n.size, len(start)),
        covariance=covariance.tolist(),
    )


def _aicc(squares: float, n: int, parameters: int) -> float:
    """Akaike's criterion for least squares, corrected for few points; the variance is a parameter too."""
    k = parameters + 1
    if n - k - 1 <= 0:
        return math.inf
    return n * math.log(max(squares, 1e-24) / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def fits(workers: Sequence[int], seconds: Sequence[float], *, weak: bool = False) -> list[Fit]:
    """Fit all laws; the one with the smallest AICc is marked. Empty where there are too few points."""
    found = [one for law in LAWS if (one := fit(law, workers, seconds, weak=weak)) is not None]
    usable = [one for one in found if math.isfinite(one.aicc)]
    best = min(usable, key=lambda one: one.aicc, default=None)
    return [Fit(**{**vars(one), "chosen": one is best}) for one in found]
