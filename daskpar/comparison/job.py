"""All versions inside one Slurm job, on one node: submitted and followed here; and what the job executes.

    python -m daskpar.comparison.job FOLDER

Processes and threads cannot leave a node, so the job has one, with a task for each core that the largest
version occupies. Dask's workers and MPI ranks are started on these tasks. The folder of the comparison is all
that submitter and job share: the request lies there, and what comes of it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.atomic import write_text
from daskpar.clusters import slurm_commands
from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.job_script import Request as Job
from daskpar.clusters.job_script import batch_script, clock
from daskpar.clusters.worker_jobs import job_environment, python_of
from daskpar.comparison.measuring import measure
from daskpar.comparison.report import write_report
from daskpar.comparison.request import Request, load_request
from daskpar.errors import ClusterError, DaskparError, InputError, OutputError, UsageError
from daskpar.launching import is_job

if TYPE_CHECKING:
    from daskpar.profile import MpiProfile, SlurmProfile

LOOK_EVERY = 1.0  # seconds: files and queue are looked at, which no event announces across hosts
LATE = 30.0  # seconds that a file server may take to show what a job wrote before its end
ERRORS = {kind.exit_code: kind for kind in (UsageError, InputError, ClusterError, OutputError)}


def is_submitted(profile: Any) -> bool:
    """Whether a comparison on this profile is a batch job of its own, rather than done where we are."""
    return is_job(profile)


def where_we_are(wanted: Request) -> Request:
    """Return the request as it is carried out in place: dask's workers on the cores of the job around us.

    Raises
    ------
    daskpar.errors.UsageError
        Dask's workers would be jobs on other machines, or the job around us is too small.
    """
    if wanted.profile.kind != "slurm":
        return wanted
    if "SLURM_JOB_ID" not in os.environ:
        raise UsageError(
            "dask's workers would be jobs, and the other versions run here",
            "write driver: {mode: job}: then all versions share one job; or compare inside a job",
            key="driver.mode",
        )
    cores, needed = cores_of_this_node(), wanted.cores()
    if cores is not None and cores < needed:
        todo = f"ask for --nodes=1 --ntasks={needed}, or compare fewer workers"
        raise UsageError(f"the job around us has {cores} cores here, and {needed} are needed", todo)
    return replace(wanted, profile=in_allocation(wanted.profile))


def cores_of_this_node() -> int | None:
    """Return the cores that the job around us has on its first node, where its script runs."""
    first = os.environ.get("SLURM_JOB_CPUS_PER_NODE", "").partition(",")[0].partition("(")[0]
    return int(first) if first.isdigit() else None


def in_allocation(profile: SlurmProfile) -> SlurmProfile:
    """Return a profile whose workers, of one thread each, are started on the tasks of the job around us."""
    driver = profile.driver.model_copy(update={"mode": "allocation"})
    changes = {"driver": driver, "processes": 1, "cores": 1, "memory": _memory(profile)}
    return profile.model_copy(update={**changes, "minimum_workers": None, "maximum_workers": None})


def _memory(profile: SlurmProfile | MpiProfile) -> int | None:
    """Return the memory of one thread of a worker."""
    return None if profile.memory is None else -(-profile.memory // profile.cores)


def script(wanted: Request, folder: Path) -> str:
    """Return the batch script of the job, word for word as it is submitted."""
    profile: Any = wanted.profile
    request = Job(
        folder.name, 1, _memory(profile), profile.memory_per_cpu, clock(profile.walltime), profile.partition,
        wanted.cores(), one_node=True,
    )  # fmt: skip
    command = [python_of(profile), "-m", "daskpar.comparison.job", str(folder)]
    return batch_script(profile, request, command, job_environment())


def submitted(wanted: Request, folder: Path, say: Callable[[str], None]) -> str:
    """Submit the job of a comparison and return its id.

    Raises
    ------
    daskpar.errors.ClusterError
        With what sbatch said.
    """
    profile: Any = wanted.profile
    if profile.interface is None:
        chosen_interface(None)  # refuses here already where several could be meant
    wanted.save(folder)
    log = str(folder / "logs").replace("%", "%%")
    job = slurm_commands.sbatch(script(wanted, folder), [f"--output={log}/job.log", "--open-mode=append"])
    write_text(folder / "job.json", json.dumps({"job": job}))
    say(f"job {job} on one node, {wanted.cores()} cores; what comes of it: {folder}")
    return job


def follow(folder: Path, job: str, say: Callable[[str], None]) -> None:
    """Hand on what the job says until the comparison is done; ended before that, it is cancelled.

    Raises
    ------
    daskpar.errors.DaskparError
        What ended the comparison in the job, or the job's own end.
    """
    try:
        _follow(folder, job, say)
    except (KeyboardInterrupt, SystemExit):
        slurm_commands.cancel_for_good([job])
        raise
    failed = _read(folder / "failure.json")
    if failed:
        raise ERRORS.get(failed["exit_code"], ClusterError)(failed["error"], f"see {folder / 'logs'}")
    if _read(folder / "comparison.json").get("state") != "done":
        last = [line for line in _log(folder).splitlines() if line.strip()][-1:]
        words = f"; its last words: {last[0]}" if last else ""
        raise ClusterError(f"job {job} ended before the comparison{words}", "see logs", path=folder)


def _follow(folder: Path, job: str, say: Callable[[str], None]) -> None:
    told, gone, deadline = 0, False, 0.0
    while True:
        lines = _log(folder).splitlines()
        for line in lines[told:]:
            say(line)
        told = max(told, len(lines))
        if (folder / "failure.json").exists() or _read(folder / "comparison.json").get("state") == "done":
            return
        if gone and time.monotonic() > deadline:
            return
        if not gone and _is_over(job):
            gone, deadline = True, time.monotonic() + LATE
        time.sleep(LOOK_EVERY)


def _is_over(job: str) -> bool:
    try:
        return job not in slurm_commands.queue()
    except ClusterError:  # silence says nothing about the job
        return False


def _log(folder: Path) -> str:
    try:
        text = (folder / "logs" / "job.log").read_text(errors="replace")
    except OSError:
        return ""
    return text[: text.rfind("\n") + 1]  # without a line that is being written


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def main(path: str) -> int:
    """Carry out the request in a folder, inside the job; return the exit code."""
    folder = Path(path)
    try:
        wanted = load_request(folder)
        if wanted.profile.kind == "slurm":
            wanted = replace(wanted, profile=in_allocation(wanted.profile))
        measure(wanted, folder, lambda line: print(line, flush=True))
        write_report(folder)
    except DaskparError as error:
        failed = {"error": str(error), "exit_code": error.exit_code}
        write_text(folder / "failure.json", json.dumps(failed))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
