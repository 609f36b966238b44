"""Arrays that a process keeps from one block to the next: those that were used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray

ENTRY_BYTES = 256  # of a small array, and of what stands for one that there is not


class Kept:
    """Arrays by key, read-only, as several blocks use them at once.

    Attributes
    ----------
    lock : RLock
        Whoever holds it is alone with what is kept, to have others wait while an array is read.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._arrays: OrderedDict[Hashable, NDArray[Any] | None] = OrderedDict()
        self._bytes = 0

    @property
    def nbytes(self) -> int:
        """Of all that is kept."""
        return self._bytes

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return what is kept under a key, which is the one that was used last from now on."""
        with self.lock:
            if key not in self._arrays:
                return default
            self._arrays.move_to_end(key)
            return self._arrays[key]

    def put(self, key: Hashable, array: NDArray[Any] | None, most_bytes: int) -> None:
        """Keep an array, or that there is none, and let go of those used longest ago beyond so many bytes."""
        if array is not None:
            array.flags.writeable = False
        with self.lock:
            if key in self._arrays:
                self._bytes -= _size(self._arrays.pop(key))
            self._arrays[key] = array
            self._bytes += _size(array)
            while self._bytes > most_bytes:
                self._bytes -= _size(self._arrays.popitem(last=False)[1])

    def clear(self) -> None:
        """Let go of all."""
        with self.lock:
            self._arrays.clear()
            self._bytes = 0


def _size(array: NDArray[Any] | None) -> int:
    return max(ENTRY_BYTES, 0 if array is None else int(array.nbytes))
