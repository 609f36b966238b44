"""Batch scripts for Slurm as text, from pure functions: what `plan` prints is what `submit` sends.

Every value in an ``#SBATCH`` line has passed a grammar of `daskpar.profile`; paths and commands go through
`shlex`, and log files are arguments of sbatch, so that no text of a user's becomes a line of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from daskpar.profile import MpiProfile, SlurmProfile

WAITING = """\
{command} &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM
trap 'kill -USR1 $child 2>/dev/null' USR1
wait $child; code=$?
while kill -0 $child 2>/dev/null; do wait $child; code=$?; done  # a signal ends wait, not the driver
exit $code"""


@dataclass(frozen=True)
class Request:
    """What one job asks for.

    Attributes
    ----------
    name : str
        Of the job.
    cores : int
        Threads of each task.
    memory : int or None
        Bytes of each task; None where `memory_per_cpu` is given.
    memory_per_cpu : int or None
        Bytes of each core.
    walltime : str or None
        As Slurm writes it; None: the partition's default.
    partition : str or None
        None: the site's default.
    tasks : int or None
        Tasks of the job, on any number of nodes; None for one task.
    one_node : bool
        Whether all tasks must be on one node.
    """

    name: str
    cores: int
    memory: int | None = None
    memory_per_cpu: int | None = None
    walltime: str | None = None
    partition: str | None = None
    tasks: int | None = None
    one_node: bool = False


def batch_script(
    profile: SlurmProfile | MpiProfile,
    request: Request,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    driver: bool = False,
) -> str:
    """Return the script of a job that runs one command.

    Parameters
    ----------
    profile : SlurmProfile or MpiProfile
        The site.
    request : Request
        What the job asks for.
    command : sequence of str
        The program and its arguments.
    environment : mapping
        Variables to export first.
    driver : bool
        Whether the command is a driver: it hears of SIGTERM, and of SIGUSR1 that a site may send before a
        limit or a shutdown; it may be requeued, and mail is sent about it.
    """
    lines = [f"#SBATCH {line}" for line in [*_request(request), *_site(profile, driver), *_extra(profile)]]
    if driver:
        lines += ["#SBATCH --requeue"]
    else:
        lines += ["#SBATCH --no-requeue"]  # the driver replaces what is lost
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    exports.append(f"export SRUN_CPUS_PER_TASK={request.cores}")  # since Slurm 22.05 srun must be told
    words = shlex.join(command)
    body = WAITING.format(command=words) if driver else f"exec {words}"
    return "\n".join(["#!/bin/bash", *lines, "", *profile.prologue, *exports, "", body, ""])


def clock(seconds: int) -> str:
    """Return seconds as Slurm reads them: days-hours:minutes:seconds."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02}:{minutes:02}:{seconds:02}"


def megabytes(size: int) -> str:
    """Return bytes as Slurm reads memory, rounded up."""
    return f"{-(-size // 2**20)}M"


def _request(request: Request) -> list[str]:
    lines = [f"--job-name={request.name}"]
    if request.tasks is not None:
        lines += [*(["--nodes=1"] if request.one_node else []), f"--ntasks={request.tasks}"]
    else:
        lines += ["--nodes=1", "--ntasks=1"]
    lines.append(f"--cpus-per-task={request.cores}")
    if request.memory_per_cpu is not None:
        lines.append(f"--mem-per-cpu={megabytes(request.memory_per_cpu)}")
    elif request.memory is not None and request.tasks is not None:
        lines.append(f"--mem-per-cpu={megabytes(-(-request.memory // request.cores))}")
    elif request.memory is not None:
        lines.append(f"--mem={megabytes(request.memory)}")
    if request.walltime is not None:
        lines.append(f"--time={request.walltime}")
    if request.partition is not None:
        lines.append(f"--partition={request.partition}")
    return lines


def _site(profile: SlurmProfile | MpiProfile, driver: bool) -> list[str]:
    features = profile.constraint
    named = {
        "account": profile.account,
        "qos": profile.qos,
        "constraint": features if isinstance(features, str) or features is None else "&".join(features),
        "reservation": profile.reservation,
        "exclude": profile.exclude,
        "licenses": profile.licenses,
        "mail-user": profile.mail if driver else None,
    }
    lines = [f"--{name}={value}" for name, value in named.items() if value is not None]
    return [*lines, "--mail-type=END,FAIL"] if driver and profile.mail else lines


def _extra(profile: SlurmProfile | MpiProfile) -> list[str]:
    return list(profile.extra_directives)
