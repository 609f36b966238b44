"""Workers on this machine: a `LocalCluster` behind TLS that listens on loopback only."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client, LocalCluster, Nanny, Security, Worker
from distributed.utils import silence_logging_cmgr

from daskpar.clusters import early
from daskpar.clusters.interfaces import LOOPBACK
from daskpar.clusters.settings import CONFIG, HTTP, PAGES, worker_environment
from daskpar.errors import ClusterError

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import LocalProfile


@contextmanager
def open_local(profile: LocalProfile, place: Place) -> Iterator[Client]:
    """Start a `LocalCluster` as the profile says and yield its client."""
    environment = worker_environment()
    # A nanny prefers what is exported to what it is given, and sets the variables of its worker in its own
    # process, which here is the user's.
    # Workers read BLAS and OpenMP limits when they start, whatever the shell had exported.
    # LocalCluster lets its logs speak again while it closes, when workers may have died: hence once more.
    with (
        silence_logging_cmgr(logging.CRITICAL),
        dask.config.set(
            {
                **CONFIG,
                "distributed.nanny.pre-spawn-environ": environment,
                "distributed.worker.multiprocessing-method": early.method(),
                "distributed.scheduler.preload": [PAGES] if profile.dashboard else [],
            }
        ),
        early.exported({**environment, "PYTHONHASHSEED": early.HASH_SEED}),
    ):
        try:
            cluster = LocalCluster(
                **_arguments(profile), security=Security.temporary() if profile.processes else None
            )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise ClusterError(f"the local workers did not start: {error}", "try fewer workers") from error
        with cluster, Client(cluster) as client:
            yield client


def _arguments(profile: LocalProfile) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "n_workers": profile.workers,
        "threads_per_worker": profile.cores,
        "processes": profile.processes,
        "memory_limit": profile.memory or "auto",
        # Given also where there is no dashboard: HTTP is served anyway, and by default on all interfaces.
        "dashboard_address": HTTP,
        "worker_dashboard_address": HTTP,
        "worker_class": functools.partial(_without_pages, Nanny if profile.processes else Worker),
        "scheduler_kwargs": {"dashboard": False},  # `PAGES` makes them on demand
        # Failed tasks raise here and are told once; what is left are tracebacks of lost heartbeats.
        "silence_logs": logging.CRITICAL,
        "local_directory": str(profile.scratch) if profile.scratch else os.environ.get("TMPDIR"),
    }
    if profile.processes:
        arguments["host"] = LOOPBACK
    return arguments


def _without_pages(kind: type[Any], *arguments: Any, **options: Any) -> Any:
    """Return a worker that serves no pages of its own: for these each would import Bokeh, taking seconds.

    What workers do is on the scheduler's pages. HTTP is served all the same.
    """
    return kind(*arguments, **{**options, "dashboard": False})
