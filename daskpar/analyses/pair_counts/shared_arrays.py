"""Arrays in shared memory: written by one process, mapped by the others, copied by none."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing.shared_memory import SharedMemory
from typing import Any, NamedTuple

import numpy as np

ALIGNED = 64  # bytes; where vector instructions like arrays to begin


class Handle(NamedTuple):
    """Some arrays in one segment of shared memory: its name, and dtype, shape and place of each."""

    segment: str
    arrays: tuple[tuple[str, str, tuple[int, ...], int], ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape, _ in self.arrays)


def make_handle(segment: str, arrays: Sequence[Any]) -> Handle:
    """Return a handle from what JSON makes of one."""
    return Handle(segment, tuple((name, dtype, tuple(shape), place) for name, dtype, shape, place in arrays))


def share(arrays: Mapping[str, Any]) -> Handle:
    """Write arrays to a new segment; it lives until `removed` ends."""
    places, end = [], 0
    for name, array in arrays.items():
        places.append((name, array.dtype.str, array.shape, end))
        end += -(-array.nbytes // ALIGNED) * ALIGNED
    memory = SharedMemory(create=True, size=max(end, 1))
    handle = Handle(memory.name, tuple(places))
    for name, view in _views(memory, handle).items():
        view[...] = arrays[name]
    _kept.append(memory)
    return handle


_kept: list[SharedMemory] = []  # a segment that nobody holds is unmapped, and arrays on it with it


@cache
def mapped(handle: Handle) -> dict[str, Any]:
    """Return the arrays of a segment, once for each process."""
    memory = SharedMemory(name=handle.segment)
    _kept.append(memory)
    return _views(memory, handle)


def _views(memory: SharedMemory, handle: Handle) -> dict[str, Any]:
    return {
        name: np.ndarray(shape, np.dtype(dtype), memory.buf, offset)
        for name, dtype, shape, offset in handle.arrays
    }


@contextmanager
def removed() -> Iterator[list[Handle]]:
    """Yield a list; the segments of all handles that were put into it are removed at the end."""
    handles: list[Handle] = []
    try:
        yield handles
    finally:
        for handle in handles:
            SharedMemory(name=handle.segment).unlink()
