"""How long processes have read input: the probe of a comparison, the same for all of its versions.

Nothing is noted unless ``DASKPAR_READING`` names a folder. There each process keeps a file with the seconds
that its threads have spent reading so far, so they are known however it ends.
"""

from __future__ import annotations

import functools
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

NOTED_IN = "DASKPAR_READING"

P = ParamSpec("P")
R = TypeVar("R")


def timed(read: Callable[P, R]) -> Callable[P, R]:
    """Note how long a function reads; such functions do not call each other."""

    @functools.wraps(read)
    def probed(*args: P.args, **kwargs: P.kwargs) -> R:
        folder = os.environ.get(NOTED_IN)
        if not folder:
            return read(*args, **kwargs)
        began = time.perf_counter()
        try:
            return read(*args, **kwargs)
        finally:
            _note(folder, time.perf_counter() - began)

    return probed


def seconds_read(folder: Path) -> float:
    """Return the seconds that all processes have noted in a folder."""
    noted = (path.read_bytes() for path in folder.glob("reading-*"))
    return sum(float(struct.unpack("d", one)[0]) for one in noted if one)


_lock = threading.Lock()
_noted: dict[tuple[str, int], tuple[int, float]] = {}  # a forked process begins anew


def _note(folder: str, seconds: float) -> None:
    with _lock:
        key = folder, os.getpid()
        if key not in _noted:
            path = Path(folder) / f"reading-{uuid4().hex}"
            _noted[key] = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC), 0.0
        file, total = _noted[key]
        _noted[key] = file, total + seconds
        os.pwrite(file, struct.pack("d", total + seconds), 0)
