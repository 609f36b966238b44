"""What a run adds to scheduler and workers, however they were started."""

from __future__ import annotations

import ctypes
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from distributed import get_worker, secede
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.worker import thread_state

from daskpar.block import memory_bytes

libc = ctypes.CDLL(None)
SHARE_KEPT = 0.4


class CodeFirst(WorkerPlugin):  # type: ignore[misc]
    """Puts the run's copy of the user's modules first on the path of every worker, also of later ones."""

    name = "daskpar-code-first"

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self, worker: Any) -> None:
        """Change the path before the worker gets its first task."""
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)


class LogsToRun(WorkerPlugin):  # type: ignore[misc]
    """Has every worker process write its log, and what the user's functions print, to a file of the run.

    The terminal belongs to the driver, which says once and shortly what went wrong.
    """

    name = "daskpar-logs"

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def setup(self, worker: Any) -> None:
        """Turn stdout and stderr of the process to the file, also for what compiled code writes."""
        if getattr(worker, "nanny", None) is None:
            return  # a worker in the driver's own process
        path = os.path.join(self.folder, f"worker-{socket.gethostname()}-{os.getpid()}.log")
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError:
            return  # a log is not worth a worker
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            os.dup2(descriptor, number)
        os.close(descriptor)


class MarkSecondStarts(SchedulerPlugin):  # type: ignore[misc]
    """Marks block tasks whose worker died, so that their next start looks into the ledger first.

    A worker can die between storing a record and the driver hearing of it. Looking into the ledger at every
    start would cost a listing a task; the scheduler knows which ones need it, and tells the worker with the
    task.
    """

    name = "daskpar-second-starts"
    idempotent = True

    def start(self, scheduler: Any) -> None:
        """Keep the scheduler, whose tasks are to be marked."""
        self.scheduler = scheduler
        self.lost: dict[Any, str] = {}

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Mark a task that lost its worker while it ran, or with its result, when it is to start again."""
        if finish == "released" and start in ("processing", "memory") and _is_block(key):
            self.lost[key] = start
        elif finish == "forgotten" and self.lost.get(key) == "memory":
            del self.lost[key]  # the driver has its receipt
        elif finish == "waiting" and key in self.lost:  # also where it was given up and sent once more
            task = self.scheduler.tasks[key]
            task.annotations = {**(task.annotations or {}), "started_before": True}


def _is_block(key: Any) -> bool:
    return str(key[0] if isinstance(key, tuple) else key).startswith("store-")


def started_before() -> bool:
    """Whether the task that calls this ran before, on a worker that died."""
    try:
        task = get_worker().state.tasks.get(thread_state.key)
    except (ValueError, AttributeError):
        return False
    return bool(task is not None and (task.annotations or {}).get("started_before"))


_aside: WeakKeyDictionary[Any, threading.Semaphore] = WeakKeyDictionary()
_aside_lock = threading.Lock()


@contextmanager
def aside(leave: Callable[[], None]) -> Iterator[None]:
    """Have the worker compute its next block in another thread, while this one waits for a disk.

    Before that one begins, ``leave`` is called. No more threads wait than compute: where the disk is slower
    than the blocks, it holds them up.
    """
    try:
        worker = get_worker()
    except ValueError:
        yield
        return
    with _aside_lock:
        places = _aside.setdefault(worker, threading.Semaphore(worker.state.nthreads))
    with places:
        leave()
        secede()
        yield


def give_back_memory() -> None:
    """Give freed memory back to the system, in a worker that holds much of what it may.

    A worker is judged by what its process holds, and gets no more blocks above a share of its limit. The C
    library keeps freed memory, so that such a worker would wait for ever.
    """
    try:
        manager = get_worker().memory_manager
    except ValueError:
        return
    limit = getattr(manager, "memory_limit", None)
    if limit and memory_bytes() > SHARE_KEPT * limit and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
