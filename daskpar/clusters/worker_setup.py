"""Preloaded by every worker process: leaves Ctrl-C to the driver, which ends the workers in good order.

A terminal sends SIGINT to all processes of a command; workers that took it would die with tracebacks while
the driver still waits for their blocks.
"""

import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Ignore SIGINT in a worker that has its process to itself."""
    own_process = getattr(worker, "nanny", None) is not None
    if own_process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
