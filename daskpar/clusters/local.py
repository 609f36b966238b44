"""Workers on this machine: a `LocalCluster` behind TLS that listens on loopback only."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client, LocalCluster, Security
from distributed.utils import silence_logging_cmgr

from daskpar.errors import ClusterError
from daskpar.provenance import numba_cache_dir, thread_environment

if TYPE_CHECKING:
    from daskpar.profile import LocalProfile

LOOPBACK = "127.0.0.1"

# Without a limit a run whose workers have all gone would wait for ever.
CONFIG: dict[str, Any] = {
    "distributed.dashboard.link": f"http://{LOOPBACK}:{{port}}/status",
    "distributed.scheduler.no-workers-timeout": "60s",
    "distributed.scheduler.allowed-failures": 3,
    "distributed.worker.preload": ["daskpar.clusters.worker_setup"],
    "distributed.comm.timeouts.connect": "30s",
    "distributed.admin.large-graph-warning-threshold": "100MB",
    "distributed.admin.low-level-log-length": 100,  # messages to workers, which hold tasks, are kept so long
}


@contextmanager
def open_local(profile: LocalProfile) -> Iterator[Client]:
    """Start a `LocalCluster` as the profile says and yield its client."""
    environment = worker_environment(profile.cores)
    # Workers read BLAS and OpenMP limits when they start, whatever the shell had exported.
    # LocalCluster lets its logs speak again while it closes, when workers may have died: hence once more.
    with (
        silence_logging_cmgr(logging.CRITICAL),
        dask.config.set({**CONFIG, "distributed.nanny.pre-spawn-environ": environment}),
        _exported(environment),
    ):
        try:
            cluster = LocalCluster(
                **_arguments(profile), security=Security.temporary() if profile.processes else None
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(f"the local workers did not start: {error}", "try fewer workers") from error
        with cluster, Client(cluster) as client:
            yield client


@contextmanager
def _exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while.

    A nanny prefers what is exported to what it is given, and sets the variables of its worker in its own
    process, which here is the user's.
    """
    names = [*variables, "PYTHONHASHSEED"]  # distributed's own
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def worker_environment(threads: int = 1) -> dict[str, str]:
    """Return the environment of workers: one thread for every library, and the folder of compiled kernels."""
    return {**thread_environment(threads=1), "NUMBA_CACHE_DIR": str(numba_cache_dir())}


def _arguments(profile: LocalProfile) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "n_workers": profile.workers,
        "threads_per_worker": profile.cores,
        "processes": profile.processes,
        "memory_limit": profile.memory or "auto",
        # Given also where there is no dashboard: HTTP is served anyway, and by default on all interfaces.
        "dashboard_address": f"{LOOPBACK}:0",
        "worker_dashboard_address": f"{LOOPBACK}:0",
        "scheduler_kwargs": {"dashboard": profile.dashboard},
        # Failed tasks raise here and are told once; what is left are tracebacks of lost heartbeats.
        "silence_logs": logging.CRITICAL,
        "local_directory": str(profile.scratch) if profile.scratch else os.environ.get("TMPDIR"),
    }
    if profile.processes:
        arguments["host"] = LOOPBACK
    return arguments
