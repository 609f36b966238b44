"""An integral over a box, of a formula or a function, by any of the sampling methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.expression import Expression
from daskpar.analyses.monte_carlo.kernel.points import METHODS, fault, points
from daskpar.errors import RecipeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Integral:
    """The integral of `integrand` over a box: the mean of volume times integrand at random points.

    Parameters
    ----------
    integrand : str or callable
        A formula in the names of `limits`; or a function of points (n, d) in the box, in the order of
        `limits`, that returns (n,) or (n, k).
    limits : tuple of (name, low, high)
        The box.
    method : str
        See `kernel.points`. All but ``plain`` need whole batches.
    """

    integrand: str | Callable[[Floats], Any]
    limits: tuple[tuple[str, float, float], ...]
    method: str = "plain"
    seconds_per_sample: float = 2e-8

    def __post_init__(self) -> None:
        if not self.limits:
            raise RecipeError(
                "the integral has no variables", "give limits, for example x: [0, 1]", key="limits"
            )
        for name, low, high in self.limits:
            if not (np.isfinite(low) and np.isfinite(high) and low < high):
                raise RecipeError(
                    f"the limits of {name} are {low} and {high}",
                    "give finite limits, low < high",
                    key="limits",
                )
        if self.method not in METHODS:
            raise RecipeError(f"unknown method {self.method!r}", f"one of {', '.join(METHODS)}", key="method")
        if isinstance(self.integrand, str):
            unknown = set(Expression(self.integrand).variables) - {name for name, _, _ in self.limits}
            if unknown:
                raise RecipeError(
                    f"{', '.join(sorted(unknown))} has no limits", "add them to limits", key="limits"
                )

    @property
    def independent(self) -> bool:
        """Whether the samples of a batch are independent."""
        return self.method == "plain"

    @property
    def same_bits(self) -> bool:
        """Whether results have the same bits on every kind of processor."""
        return isinstance(self.integrand, str) and Expression(self.integrand).same_bits

    def check(self, batch_size: int) -> str:
        """Say what is wrong with a batch size; empty if nothing is."""
        return fault(batch_size, len(self.limits), self.method)

    def __call__(self, rng: np.random.Generator, n: int) -> Any:
        """Volume times integrand at n points."""
        low = np.array([limit[1] for limit in self.limits])
        span = np.array([limit[2] - limit[1] for limit in self.limits])
        where = low + span * points(rng, n, len(self.limits), self.method)
        volume = 1.0
        for width in span.tolist():
            volume *= width
        if callable(self.integrand):
            return volume * np.asarray(self.integrand(where))
        values = {name: where[:, i] for i, (name, _, _) in enumerate(self.limits)}
        return np.broadcast_to(
            volume * np.asarray(Expression(self.integrand)(values), dtype=np.float64), (n,)
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        shown = (
            self.integrand if isinstance(self.integrand, str) else getattr(self.integrand, "__qualname__", "")
        )
        return {"integral": shown, "limits": [list(limit) for limit in self.limits], "method": self.method}
