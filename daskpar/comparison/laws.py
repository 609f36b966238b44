"""Laws of scaling, fitted to times: Amdahl, Gustafson, and the Universal Scalability Law.

With S(N) the speed-up of N workers, T(N) = T(1) / S(N) for a problem of fixed size, and N T(1) / S(N) for one
that grows with the workers.

========== ========================================= ===================
amdahl     1 / (s + (1 - s) / N)                     s: serial share
gustafson  s + (1 - s) N                             s: serial share
usl        N / (1 + σ (N - 1) + κ N (N - 1))         σ contention, κ coherence
========== ========================================= ===================

Amdahl 1967; Gustafson 1988; Gunther 2007. Amdahl's is for problems of fixed size, Gustafson's for those that
grow, the third for both.

A point is a number of workers: the median of its log T, since the scatter of times is relative. Repeats say
how far a median may be off, but are no points of their own: more of them do not tell laws apart where it is
the machine that deviates. So the variance of a point is that of the medians (a bootstrap, the same for all)
or that of the points about the law, whichever is larger. It takes one point more than a law has parameters to
fit it, two to choose it before a simpler one: by Akaike's criterion, corrected for few points (AICc).
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

TRIED = {False: ("amdahl", "usl"), True: ("gustafson", "usl")}
"""Laws for problems of a fixed size, and for those that grow with the workers; the richest is the last."""

DRAWS = 500  # of the bootstrap of the medians
EXACT = 1e-12  # the least variance of a point: times that were computed lie on their law


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
        For each number of workers, log(T measured / T fitted), T measured being the median.
    aicc : float
        Smaller is better; infinite with too few points to choose by it.
    variance : float
        Of a point, in log T.
    squares : float
        Sum of the squares of the residuals.
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
    variance: float
    squares: float
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
    """Fit a law to times; None with fewer than three numbers of workers, or none more than parameters.

    Parameters
    ----------
    law : str
        Of `LAWS`.
    workers, seconds : sequences
        All measurements, repeats one by one.
    weak : bool
        Whether the problem grew with the workers.
    """
    _, names, most = LAWS[law]
    n, middles, variance = _medians(np.asarray(workers, np.float64), np.asarray(seconds, np.float64))
    if n.size < max(FEWEST, 2 + len(names)):
        return None

    def residual(values: Floats) -> Floats:
        with np.errstate(divide="ignore", over="ignore"):
            return np.asarray(middles - np.log(_seconds(law, weak, n, *values)))

    low, high = [-np.inf, *(0.0 for _ in names)], [np.inf, *most]
    start = [float(middles[0]), *(0.02 for _ in names)]
    found = least_squares(residual, start, bounds=(low, high), x_scale=[1.0, *(0.1 for _ in names)])
    squares = float(np.sum(found.fun**2))
    variance = max(variance, squares / (n.size - len(start)), EXACT)
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * variance
    errors = np.sqrt(np.diag(covariance))
    first = math.exp(found.x[0])
    return Fit(
        law,
        weak,
        {"seconds": first, **dict(zip(names, map(float, found.x[1:]), strict=True))},
        {"seconds": first * float(errors[0]), **dict(zip(names, map(float, errors[1:]), strict=True))},
        {int(one): float(left) for one, left in zip(n, found.fun, strict=True)},
        _aicc(squares / variance, n.size, len(start)),
        variance,
        squares,
        covariance=covariance.tolist(),
    )


def _medians(n: Floats, times: Floats) -> tuple[Floats, Floats, float]:
    """Return the numbers of workers, the medians of log T, and the variance of such a median."""
    rng, counts = np.random.default_rng(0), np.unique(n)
    logs = [np.log(times[n == one]) for one in counts]
    drawn = [np.median(rng.choice(one, (DRAWS, one.size)), axis=1) for one in logs]
    variance = float(np.mean([np.var(one) for one in drawn])) if drawn else 0.0
    return counts, np.array([np.median(one) for one in logs]), variance


def _aicc(chi_squared: float, points: int, parameters: int) -> float:
    """Akaike's criterion for points of a known variance, corrected for few points."""
    if points - parameters - 1 <= 0:
        return math.inf
    return chi_squared + 2 * parameters + 2 * parameters * (parameters + 1) / (points - parameters - 1)


def fits(workers: Sequence[int], seconds: Sequence[float], *, weak: bool = False) -> list[Fit]:
    """Fit the laws of such a problem and mark the one with the smallest AICc; empty with too few points.

    All are measured with the variance that the richest law finds. With too few points for AICc, the simplest.
    """
    found = [one for law in TRIED[weak] if (one := fit(law, workers, seconds, weak=weak)) is not None]
    points = np.unique(np.asarray(workers)).size
    criteria = [_aicc(one.squares / found[-1].variance, points, len(one.parameters)) for one in found]
    best = int(np.argmin(criteria)) if found else 0
    return [Fit(**{**vars(one), "aicc": criteria[k], "chosen": k == best}) for k, one in enumerate(found)]
