"""Try a profile for real: its workers come over TLS, and see the files and versions that they need."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from daskpar.clusters import slurm_commands
from daskpar.clusters.interfaces import chosen_interface, interfaces
from daskpar.errors import DaskparError
from daskpar.finding import Finding
from daskpar.provenance import THREAD_VARIABLES
from daskpar.rundir import runs_folder

if TYPE_CHECKING:
    from daskpar.profile import Profile

TRIAL_WALLTIME = 300  # seconds of the job that is tried


def try_profile(profile: Profile) -> Iterator[Finding]:
    """Yield what was found about the network, the queue and the workers of a profile."""
    if profile.kind != "local":
        yield from _network(profile)
    if profile.kind == "mpi":
        yield from _mpi(profile)
        return
    if profile.kind == "slurm":
        yield from _queue(profile)
        driver = profile.driver.model_copy(update={"mode": "here"})
        profile = profile.model_copy(
            update={
                "workers": profile.processes,
                "minimum_workers": 1,
                "maximum_workers": None,
                "walltime": min(profile.walltime, TRIAL_WALLTIME),
                "driver": driver,
            }
        )
    start = time.perf_counter()
    try:
        yield from _workers(profile, start)
    except (DaskparError, OSError) as error:
        yield Finding(
            "fault", f"the workers did not come: {error}", "see the troubleshooting table in the README"
        )


def _network(profile: Any) -> Iterator[Finding]:
    named = ", ".join(f"{name}{' (loopback)' if loopback else ''}" for name, loopback in interfaces().items())
    yield Finding("good", f"interfaces that are up here: {named}")
    try:
        chosen = chosen_interface(getattr(profile, "interface", None))
        yield Finding("good", f"the cluster listens on {chosen}")
    except DaskparError as error:
        yield Finding("fault", str(error))


def _queue(profile: Any) -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        yield Finding("fault", "sbatch is not on the path", "run this on a login node of the cluster")
        return
    limit = slurm_commands.partition_limit(profile.partition)
    name = profile.partition or "the default partition"
    yield Finding("good", f"{name}: jobs may take {limit or 'any time'}")


def _workers(profile: Profile, start: float) -> Iterator[Finding]:
    from daskpar.clusters import open_client

    folder = runs_folder()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    with open_client(profile) as client, tempfile.NamedTemporaryFile(dir=there, prefix=".daskpar-") as token:
        looked = client.submit(_look_around, token.name, list(THREAD_VARIABLES), pure=False)
        seen = looked.result(timeout=120)
        seconds = time.perf_counter() - start
        count = len(client.scheduler_info()["workers"])
        yield Finding("good", f"{count} workers on {seen['host']} computed after {seconds:.1f} s")
        encrypted = client.scheduler.address.startswith(("tls://", "inproc://"))
        link = client.dashboard_link
        yield Finding(
            "good" if encrypted else "fault", f"scheduler at {client.scheduler.address}, dashboard {link}"
        )
        if link and profile.kind != "local":
            yield Finding("good", f"to see it from your machine: {ssh_line(link)}")
        if not seen["shared"]:
            yield Finding("fault", f"workers do not see {there}", "put the runs on a shared disk with --runs")
        loose = [name for name, value in seen["threads"].items() if value != "1"]
        if loose:
            yield Finding("note", f"workers are not limited in {', '.join(loose)}")
        else:
            yield Finding("good", "workers use one thread for each library")


def _look_around(token: str, variables: list[str]) -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "shared": os.path.exists(token),
        "threads": {name: os.environ.get(name) for name in variables},
    }


def _mpi(profile: Any) -> Iterator[Finding]:
    if profile.batch == "slurm":
        yield from _queue(profile)
    launcher = shutil.which(profile.launcher) or shutil.which(
        profile.launcher, path=os.path.dirname(sys.executable)
    )
    if launcher is None:
        yield Finding("fault", f"{profile.launcher} is not on the path", "load the site's MPI in your shell")
        return
    if profile.launcher == "srun" and "SLURM_JOB_ID" not in os.environ:
        yield Finding("note", "srun is tried inside a job only", "submit a small recipe")
        return
    code = "from mpi4py.MPI import COMM_WORLD as w, Get_library_version as v\nn = w.allreduce(1)\n"
    code += "if w.rank == 0: print(n, v().split(',')[0].split()[0:3])"
    command = [launcher, "-n", "3", *profile.launcher_options, sys.executable, "-m", "mpi4py", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == 0 and done.stdout.startswith("3"):
        yield Finding("good", f"{profile.launcher} starts 3 ranks that know each other")
    else:
        words = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        yield Finding(
            "fault",
            f"{profile.launcher} does not start ranks: {words[0]}",
            "install mpi4py against the site's MPI; as root or with few cores see launcher_options",
        )


def ssh_line(link: str, host: str | None = None) -> str:
    """Return the command that makes a page on another host's loopback open on one's own machine."""
    port = link.rpartition(":")[2].partition("/")[0]
    return f"ssh -N -L {port}:127.0.0.1:{port} {host or socket.getfqdn()}"


def starting_profile() -> str:
    """Return a profile to start from, as YAML, with what was found on this host."""
    outside = [name for name, loopback in interfaces().items() if not loopback]
    lines = ["kind: slurm" if shutil.which("sbatch") else "kind: local"]
    if lines == ["kind: local"]:
        return "kind: local\nworkers: 2\nmemory: auto\n"
    done = subprocess.run(
        ["sinfo", "--noheader", "--format=%P|%c|%m|%l"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()] or [["", "1", "2000", ""]]
    name, cores, memory, _ = next((row for row in rows if row[0].endswith("*")), rows[0])
    count = int("".join(filter(str.isdigit, cores)) or 1)
    share = int("".join(filter(str.isdigit, memory)) or 2000) * 8 // 10
    lines += ["workers: 4", f"cores: {count}", f"memory: {share} MiB", 'walltime: "01:00:00"']
    lines += [f"partition: {name.rstrip('*')}"] if name else []
    lines += (
        [f"interface: {outside[0]}" + (f"   # or {', '.join(outside[1:])}" if outside[1:] else "")]
        if outside
        else []
    )
    return "\n".join([*lines, "driver:", "  mode: job   # allocation where compute nodes may not submit", ""])
