"""A private Slurm of two nodes on this host, for tests: own munge, own ports, nothing outside loopback.

It needs root, and Debian's packages slurm-wlm and munge. Nothing of it outlives the block that started it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODES = ("n1", "n2")
CPUS = 2

# config_overrides: nodes may claim more processors and memory than there are.
# KillWait and the other short times: tests wait for what they cause.
CONFIGURATION = """\
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
ReturnToService=2
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=1,bf_interval=1
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes={names} Default=YES MaxTime=60 State=UP
PartitionName=urgent Nodes={names} MaxTime=60 State=UP PriorityTier=10
PartitionName=closed Nodes={names} MaxTime=60 State=INACTIVE
"""


@dataclass(frozen=True)
class Slurm:
    """A running private Slurm.

    Attributes
    ----------
    folder : Path
        Its configuration, state and logs.
    environment : dict
        Variables that point Slurm's commands, and what they start, to it.
    daemons : ExitStack
        Ends them.
    """

    folder: Path
    environment: dict[str, str]
    daemons: ExitStack

    def run(self, *command: str, timeout: float = 60, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a command of Slurm's and return its output."""
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=True,
            **options,
        )

    def wake(self, node: str) -> None:
        """Return a node to service that was taken down; it may have come back by itself."""
        command = ["scontrol", "update", f"nodename={node}", "state=resume"]
        subprocess.run(command, env=self.environment, capture_output=True, timeout=60, check=False)

    @contextmanager
    def without_controller(self) -> Iterator[None]:
        """Stop slurmctld while the block runs."""
        controller = psutil.Process(int((self.folder / "slurmctld.pid").read_text()))
        controller.terminate()
        controller.wait(30)
        try:
            yield
        finally:
            again = self.daemons.enter_context(_daemon(self.environment, "slurmctld", "-D"))
            _wait_for_nodes(self, [again])

    def jobs(self) -> list[str]:
        """Return ``id state name`` of each job that is not over, one line each."""
        return self.run("squeue", "--noheader", "--format=%i %T %j").stdout.splitlines()

    def wait_until_empty(self, timeout: float = 60) -> None:
        """Wait until no job is left.

        Raises
        ------
        TimeoutError
            Some still are; they are named.
        """
        deadline = time.monotonic() + timeout
        while jobs := self.jobs():
            if time.monotonic() > deadline:
                raise TimeoutError(f"jobs left: {'; '.join(jobs)}")
            time.sleep(0.2)

    def end_jobs(self) -> None:
        """Kill what jobs run, cancel them, and wait until none is left."""
        if self.jobs():
            self.run("scancel", "--full", "--signal=KILL", "--state=RUNNING", "--user=root")
            self.run("scancel", "--user=root")
            self.wait_until_empty()


def missing() -> str:
    """Say what keeps a private Slurm from starting here, or return an empty string."""
    absent = [program for program in PROGRAMS if find(program) is None]
    if absent:
        return f"Slurm is not installed: no {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "a private Slurm needs root"


def find(program: str) -> str | None:
    """Return where a program is; Debian's daemons lie in sbin, which is not on every path."""
    return shutil.which(program, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))


@contextmanager
def private_slurm(cpus: int = CPUS, memory: int = 4000) -> Iterator[Slurm]:
    """Start munge, a controller and two nodes; end all of it, jobs first.

    Parameters
    ----------
    cpus, memory : int
        Processors and megabytes that each node claims to have.
    """
    # A short path: a socket's name must stay below 108 bytes.
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, ExitStack() as stack:
        folder = Path(name)
        os.chmod(folder, 0o755)
        environment = _environment(folder)
        _configure(folder, cpus, memory)
        stack.enter_context(_munge(folder))
        controller = stack.enter_context(_daemon(environment, "slurmctld", "-D"))
        nodes = [stack.enter_context(_daemon(environment, "slurmd", "-D", "-N", node)) for node in NODES]
        slurm = Slurm(folder, environment, stack)
        _wait_for_nodes(slurm, [controller, *nodes])
        try:
            yield slurm
        finally:
            slurm.end_jobs()


def _environment(folder: Path) -> dict[str, str]:
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "SBATCH", "SRUN"))
    }
    path = os.pathsep.join([inherited.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {**inherited, "PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}


def _configure(folder: Path, cpus: int, memory: int) -> None:
    host = socket.gethostname().partition(".")[0]
    ports = _free_ports(1 + len(NODES))
    lines = [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory={memory}"
        for node, port in zip(NODES, ports[1:], strict=True)
    ]
    for part in ("state", *(f"spool-{node}" for node in NODES)):
        (folder / part).mkdir()
    text = CONFIGURATION.format(
        host=host, folder=folder, controller_port=ports[0], nodes="\n".join(lines), names=",".join(NODES)
    )
    (folder / "slurm.conf").write_text(text)


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _munge(folder: Path) -> Iterator[None]:
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    place = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid",
             "log-file": folder / "munge.log", "seed-file": folder / "munge.seed"}  # fmt: skip
    arguments = [f"--{option}={path}" for option, path in place.items()]
    # --force: the folder lies below /tmp, which everybody may write to.
    with _daemon(dict(os.environ), "munged", "--foreground", "--force", *arguments):
        _wait(lambda: place["socket"].exists(), 10, "munged did not start")
        yield


@contextmanager
def _daemon(
    environment: Mapping[str, str], program: str, *arguments: str
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [find(program) or program, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_nodes(slurm: Slurm, daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    def ready() -> bool:
        ended = [str(daemon.args) for daemon in daemons if daemon.poll() is not None]
        if ended:
            logs = "\n".join(path.read_text()[-2000:] for path in sorted(slurm.folder.glob("slurm*.log")))
            raise RuntimeError(f"ended at once: {'; '.join(ended)}\n{logs}")
        done = subprocess.run(
            ["sinfo", "--noheader", "--partition=main", "--format=%T %D"],
            env=slurm.environment, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout.split() == ["idle", str(len(NODES))]

    _wait(ready, 30, "the nodes did not come up")


def _wait(ready: object, seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.1)
