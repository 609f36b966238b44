"""Workers as ranks of one MPI job, on `dask_mpi.initialize`.

Rank 0 schedules, rank 1 drives, the others compute. `join` is what every rank calls first; it returns on
rank 1 only, whose driver then opens the cluster.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client

from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.keys import remove_keys, security_of, tls_environment
from daskpar.clusters.settings import CONFIG, HTTP, SCHEDULER, worker_environment
from daskpar.clusters.worker_jobs import on_one_host, worker_memory
from daskpar.errors import ClusterError

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import MpiProfile

ARRIVAL = 60  # seconds in which all workers must have come: their ranks run already
JOINED = "DASKPAR_MPI_JOINED"


def join(profile: MpiProfile, folder: Path) -> None:
    """Take this rank's part in the cluster; returns on rank 1, when the scheduler is up.

    Parameters
    ----------
    profile : MpiProfile
        The site.
    folder : Path
        The run directory, with keys that `make_keys` made before the ranks started.

    Raises
    ------
    daskpar.errors.ClusterError
        Fewer than three ranks.
    """
    from mpi4py import MPI

    ranks = MPI.COMM_WORLD.Get_size()
    if ranks < 3:
        raise ClusterError(
            f"there are {ranks} MPI ranks, and 3 are needed: scheduler, client and a worker",
            f"start {profile.ranks} ranks for {profile.workers} workers, as daskpar submit does",
        )
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # a launcher may hand it on to all; it concerns the driver
    # Read by this process and by the workers that its nanny starts.
    os.environ.update(worker_environment())
    os.environ.update(tls_environment(security_of(profile.security, folder / "keys")))
    dask.config.refresh()
    dask.config.set(CONFIG)
    from dask_mpi import initialize

    initialize(
        interface="lo" if on_one_host(profile) else chosen_interface(profile.interface),
        nthreads=profile.cores,
        memory_limit=worker_memory(profile) or "auto",
        local_directory=profile.scratch,
        protocol="tls",
        **SCHEDULER,
        worker_class="distributed.Nanny",
        worker_options={"dashboard_address": HTTP},
    )
    os.environ[JOINED] = str(ranks)


def shared(value: Any) -> Any:
    """Return on every rank what rank 0 has, once rank 0 has it."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.bcast(value)


def rank() -> int:
    """Return the number of this rank."""
    from mpi4py import MPI

    return int(MPI.COMM_WORLD.Get_rank())


def make_keys(profile: MpiProfile, folder: Path) -> None:
    """Make the keys that all ranks will read."""
    security_of(profile.security, folder / "keys")


@contextmanager
def open_mpi(profile: MpiProfile, place: Place) -> Iterator[Client]:
    """Yield the client of the cluster that the ranks around us form."""
    ranks = os.environ.get(JOINED)
    if ranks is None:
        raise ClusterError(
            "this process is not a rank of an MPI job",
            "start the run with daskpar submit, which starts the ranks",
        )
    expected = int(ranks) - 2
    with Client(security=security_of(profile.security, place.keys)) as client:
        try:
            client.wait_for_workers(expected, timeout=ARRIVAL)
        except TimeoutError as error:
            raise ClusterError(
                f"{len(client.scheduler_info()['workers'])} of {expected} workers came within {ARRIVAL} s",
                "name the interface that the nodes see each other on",
                key="interface",
            ) from error
        yield client


def end(folder: Path, keep_keys: bool) -> None:
    """Have the other ranks leave, from rank 1, while the keys that it takes are still there."""
    from dask_mpi.execute import send_close_signal

    atexit.unregister(send_close_signal)  # at exit the keys would be gone
    try:
        send_close_signal()
    finally:
        if not keep_keys:
            remove_keys(folder / "keys")


def abort(code: int) -> None:
    """End all ranks at once."""
    from mpi4py import MPI

    sys.stdout.flush()
    sys.stderr.flush()
    MPI.COMM_WORLD.Abort(code)
