"""Exponential, hyperbolic and circular functions from + - * / alone.

The library versions give other bits on other processors. These are as accurate as the places that
use them need (a few units in the last place) and have the same bits everywhere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LN2_HIGH = 6.93147180369123816490e-01  # 32 bits: products with small integers are exact
_LN2_LOW = 1.90821492927058770002e-10
_EXP = tuple(1.0 / math.factorial(i) for i in range(15))
_SIN = tuple((-1.0) ** i / math.factorial(2 * i + 1) for i in range(10))
_COS = tuple((-1.0) ** i / math.factorial(2 * i) for i in range(11))
_TWO_PI = 6.283185307179586


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + coefficient
    return total


def exp(x: Floats) -> Floats:
    """Exponential of float64 values between -700 and 700."""
    x = np.asarray(x, dtype=np.float64)
    k = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    rest = (x - k * _LN2_HIGH) - k * _LN2_LOW
    return np.ldexp(_polynomial(_EXP, rest), k.astype(np.int32))


def sinh(t: Floats) -> Floats:
    """Hyperbolic sine, to about 1e-16 absolute or relative, whichever is larger."""
    grown = exp(t)
    return 0.5 * (grown - 1.0 / grown)


def asinh(z: float) -> float:
    """Inverse hyperbolic sine of one number, by Newton's method on `sinh`."""
    size = abs(z)
    # Starts above the root, where the method descends without overshooting.
    t = size if size < 1.0 else (math.frexp(size)[1] + 1) * (_LN2_HIGH + _LN2_LOW)
    for _ in range(60):
        grown = float(exp(np.array(t)))
        step = (0.5 * (grown - 1.0 / grown) - size) / (0.5 * (grown + 1.0 / grown))
        t -= step
        if abs(step) <= 1e-15 * t:
            break
    return math.copysign(t, z)


def sine_cosine(turns: Floats) -> tuple[Floats, Floats]:
    """Sine and cosine of 2 pi times `turns`, an angle in full circles."""
    turns = np.asarray(turns, dtype=np.float64)
    quarter = np.rint(turns * 4.0)
    angle = (turns - quarter * 0.25) * _TWO_PI
    square = angle * angle
    sine = angle * _polynomial(_SIN, square)
    cosine = _polynomial(_COS, square)
    place = quarter.astype(np.int64) & 3
    swapped = (place & 1) == 1
    s = np.where(swapped, cosine, sine)
    c = np.where(swapped, sine, cosine)
    return np.where(place >= 2, -s, s), np.where((place == 1) | (place == 2), -c, c)
