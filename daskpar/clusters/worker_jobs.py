"""The jobs of a Slurm profile: what the driver, its workers and an allocation for both ask for and run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daskpar.clusters.job_script import Request, batch_script, clock
from daskpar.clusters.settings import HTTP, PRELOAD
from daskpar.provenance import thread_environment

if TYPE_CHECKING:
    from daskpar.profile import MpiProfile, SlurmProfile

DEATH = 60  # seconds after which a worker ends that has no scheduler; nothing of a dead run stays longer
BATCH_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")  # what a batch system sets
PARTS = ("ca_file", "cert", "key")


def scheduler_file(folder: Path) -> Path:
    """Return the file that tells waiting workers where the scheduler is now."""
    return folder / "scheduler.json"


def worker_command(
    profile: SlurmProfile, name: str, folder: Path, keys: dict[str, str], interface: str
) -> list[str]:
    """Return the command that starts the workers of one job.

    They read the scheduler's address from a file when they start, so that a job which waited in the queue
    while one driver ended joins the next.
    """
    command = [python_of(profile), "-m", "distributed.cli.dask_worker"]
    command += ["--scheduler-file", str(scheduler_file(folder)), "--name", name]
    command += ["--nthreads", str(profile.cores), "--nworkers", str(profile.processes), "--nanny"]
    command += ["--memory-limit", str(worker_memory(profile)), "--death-timeout", str(DEATH)]
    command += ["--interface", interface, "--protocol", "tls", "--dashboard-address", HTTP]
    # HTTP is served all the same; pages of their own would have each worker import Bokeh.
    command += ["--no-dashboard", "--preload", PRELOAD]
    if profile.scratch is not None:
        command += ["--local-directory", profile.scratch]
    for part in PARTS:
        command += [f"--tls-{part.replace('_', '-')}", keys[part]]
    return command


def worker_script(
    profile: SlurmProfile, name: str, folder: Path, keys: dict[str, str], interface: str
) -> str:
    """Return the script of a job that holds ``processes`` workers."""
    count = profile.processes
    request = Request(
        name,
        count * profile.cores,
        None if profile.memory is None else count * profile.memory,
        profile.memory_per_cpu,
        clock(profile.walltime),
        profile.partition,
    )
    return batch_script(
        profile, request, worker_command(profile, name, folder, keys, interface), job_environment()
    )


def driver_script(profile: SlurmProfile, name: str, command: Sequence[str], longest: str | None) -> str:
    """Return the script of the driver's job.

    Parameters
    ----------
    profile : SlurmProfile
        The site.
    name : str
        Of the job: the run's.
    command : sequence of str
        The driver, as arguments of the interpreter.
    longest : str or None
        The partition's longest walltime, taken where the profile names none.
    """
    driver = profile.driver
    walltime = clock(driver.walltime) if driver.walltime is not None else longest
    partition = driver.partition or profile.partition
    memory = None if profile.memory_per_cpu is not None else driver.memory
    if driver.mode == "allocation":
        # One task for each worker; the driver and its scheduler share the first one's node.
        request = Request(
            name, profile.cores, profile.memory, profile.memory_per_cpu, walltime, partition, profile.workers
        )
    else:
        request = Request(name, 1, memory, profile.memory_per_cpu, walltime, partition)
    return batch_script(profile, request, [python_of(profile), *command], job_environment(), driver=True)


def mpi_script(profile: MpiProfile, name: str, command: Sequence[str]) -> str:
    """Return the script of one job that holds all MPI ranks, scheduler and client included."""
    request = Request(
        name, profile.cores, profile.memory, profile.memory_per_cpu, clock(profile.walltime),
        profile.partition, profile.ranks,
    )  # fmt: skip
    return batch_script(profile, request, command, job_environment(), driver=True)


def mpi_command(profile: MpiProfile, arguments: Sequence[str]) -> list[str]:
    """Return the launcher's command for all ranks."""
    counted = ["--ntasks" if profile.launcher == "srun" else "-n", str(profile.ranks)]
    return [profile.launcher, *counted, *profile.launcher_options, python_of(profile), *arguments]


def on_one_host(profile: MpiProfile) -> bool:
    """Whether all ranks run on this host, so that nothing needs to listen beyond it."""
    alone = profile.interface is None and not profile.launcher_options and profile.batch == "none"
    return alone and not any(name in os.environ for name in BATCH_JOBS)


def worker_memory(profile: SlurmProfile | MpiProfile) -> int:
    """Return the bytes that each worker process may use."""
    if profile.memory is not None:
        return profile.memory
    return int(profile.memory_per_cpu or 0) * profile.cores


def job_environment() -> dict[str, str]:
    """Return what jobs export: one thread for every library. Compiled kernels are kept where they run."""
    return {**thread_environment(threads=1), "PYTHONUNBUFFERED": "1"}


def python_of(profile: SlurmProfile | MpiProfile) -> str:
    """Return the interpreter on the nodes."""
    return profile.python or sys.executable
