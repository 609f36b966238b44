"""Arrays that begin at a cache line.

numpy's begin at any 16 bytes: every read of a kernel that takes 64 bytes at a time would touch two cache
lines.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

CACHE_LINE = 64
"""Bytes."""


def aligned(shape: int | tuple[int, ...], dtype: DTypeLike = np.float64, fill: Any = None) -> NDArray[Any]:
    """Make an array that begins at a cache line, uninitialised or filled.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : dtype
    fill : number, optional
        The value of all elements.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) if isinstance(shape, tuple) else shape
    raw = np.empty(size * kind.itemsize + CACHE_LINE, np.uint8)
    first = -raw.ctypes.data % CACHE_LINE
    array = raw[first : first + size * kind.itemsize].view(kind).reshape(shape)
    if fill is not None:
        array[...] = fill
    return array
