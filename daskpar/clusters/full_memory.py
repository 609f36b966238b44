"""Workers whose memory is full: they give back what is kept for speed, and none waits for nothing.

dask pauses a worker whose process holds more than a share of its limit, until it holds less. What it waits
for are tasks that end, and results that move to its disk. But a process can hold as much without either: a
compiler and libraries keep memory, and a disk may be full. Such a worker would keep its blocks for ever.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import Any

from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from daskpar import reused, stored_value

PERIOD = 0.5  # seconds
PATIENCE = 60.0  # seconds that results get to move to the disk

logger = logging.getLogger(__name__)
libc = ctypes.CDLL(None)


def give_back() -> None:
    """Give memory back to the system: what we keep for the next block, and what the C library does."""
    reused.release()
    stored_value.forget()
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def look_after(worker: Any) -> None:
    """Have a dask worker that is paused go on where waiting does not help, by one block for each thread.

    What it holds then may end it, and nobody has to wait: its nanny starts it anew.
    """
    if worker.memory_manager.memory_limit:
        look = _Look(worker)
        worker.periodic_callbacks["daskpar-full-memory"] = PeriodicCallback(look, 1000 * PERIOD)


class _Look:
    """A look at a worker.

    Attributes
    ----------
    idle_since : float or None
        Since when it has been paused and has computed nothing, by the monotonic clock.
    """

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.idle_since: float | None = None

    def __call__(self) -> None:
        worker = self.worker
        if worker.status is not Status.paused or worker.state.all_running_tasks:
            self.idle_since = None
            return
        give_back()
        self.idle_since = self.idle_since or time.monotonic()
        waited, manager = time.monotonic() - self.idle_since, worker.memory_manager
        held, most = worker.monitor.get_process_memory(), manager.memory_pause_fraction * manager.memory_limit
        in_vain = held - _results(worker) > most or (waited > PATIENCE and worker.state.ready)
        if held > most and in_vain:
            logger.warning("waiting frees no memory: %d MB are held, and work goes on", held // 10**6)
            worker.status = Status.running


def _results(worker: Any) -> int:
    """Return the bytes of results that could move to the disk."""
    spilled = getattr(worker.data, "spilled_total", None)
    return int(worker.state.nbytes) - (spilled.memory if spilled is not None else 0)
