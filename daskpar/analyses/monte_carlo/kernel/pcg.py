"""Numbers of a PCG64DXSM stream from inside compiled code.

``numpy.random.Generator.random`` calls the generator through a pointer for each number. Here the same
numbers, bit for bit, come from the recurrence itself, which the compiler keeps in registers and
runs for two places of the stream at once.

O'Neill (2014), "PCG: a family of simple fast space-efficient statistically good algorithms for random
number generation", HMC-CS-2014-0905; the DXSM output is the one of numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

MULTIPLIER = 0xDA942042E4DD58B5
_MASK = (1 << 128) - 1
_u8 = np.uint64
_CHEAP = _u8(MULTIPLIER)
_TO_DOUBLE = 1.0 / 9007199254740992.0


@intrinsic
def _wide_product(typing: Any, a: Any, b: Any) -> Any:
    """High and low half of the 128-bit product of two 64-bit integers."""
    make: Any = types.UniTuple
    result = make(types.uint64, 2)(types.uint64, types.uint64)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        from llvmlite import ir  # type: ignore[import-untyped]

        wide = ir.IntType(128)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))
        low = builder.trunc(product, ir.IntType(64))
        return context.make_tuple(builder, signature.return_type, (high, low))

    return result, build


_product: Any = _wide_product  # numba hands the typing context over itself


def words_at(rng: np.random.Generator, ahead: int = 0) -> NDArray[np.uint64]:
    """State and increment of a generator's stream, as four 64-bit words, `ahead` numbers further on.

    Parameters
    ----------
    rng : numpy.random.Generator
        Over PCG64DXSM. Its own state is not changed.
    ahead : int
        How many 64-bit numbers to skip.
    """
    found: Any = rng.bit_generator.state
    if found["bit_generator"] != "PCG64DXSM":
        raise ValueError(f"the stream must be PCG64DXSM, not {found['bit_generator']}")
    state, step = found["state"]["state"], found["state"]["inc"]
    # The affine map x -> a x + c, raised to the power `ahead` by squaring.
    total_a, total_c, a, c = 1, 0, MULTIPLIER, step
    while ahead:
        if ahead & 1:
            total_a, total_c = total_a * a & _MASK, (total_c * a + c) & _MASK
        a, c = a * a & _MASK, (a + 1) * c & _MASK
        ahead >>= 1
    state = (total_a * state + total_c) & _MASK
    low = (1 << 64) - 1
    return np.array([state >> 64, state & low, step >> 64, step & low], dtype=np.uint64)


@njit(nogil=True, cache=True, inline="always")
def next_double(high: Any, low: Any, step_high: Any, step_low: Any) -> Any:
    """One number in [0, 1) and the state after it: ``(number, high, low)``."""
    out = high ^ (high >> _u8(32))
    out *= _CHEAP
    out ^= out >> _u8(48)
    out *= low | _u8(1)
    carry_high, new_low = _product(low, _CHEAP)
    new_high = high * _CHEAP + carry_high + step_high
    new_low = new_low + step_low
    if new_low < step_low:
        new_high += _u8(1)
    return np.float64(np.int64(out >> _u8(11))) * _TO_DOUBLE, new_high, new_low


@njit(nogil=True, cache=True)
def doubles(words: NDArray[np.uint64], out: NDArray[np.float64]) -> None:
    """Fill `out` with the numbers that ``rng.random`` would draw from the place of `words`."""
    high, low, step_high, step_low = words[0], words[1], words[2], words[3]
    for i in range(out.size):
        out[i], high, low = next_double(high, low, step_high, step_low)


@njit(nogil=True, cache=True)
def count_in_circle(x_words: NDArray[np.uint64], y_words: NDArray[np.uint64], n: int) -> int:
    """How many of n points (x, y) have x^2 + y^2 < 1; x and y run along two places of one stream."""
    a, b, step_high, step_low = x_words[0], x_words[1], x_words[2], x_words[3]
    c, d = y_words[0], y_words[1]
    hits = 0
    for _ in range(n):
        x, a, b = next_double(a, b, step_high, step_low)
        y, c, d = next_double(c, d, step_high, step_low)
        hits += x * x + y * y < 1.0
    return hits
