"""Functions whose bits differ between processors in numpy and libm, here rounded once from many digits.

They make thresholds and bin edges, of which there are few; one different bit would move pairs between bins.
"""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
from numpy.typing import NDArray

DIGITS = 50

Floats = NDArray[np.float64]


def geometric(start: float, stop: float, number: int) -> Floats:
    """Return numbers from `start` to `stop` with equal ratios, both included; as `numpy.geomspace`."""
    with localcontext() as context:
        context.prec = DIGITS
        first, last = Decimal(start).ln(), Decimal(stop).ln()
        inner = [(first + (last - first) * k / (number - 1)).exp() for k in range(1, number - 1)]
        return np.array([start, *map(float, inner), stop], dtype=np.float64)


def sine(angles: Floats) -> Floats:
    """Return the sines of angles in radians, of at most about 7."""
    with localcontext() as context:
        context.prec = DIGITS
        return np.array([float(_sine(Decimal(float(angle)))) for angle in np.ravel(angles)]).reshape(
            np.shape(angles)
        )


def _sine(angle: Decimal) -> Decimal:
    """Sum the Taylor series; the terms of large angles cost some of the many digits."""
    total = term = angle
    k = 1
    while term and abs(term) > Decimal(10) ** -DIGITS * abs(angle):
        k += 2
        term = -term * angle * angle / (k * (k - 1))
        total += term
    return total
