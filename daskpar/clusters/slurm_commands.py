"""Slurm's own commands: sbatch, squeue, scancel, sinfo. Their words reach the user unchanged."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from daskpar.errors import ClusterError

PATIENCE = 60.0  # seconds for one command; a busy controller answers late
LESS_PATIENCE = 15.0  # where an answer is of use only: what needs one comes next, and waits by itself
OVER = frozenset(
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED TIMEOUT".split()
)
# Reasons that no waiting removes.
HOPELESS = frozenset(
    "BadConstraints PartitionConfig PartitionNodeLimit PartitionTimeLimit InvalidAccount InvalidQOS "
    "DependencyNeverSatisfied AccountNotAllowed QOSNotAllowed".split()
)


@dataclass(frozen=True)
class Job:
    """A job as the queue shows it.

    Attributes
    ----------
    state, reason : str
        Slurm's words: ``PENDING``, ``Resources``.
    """

    state: str
    reason: str

    @property
    def waits(self) -> bool:
        """Whether it has not started."""
        return self.state in ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED")


def clean_environment() -> dict[str, str]:
    """Return our environment without what a job around us would hand on to the jobs that we submit."""
    kept = ("SLURM_CONF",)
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or not name.startswith(("SLURM", "SBATCH", "SRUN", "PMI", "PMIX"))
    }


def sbatch(script: str, arguments: Sequence[str] = ()) -> str:
    """Submit a batch script and return the job's id.

    Raises
    ------
    daskpar.errors.ClusterError
        With what sbatch said.
    """
    done = _call(["sbatch", "--parsable", *arguments], script)
    if done.returncode != 0:
        raise ClusterError(
            f"sbatch refused the job: {_words(done)}", "change the profile; see daskpar plan for the script"
        )
    return done.stdout.strip().splitlines()[-1].partition(";")[0]


def queue() -> dict[str, Job]:
    """Return the jobs of this user that are not over, by id.

    Raises
    ------
    daskpar.errors.ClusterError
        The controller does not answer, which says nothing about the jobs.
    """
    done = _call(["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%i|%T|%r"])
    if done.returncode != 0:
        raise ClusterError(f"squeue failed: {_words(done)}", "wait until Slurm answers again")
    found = {}
    for line in done.stdout.splitlines():
        job, state, reason = [*line.strip().split("|", 2), "", ""][:3]
        if state not in OVER:
            found[job] = Job(state, reason)
    return found


def scancel(jobs: Iterable[str], options: Sequence[str] = ()) -> None:
    """Cancel jobs, or signal them where the options say so. Jobs that are over are no error.

    Raises
    ------
    daskpar.errors.ClusterError
        With what scancel said.
    """
    wanted = sorted(jobs)
    if not wanted:
        return
    done = _call(["scancel", *options, *wanted])
    if done.returncode != 0 and "Invalid job id" not in done.stderr and "already" not in done.stderr:
        raise ClusterError(f"scancel failed: {_words(done)}", f"cancel the jobs {', '.join(wanted)} yourself")


def cancel_for_good(jobs: Iterable[str], timeout: float = 60.0) -> None:
    """Cancel jobs and wait until the queue no longer shows them.

    Raises
    ------
    daskpar.errors.ClusterError
        Some are still there.
    """
    wanted = set(jobs)
    deadline = time.monotonic() + timeout
    while wanted and (left := wanted & set(queue())):
        scancel(left)
        if time.monotonic() > deadline:
            raise ClusterError(
                f"jobs {', '.join(sorted(left))} are still in the queue", "cancel them with scancel"
            )
        time.sleep(0.5)


def partition_limit(partition: str | None) -> str | None:
    """Return a partition's longest walltime as Slurm writes it; None where it has none or is not known."""
    which = [f"--partition={partition}"] if partition else []
    try:
        done = _call(["sinfo", "--noheader", "--format=%P|%l", *which], patience=LESS_PATIENCE)
    except ClusterError:
        return None
    rows = [line.strip().split("|", 1) for line in done.stdout.splitlines() if "|" in line]
    limits = [limit for name, limit in rows if partition or name.endswith("*")]
    return limits[0] if limits and limits[0] not in ("infinite", "n/a") else None


def seconds_left(job: str) -> float | None:
    """Return how long a job may still run; None where it has no limit or Slurm does not say."""
    try:
        done = _call(["squeue", "--noheader", f"--jobs={job}", "--format=%L"])
    except ClusterError:
        return None
    return parse_duration(done.stdout.strip()) if done.returncode == 0 else None


def parse_duration(text: str) -> float | None:
    """Return the seconds of ``[days-][[hours:]minutes:]seconds``, as squeue writes what is left."""
    days, _, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in parts) or not (days or "0").isdigit():
        return None
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return float(seconds + 86400 * int(days or 0))


def _call(
    command: Sequence[str], text: str = "", patience: float | None = None
) -> subprocess.CompletedProcess[str]:
    patience = PATIENCE if patience is None else patience
    try:
        return subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=patience, check=False,
            env=clean_environment(),
        )  # fmt: skip
    except FileNotFoundError as error:
        raise ClusterError(
            f"there is no command {command[0]} on this host", "submit from a login node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        said = _one_line((error.stderr or b"").decode(errors="replace"))  # bytes, though we asked for text
        raise ClusterError(
            f"{command[0]} did not answer within {patience:.0f} s{': ' if said else ''}{said}",
            "try again when Slurm answers",
        ) from error


def _words(done: subprocess.CompletedProcess[str]) -> str:
    return _one_line(done.stderr) or _one_line(done.stdout) or f"exit code {done.returncode}"


def _one_line(text: str) -> str:
    lines = text.strip().splitlines()
    return " / ".join(line.removeprefix("sbatch: error: ").removeprefix("squeue: error: ") for line in lines)
