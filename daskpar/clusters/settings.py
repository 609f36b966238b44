"""What every cluster is told, however it is started: dask's configuration and the workers' environment."""

from __future__ import annotations

from typing import Any

from daskpar.clusters.interfaces import LOOPBACK
from daskpar.provenance import numba_cache_dir, thread_environment

PRELOAD = "daskpar.clusters.worker_setup"
PAGES = "daskpar.clusters.pages"
HTTP = f"{LOOPBACK}:0"  # pages of scheduler and workers: on loopback, whatever the workers' network is
SCHEDULER: dict[str, Any] = {"dashboard_address": HTTP, "dashboard": False}  # `PAGES` makes them on demand

# Clocks of dask's own, which at its pace take a tenth of a core from the blocks of two workers.
_CALM: dict[str, Any] = {
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.memory.monitor-interval": "200ms",
    "distributed.worker.profile.interval": "100ms",
    "distributed.comm.offload": False,  # to see whether it is worth a thread, each message is measured
}

# Without a limit a run whose workers have all gone would wait for ever.
CONFIG: dict[str, Any] = {
    "distributed.dashboard.link": f"http://{LOOPBACK}:{{port}}/status",
    "distributed.scheduler.no-workers-timeout": "60s",
    "distributed.scheduler.allowed-failures": 2,  # then a block is tried once more, alone
    # A worker that is gone for longer would be given up, though its nanny is about to start it anew.
    "distributed.deploy.lost-worker-timeout": "10000d",
    "distributed.worker.preload": [PRELOAD],
    "distributed.scheduler.preload": [PAGES],
    "distributed.comm.timeouts.connect": "30s",
    "distributed.admin.large-graph-warning-threshold": "100MB",
    "distributed.admin.low-level-log-length": 100,  # messages to workers, which hold tasks, are kept so long
    **_CALM,
}


def worker_environment() -> dict[str, str]:
    """Return the environment of workers: one thread for every library, and the folder of compiled kernels.

    Also what dask reads of its configuration in processes that get no other, such as those of a job.
    """
    calm = {"DASK_" + name.replace(".", "__").replace("-", "_").upper(): str(_CALM[name]) for name in _CALM}
    return {**thread_environment(threads=1), **calm, "NUMBA_CACHE_DIR": str(numba_cache_dir())}
