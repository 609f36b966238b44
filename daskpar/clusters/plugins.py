"""What a run adds to scheduler and workers, however they were started."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin


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
