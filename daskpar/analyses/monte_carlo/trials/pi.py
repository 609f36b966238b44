"""The classic: the area of a quarter circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel.circle import points_in_circle


@dataclass(frozen=True)
class Pi:
    """4 where a random point of the unit square lies within the unit circle, else 0.

    The mean is pi, the standard deviation 1.64. The abscissae of a batch of n are the first n numbers of its
    stream, the ordinates the next n.
    """

    values: ClassVar[tuple[float, float]] = (0.0, 4.0)
    same_bits: ClassVar[bool] = True
    seconds_per_sample: ClassVar[float] = 2.7e-9

    def __call__(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """Values of n points, shape (n,)."""
        x, y = rng.random(n), rng.random(n)
        return np.where(x * x + y * y < 1.0, 4.0, 0.0)

    def hits(self, rng: np.random.Generator, n: int) -> int:
        """How many of the same n points lie within the circle, in one compiled pass."""
        return points_in_circle(rng, n)

    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 1
    identity: ClassVar[str] = "pi"
