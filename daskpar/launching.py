"""How a driver is started, for each kind of profile: a process, a batch job, or the ranks of an MPI job.

`launch` starts one and notes in ``submission.json`` what it is, so that status and cancel find it. The driver
itself uses it for the job that goes on where it has to stop.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar import lease
from daskpar.atomic import write_text
from daskpar.clusters import slurm_commands
from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.worker_jobs import (
    PARTS,
    driver_script,
    mpi_command,
    mpi_script,
    on_one_host,
    worker_script,
)

if TYPE_CHECKING:
    from daskpar.profile import MpiProfile, Profile, SlurmProfile
    from daskpar.rundir import RunDirectory


# What keeps MPI's own sockets closed where shared memory is enough.
WITHOUT_NETWORK = {"UCX_TLS": "sm,self", "OMPI_MCA_btl": "self,sm"}


def is_job(profile: Profile) -> bool:
    """Whether the driver of a run on this profile is a batch job, which `submit` leaves to itself."""
    if profile.kind == "slurm":
        return profile.driver.mode != "here"
    return profile.kind == "mpi" and profile.batch == "slurm"


def is_launched(profile: Profile) -> bool:
    """Whether the driver of a run on this profile cannot be just any process: a job, or an MPI rank."""
    return is_job(profile) or profile.kind == "mpi"


def launch(run: RunDirectory, profile: Profile, after: str = "") -> None:
    """Start the driver of a run where its profile says.

    Parameters
    ----------
    run : RunDirectory
        The run.
    profile : Profile
        The site.
    after : str
        A job that must have ended first: the driver before this one.

    Raises
    ------
    daskpar.errors.ClusterError
        The queue refuses the job.
    """
    run.logs.mkdir(exist_ok=True)
    if profile.kind == "mpi":
        _make_keys(profile, run)
    if is_job(profile):
        if profile.interface is None:  # type: ignore[union-attr]
            chosen_interface(None)  # refuses here already where several could be meant
        started: dict[str, Any] = {"job": _submit(run, profile, after)}
    else:
        started = lease.describe(_start(run, profile))
    write_text(run.path / "submission.json", json.dumps(started))


def job_script(profile: Profile, name: str, path: str) -> str:
    """Return the batch script that starts a driver, word for word as it is submitted; empty without one.

    Parameters
    ----------
    profile : Profile
        The site.
    name, path : str
        The run's name and directory.
    """
    if not is_job(profile):
        return ""
    if profile.kind == "mpi":
        return mpi_script(profile, name, mpi_command(profile, _rank(path)))
    return _driver_script(profile, name, path)


def scripts(profile: Profile, name: str, path: str) -> str:
    """Return all batch scripts of a run as text, for ``daskpar plan``: the driver's, and its workers'."""
    found = job_script(profile, name, path)
    if profile.kind == "slurm" and profile.driver.mode != "allocation":
        keys = {part: f"{path}/keys/{part}.pem" for part in PARTS}
        interface = profile.interface or chosen_interface(None)
        found += f"\n{worker_script(profile, f'{name}-0', Path(path), keys, interface)}"
    return found


def launched(run: RunDirectory) -> dict[str, Any] | None:
    """Return what `launch` noted: a job, or a process of a host."""
    try:
        return dict(json.loads((run.path / "submission.json").read_text()))
    except (OSError, ValueError):
        return None


def cancel_worker_jobs(run: RunDirectory) -> None:
    """End what a driver left in the queue that died, or that meant to hand over."""
    path = run.path / "jobs.json"
    try:
        jobs = set(json.loads(path.read_text()).values())
    except (OSError, ValueError):
        return
    if jobs:
        slurm_commands.cancel_for_good(jobs)
    path.unlink(missing_ok=True)


def _driver_script(profile: SlurmProfile | Any, name: str, path: str) -> str:
    longest = None
    if profile.driver.walltime is None:
        longest = slurm_commands.partition_limit(profile.driver.partition or profile.partition)
    return driver_script(profile, name, ["-m", "daskpar", "run", path, "--as-begun"], longest)


def _rank(path: str) -> list[str]:
    return ["-m", "mpi4py", "-m", "daskpar.ranks", path]


def _submit(run: RunDirectory, profile: Profile, after: str) -> str:
    log = str(run.logs).replace("%", "%%")
    arguments = [f"--output={log}/driver.log", "--open-mode=append"]
    if after:
        arguments.append(f"--dependency=afterany:{after}")
    return slurm_commands.sbatch(job_script(profile, run.name, str(run.path)), arguments)


def _start(run: RunDirectory, profile: Profile) -> int:
    command = [sys.executable, "-m", "daskpar", "run", str(run.path)]
    if profile.kind == "mpi":
        command = mpi_command(profile, _rank(str(run.path)))
    with open(run.logs / "driver.log", "ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            env=_environment(profile),
        )  # fmt: skip
    return process.pid


def _environment(profile: Profile) -> dict[str, str]:
    """Return our environment; a launcher that is on no path may lie beside our interpreter."""
    path = os.environ.get("PATH", os.defpath)
    own: dict[str, str] = {}
    if profile.kind == "mpi":
        named = profile.interface
        own = WITHOUT_NETWORK if on_one_host(profile) else {"UCX_NET_DEVICES": named} if named else {}
    return {**own, **os.environ, "PATH": os.pathsep.join([path, os.path.dirname(sys.executable)])}


def _make_keys(profile: MpiProfile, run: RunDirectory) -> None:
    from daskpar.clusters.mpi import make_keys

    make_keys(profile, run.path)
