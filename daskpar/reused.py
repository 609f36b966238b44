"""Memory for large arrays, used again: the system clears each page that it hands out.

That takes longer than to read a file into it which the system has in memory, and the C library gives large
arrays back at once. Here memory comes back when the last array that lies in it is gone, whoever held it, and
is lent again to an array of about the same size.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from daskpar.aligned import aligned

SMALLEST = 1 << 20
#: Bytes of memory that nobody uses and that is kept all the same.
MOST_KEPT = 192 << 20
#: How much larger than an array the memory may be that it lies in.
LOOSEST = 1.25

_free: list[NDArray[np.uint8]] = []
_lock = threading.RLock()  # memory may come back, when garbage is collected, while it is lent


class _Loan:
    """What the arrays on lent memory hold as their base."""

    def __init__(self, memory: NDArray[np.uint8]) -> None:
        self._memory = memory

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._memory.__array_interface__

    def __del__(self) -> None:
        with _lock:
            _free.append(self._memory)
            while sum(memory.nbytes for memory in _free) > MOST_KEPT:
                del _free[0]


def reused(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Make an array that begins at a cache line, uninitialised, in memory that was used before if there is.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if size < SMALLEST:
        return aligned(shape, kind)
    return np.asarray(_Loan(_memory(size)))[:size].view(kind).reshape(shape)


def release() -> None:
    """Give memory that nobody uses back."""
    with _lock:
        _free.clear()


def _memory(size: int) -> NDArray[np.uint8]:
    with _lock:
        fitting = [n for n, memory in enumerate(_free) if size <= memory.nbytes <= LOOSEST * size]
        if fitting:
            return _free.pop(fitting[-1])
    return aligned(size, np.uint8)
