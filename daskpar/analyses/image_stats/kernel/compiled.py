"""How the kernels of this package are compiled: one decorator, one tile width."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from daskpar import compiled as package
from daskpar.compiled import wide_vectors

__all__ = [
    "GROUP",
    "LANES",
    "MAD_TO_STD",
    "Array",
    "compiled",
    "inlined",
    "inner",
    "padded_rows",
    "reinterpret",
    "swap_bytes",
    "whole_vectors",
    "wide_vectors",
]

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile as `daskpar.compiled.compiled`, without numba's counting of references.

    It counts each time an array is sliced or taken out of a tuple, in atomic operations that were a fifth
    of all time. Such a function cannot make arrays: its callers bring the room it needs, and hold it.
    """
    return package.compiled(_nrt=False)(function)


def inner(function: Function) -> Function:
    """Compile a function that only compiled functions call, as `compiled`."""
    return package.inner(_nrt=False)(function)


def inlined(function: Function) -> Function:
    """Compile as `inner`, always into its callers: a loop that calls anything is not vectorised."""
    return package.inner(_nrt=False, forceinline=True)(function)


#: Pixels in a tile. A tile is a flat array whose row r, the pixels of frame (or rank) r, starts at
#: r * LANES. The constant is compiled in: the compiler then knows that rows never overlap, and
#: vectorises loops over pixels without run-time checks.
LANES = 256

#: Frames are processed in groups of this many rows; tiles are padded with +inf to a multiple of it.
GROUP = 16

#: Standard deviation of a normal distribution in units of its MAD, as astropy's `mad_std` has it.
MAD_TO_STD = 1.482602218505602


def padded_rows(n: int) -> int:
    """Rows of a tile for ``n`` frames: the next power of two, at least `GROUP`."""
    return max(GROUP, 1 << (n - 1).bit_length())


@inner
def whole_vectors(lanes: int) -> int:
    """Round a number of pixels up to whole vectors: what is left of a loop over them would not be vectorised.

    What is computed for the pixels beyond is never looked at.
    """
    return (lanes + 15) // 16 * 16


def _swap_bytes(typing_context: Any, value: Any) -> Any:
    """Reverse the bytes of an unsigned integer (one instruction; vectorises)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return arguments[0] if value.bitwidth == 8 else builder.bswap(arguments[0])

    return (value(value), generate) if isinstance(value, types.Integer) else None


def _reinterpret(typing_context: Any, value: Any, like: Any) -> Any:
    """Return the number whose bits are those of ``value``, in the type of ``like``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(like))

    return like(value, like), generate


swap_bytes: Any = intrinsic(_swap_bytes)
reinterpret: Any = intrinsic(_reinterpret)
