"""What ends a driver from outside: SIGTERM, and the nearing limit of the job that it runs in.

Both become exceptions in the main thread, so that the cluster is closed and the state written on the way out.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from daskpar.clusters.slurm_commands import seconds_left

# A driver ends in good order within this time before its limit, in seconds; Slurm is some seconds late or
# early itself.
MOST_NOTICE, LEAST_NOTICE = 300.0, 25.0
LOOK_AGAIN = 600.0  # seconds; an administrator may have changed the limit


class Terminated(BaseException):
    """SIGTERM arrived. Not an `Exception`: nothing on the way out may mistake it for a failure."""


class OutOfTime(BaseException):
    """The job around this process ends soon."""


@contextmanager
def stops_raise(in_time: bool = True) -> Iterator[threading.Event]:
    """Raise `Terminated` on SIGTERM and, inside a Slurm job, `OutOfTime` on SIGUSR1 or before its limit.

    And `KeyboardInterrupt` on SIGINT, whoever took that over, unless it is ignored.

    Parameters
    ----------
    in_time : bool
        Whether to look at the limit of the job around us: who only follows a run does not.

    Yields
    ------
    threading.Event
        Set before `OutOfTime` is raised.
    """
    over = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield over
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        ignore()  # once is enough: let the ending end
        raise Terminated

    def out_of_time(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        over.set()
        raise OutOfTime

    def ignore() -> None:
        for number in before:
            signal.signal(number, signal.SIG_IGN)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, terminate)}
    job, stop = os.environ.get("SLURM_JOB_ID") if in_time else None, threading.Event()
    if job is not None:
        before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, out_of_time)
        threading.Thread(target=_watch, args=(job, stop), name="daskpar-walltime", daemon=True).start()
    interrupt = signal.getsignal(signal.SIGINT)
    if callable(interrupt):
        # What the user's code imports may have taken Ctrl-C for itself; dask-jobqueue then leaves with 0.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield over
    finally:
        stop.set()
        if callable(interrupt):
            signal.signal(signal.SIGINT, interrupt)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(job: str, stop: threading.Event) -> None:
    left = seconds_left(job)
    if left is None:
        return
    notice = max(LEAST_NOTICE, min(MOST_NOTICE, left / 10))
    end = time.monotonic() + left
    while not stop.is_set():
        left = end - time.monotonic()
        if left <= notice:
            os.kill(os.getpid(), signal.SIGUSR1)
            return
        if stop.wait(min(left - notice, LOOK_AGAIN)):
            return
        now = seconds_left(job)
        end = end if now is None else time.monotonic() + now
