"""Numbers of a PCG64DXSM stream from inside compiled code.

``numpy.random.Generator.random`` calls the generator through a pointer for each number. Here the same
numbers, bit for bit, come from the recurrence itself, which the compiler keeps in registers.

O'Neill (2014), "PCG: a family of simple fast space-efficient statistically good algorithms for random
number generation", HMC-CS-2014-0905; the DXSM output is the one of numpy.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

MULTIPLIER = 0xDA942042E4DD58B5
_MASK = (1 << 128) - 1
_u8 = np.uint64
CHEAP = _u8(MULTIPLIER)
TO_DOUBLE = 1.0 / 9007199254740992.0


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


wide_product: Any = _wide_product  # numba hands the typing context over itself


def words_at(rng: np.random.Generator) -> NDArray[np.uint64]:
    """State and increment of a generator's stream, as four 64-bit words.

    Parameters
    ----------
    rng : numpy.random.Generator
        Over PCG64DXSM. Its own state is not changed.
    """
    found: Any = rng.bit_generator.state
    if found["bit_generator"] != "PCG64DXSM":
        raise ValueError(f"the stream must be PCG64DXSM, not {found['bit_generator']}")
    return _words(found["state"]["state"], found["state"]["inc"])


@cache
def jump(ahead: int) -> NDArray[np.uint64]:
    """Words of a and g, high word first: after `ahead` numbers, a state s of increment i is a s + g i."""
    total_a, total_g, a, g = 1, 0, MULTIPLIER, 1
    while ahead:  # the affine map, raised to a power by squaring
        if ahead & 1:
            total_a, total_g = total_a * a & _MASK, (total_g * a + g) & _MASK
        a, g = a * a & _MASK, (a + 1) * g & _MASK
        ahead >>= 1
    return _words(total_a, total_g)


def _words(*wide: int) -> NDArray[np.uint64]:
    low = (1 << 64) - 1
    return np.array([word for number in wide for word in (number >> 64, number & low)], dtype=np.uint64)


@njit(nogil=True, cache=True, inline="always")
def next_double(high: Any, low: Any, step_high: Any, step_low: Any) -> Any:
    """One number in [0, 1) and the state after it: ``(number, high, low)``."""
    out = high ^ (high >> _u8(32))
    out *= CHEAP
    out ^= out >> _u8(48)
    out *= low | _u8(1)
    carry_high, new_low = wide_product(low, CHEAP)
    new_high = high * CHEAP + carry_high + step_high
    new_low = new_low + step_low
    if new_low < step_low:
        new_high += _u8(1)
    return np.float64(np.int64(out >> _u8(11))) * TO_DOUBLE, new_high, new_low
