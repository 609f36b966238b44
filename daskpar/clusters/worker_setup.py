"""Preloaded by every worker process: finds compiled kernels, looks after memory, leaves Ctrl-C to the driver.

The driver ends the workers in good order.

A terminal sends SIGINT to all processes of a command; workers that took it would die with tracebacks while
the driver still waits for their blocks.
"""

import gc
import os
import signal
import threading
from typing import Any

from daskpar.clusters.full_memory import look_after
from daskpar.provenance import numba_cache_dir


def dask_setup(worker: Any) -> None:
    """Name the folder of compiled kernels, look after memory; ignore SIGINT in a worker's own process."""
    # Where nobody said so before: jobs of a batch system run on machines of their own.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(numba_cache_dir()))
    look_after(worker)
    own_process = getattr(worker, "nanny", None) is not None
    if own_process:
        gc.freeze()  # what is imported is no garbage
        gc.enable()  # see `forked`
    if own_process and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
