"""Points of the unit square within the unit circle, counted at many places of a stream at once.

A stream is one chain of dependent steps. It can be entered anywhere, though, so that lanes which run along
parts of it are independent, and the compiler puts several into one register.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel.pcg import (
    CHEAP,
    TO_DOUBLE,
    jump,
    next_double,
    wide_product,
    words_at,
)
from daskpar.compiled import wide_vectors

LANES = 16
_u8 = np.uint64
_HALF, _LOW = _u8(32), _u8(0xFFFFFFFF)
_CHEAP_HIGH, _CHEAP_LOW = CHEAP >> _HALF, CHEAP & _LOW


def points_in_circle(rng: np.random.Generator, n: int) -> int:
    """How many of n points lie within the circle.

    Parameters
    ----------
    rng : numpy.random.Generator
        Over PCG64DXSM; its next n numbers are the abscissae, the n after them the ordinates. Its own state is
        not changed.
    n : int
        How many points.
    """
    return int(_count(words_at(rng), jump(n // LANES), n))


@njit(nogil=True, cache=True, inline="always")
def _lane(high: Any, low: Any, step_high: Any, step_low: Any) -> Any:
    """As `pcg.next_double`, with the wide product made of products that vector units have."""
    out = high ^ (high >> _HALF)
    out *= CHEAP
    out ^= out >> _u8(48)
    out *= low | _u8(1)
    a, b = low & _LOW, low >> _HALF
    p, q, r, s = a * _CHEAP_LOW, a * _CHEAP_HIGH, b * _CHEAP_LOW, b * _CHEAP_HIGH
    middle = (p >> _HALF) + (q & _LOW) + (r & _LOW)
    new_low = ((middle << _HALF) | (p & _LOW)) + step_low
    carried = s + (q >> _HALF) + (r >> _HALF) + (middle >> _HALF) + _u8(new_low < step_low)
    new_high = high * CHEAP + carried + step_high
    return np.float64(np.int64(out >> _u8(11))) * TO_DOUBLE, new_high, new_low


@njit(nogil=True, cache=True, inline="always")
def _multiply(a_high: Any, a_low: Any, b_high: Any, b_low: Any) -> Any:
    high, low = wide_product(a_low, b_low)
    return high + a_high * b_low + a_low * b_high, low


@njit(nogil=True, cache=True)
def _enter(state: NDArray[np.uint64], begin: Any, leap: NDArray[np.uint64], high: Any, low: Any) -> Any:
    """Place a lane at each multiple of a leap, high words before low ones; return where the last ends."""
    for lane in range(LANES):
        state[begin + lane], state[begin + LANES + lane] = high, low
        high, low = _multiply(leap[0], leap[1], high, low)
        low += leap[3]
        high += leap[2] + _u8(low < leap[3])
    return high, low


@njit(nogil=True, cache=True)
def _count(words: NDArray[np.uint64], leap: NDArray[np.uint64], n: int) -> np.int64:
    wide_vectors()
    step_high, step_low = words[2], words[3]
    leap = leap.copy()
    leap[2], leap[3] = _multiply(leap[2], leap[3], step_high, step_low)
    # One array, since the compiler knows that its parts do not overlap: x, y, and how many are within.
    state = np.zeros(5 * LANES, np.uint64)
    x_high, x_low = _enter(state, 0, leap, words[0], words[1])
    high, low = x_high, x_low
    for _ in range(n % LANES):
        _x, high, low = next_double(high, low, step_high, step_low)
    high, low = _enter(state, 2 * LANES, leap, high, low)
    hits = np.int64(0)
    for _ in range(n % LANES):
        x, x_high, x_low = next_double(x_high, x_low, step_high, step_low)
        y, high, low = next_double(high, low, step_high, step_low)
        hits += x * x + y * y < 1.0
    for _ in range(n // LANES):
        for i in range(LANES):
            x, state[i], state[LANES + i] = _lane(state[i], state[LANES + i], step_high, step_low)
            j, k = 2 * LANES + i, 3 * LANES + i
            y, state[j], state[k] = _lane(state[j], state[k], step_high, step_low)
            state[4 * LANES + i] += _u8(x * x + y * y < 1.0)
    for i in range(LANES):
        hits += np.int64(state[4 * LANES + i])
    return hits
