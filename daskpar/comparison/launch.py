"""One version, once, in a fresh process tree: started, fed, watched, and ended whatever happens."""

from __future__ import annotations

import json
import os
import pickle
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import xarray as xr

from daskpar.by_hand import cores_occupied, is_mpi, thread_variables
from daskpar.clusters.worker_jobs import BATCH_JOBS
from daskpar.comparison.child import DASK_MPI, HEADER, PIECE, TAKEN, WITH_DASK
from daskpar.dataset_store import result_hash
from daskpar.errors import ClusterError
from daskpar.inputs.reading_time import NOTED_IN
from daskpar.launching import WITHOUT_NETWORK
from daskpar.provenance import numba_cache_dir, thread_environment

LOOK_EVERY = 0.1  # seconds between looks at the memory of the tree
MARK = "DASKPAR_COMPARED"  # a variable that all processes of one start inherit, inside a Slurm job


@dataclass(frozen=True)
class Version:
    """A version of an analysis: its name, and ``module:function``."""

    name: str
    target: str

    @property
    def launcher(self) -> str:
        """How it is started: ``dask``, ``mpi`` or ``python``."""
        return "dask" if self.target in WITH_DASK else "mpi" if is_mpi(self.target) else "python"

    def cores(self, workers: int) -> int:
        """Return the cores that a batch system sets aside for so many workers."""
        extra = 2 if self.target == DASK_MPI else 0  # ranks of scheduler and client
        return cores_occupied(self.name, self.target, workers) + extra


@dataclass(frozen=True)
class Measured:
    """What one start of a version gave.

    Attributes
    ----------
    seconds : dict
        Of each phase, and ``total``.
    result : xarray.Dataset
        Mapped from its files.
    result_hash : str
        Of it.
    peak_bytes : int or None
        Where the memory was watched.
    notes : dict
        What the version said of itself.
    """

    seconds: dict[str, float]
    result: xr.Dataset
    result_hash: str
    peak_bytes: int | None = None
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Launcher:
    """How versions are started.

    Attributes
    ----------
    given : mapping
        ``record``, ``options`` and ``setup``: what they compute.
    path : tuple of str
        Folders to import the user's modules from.
    time_limit : float
        Seconds after which a version is ended.
    mpi : tuple of str
        The command that starts ranks, where a profile names it; else that of `mpi_command`.
    """

    given: Mapping[str, Any]
    path: tuple[str, ...] = ()
    time_limit: float = 3600.0
    mpi: tuple[str, ...] = ()

    def measure(self, version: Version, workers: int, folder: Path, *, watch: bool = False) -> Measured:
        """Start a version and return what it measured; its result lies in `folder`.

        Raises
        ------
        daskpar.errors.ClusterError
            It failed or took too long; with the end of what it printed.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        given = dict(self.given) if version.launcher == "dask" else {**self.given, "setup": None}
        sent = pickle.dumps(given)
        command = [*self._prefix(version, workers), "-m", "daskpar.comparison.child", version.target]
        began = time.monotonic()
        command += [str(workers), repr(began), str(folder)]
        mark = f"{MARK}={uuid4().hex}" if "SLURM_JOB_ID" in os.environ else ""
        threads = thread_variables(version.target, workers)
        environment = {**self._environment(), **threads, NOTED_IN: str(folder)}
        environment |= dict([mark.split("=")] if mark else [])
        with _process(command, environment, folder, mark) as process, _memory(process, watch, mark) as peak:
            try:
                feed(process, sent, folder, self.time_limit)
                code = wait(process, self.time_limit)
            except subprocess.TimeoutExpired:
                todo = "give it longer, or less to do"
                raise ClusterError(f"{version.name} took more than {self.time_limit:g} s", todo) from None
            ended = time.monotonic()
        path = folder / "timing.json"
        if code != 0 or not path.is_file():
            text = (folder / "stderr.txt").read_text(errors="replace").strip()[-1500:]
            said = list(dict.fromkeys(line for line in text.splitlines() if line.startswith("error: ")))
            if said:  # by each rank
                raise ClusterError(f"{version.name} does not do this: {' '.join(said)}", "compare without it")
            words = _last_words(text)
            raise ClusterError(f"{version.name} failed with exit code {code}: {words}", "see its log")
        return _measured(json.loads(path.read_text()), ended - began, folder, peak[0] or None)

    def _prefix(self, version: Version, workers: int) -> list[str]:
        if version.launcher != "mpi" and version.target != DASK_MPI:
            return [sys.executable]
        ranks = str(version.cores(workers))
        return [*(self.mpi or mpi_command()), "-n", ranks, sys.executable, "-m", "mpi4py"]

    def _environment(self) -> dict[str, str]:
        before = filter(None, [os.environ.get("PYTHONPATH")])
        alone = not any(name in os.environ for name in BATCH_JOBS) and "DASKPAR_MPIEXEC" not in os.environ
        return {
            **(WITHOUT_NETWORK if alone else {}),
            **os.environ,
            **thread_environment(1),
            "NUMBA_CACHE_DIR": str(numba_cache_dir()),
            "PYTHONPATH": os.pathsep.join([*self.path, *before]),
        }


def _last_words(text: str) -> str:
    """Return the exception at the end of what a process printed, or its last line."""
    raised = re.findall(r"^.*?\b((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b.*)$", text, re.MULTILINE)
    return str((raised or text.splitlines() or ["it said nothing"])[-1])


def wait(process: subprocess.Popen[bytes], time_limit: float) -> int:
    """Wait for a process to end, and know it at once: `Popen.wait` with a limit looks every 50 ms.

    Raises
    ------
    subprocess.TimeoutExpired
        It has not ended.
    """
    if hasattr(os, "pidfd_open") and process.poll() is None:
        ended = os.pidfd_open(process.pid)
        try:
            select.select([ended], [], [], time_limit)
        finally:
            os.close(ended)
        time_limit = 0
    return process.wait(time_limit)


def _measured(found: dict[str, Any], total: float, folder: Path, peak: int | None) -> Measured:
    """Return what was measured; `total` is from outside: processes, and the launcher of ranks, also end."""
    variables = {
        name: (entry["dims"], np.load(folder / entry["file"], mmap_mode="r", allow_pickle=False))
        for name, entry in found.pop("variables").items()
    }
    result, seconds = xr.Dataset(variables), found.pop("seconds")
    seconds["startup"] += total - seconds["total"]
    return Measured({**seconds, "total": total}, result, result_hash(result), peak, found)


def mpi_command() -> list[str]:
    """Return the command that starts MPI ranks: ``DASKPAR_MPIEXEC``, else the environment's ``mpiexec``.

    Raises
    ------
    daskpar.errors.ClusterError
        There is none.
    """
    chosen = shlex.split(os.environ.get("DASKPAR_MPIEXEC", ""))
    if chosen:
        return chosen
    found = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if found is None:
        raise ClusterError(
            "there is no mpiexec",
            "load the site's MPI, install daskpar[mpi] and an MPI, or set DASKPAR_MPIEXEC",
        )
    return [found]


def profile_launcher(profile: Any) -> tuple[str, ...]:
    """Return the command that starts MPI ranks as a profile says, unless ``DASKPAR_MPIEXEC`` does."""
    if profile.kind != "mpi" or os.environ.get("DASKPAR_MPIEXEC"):
        return ()
    beside = shutil.which(profile.launcher, path=Path(sys.executable).parent)
    found = shutil.which(profile.launcher) or beside or profile.launcher
    alone = ["--input=0"] if profile.launcher == "srun" else []  # rank 0 alone is told what to compute
    return (found, *alone, *profile.launcher_options)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the processes of a version do not outlive this one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: Any) -> None:
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], folder: Path, mark: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a session of its own; at the end nothing of its tree is left."""
    with open(folder / "stdout.txt", "wb") as out, open(folder / "stderr.txt", "wb") as err:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": out, "stderr": err}
        try:
            process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        except OSError as error:
            todo = "check DASKPAR_MPIEXEC or the profile's launcher"
            raise ClusterError(f"{command[0]} does not start: {error.strerror}", todo) from error
        try:
            yield process
        finally:
            _end(process, mark)


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    tree = _tree(process.pid) if process.poll() is None else []
    tree += _marked(mark)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself, and all its children with it
    for one in tree:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


def _tree(pid: int) -> list[Any]:
    try:
        whole = psutil.Process(pid)
        return [whole, *whole.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _marked(mark: str) -> list[Any]:
    """Return processes of this host that inherited a variable: what srun starts is nobody's child here."""
    found = []
    for entry in os.scandir("/proc") if mark else ():
        try:
            if entry.name.isdigit() and mark.encode() in Path(entry.path, "environ").read_bytes():
                found.append(psutil.Process(int(entry.name)))
        except (OSError, psutil.NoSuchProcess):
            continue  # not ours, or gone
    return found


def feed(process: subprocess.Popen[bytes], sent: bytes, folder: Path, time_limit: float) -> None:
    """Write the input piece by piece; a version that ended before it was read says why itself.

    MPICH's launcher gives up where it cannot hand standard input on at once, and a pipe holds 64 kB: so each
    piece waits until the one before it was taken.
    """
    pipe: Any = process.stdin
    taken, until = folder / TAKEN, time.monotonic() + time_limit
    taken.write_text("0")
    try:
        pipe.write(len(sent).to_bytes(HEADER, "big"))
        for start in range(0, len(sent), PIECE):
            while int(taken.read_text() or 0) < start and process.poll() is None:
                if time.monotonic() > until:
                    raise subprocess.TimeoutExpired(process.args, time_limit)
                time.sleep(0.002)
            pipe.write(sent[start : start + PIECE])
            pipe.flush()
        pipe.close()
    except BrokenPipeError:
        return


@contextmanager
def _memory(process: subprocess.Popen[bytes], watch: bool, mark: str = "") -> Iterator[list[int]]:
    """Yield a list of one number: the most memory that the tree has had, if it is watched."""
    peak, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            pids = {one.pid for one in [*_tree(process.pid), *_marked(mark)]}
            peak[0] = max(peak[0], sum(map(_proportional_bytes, pids)))

    thread = threading.Thread(target=look, name="daskpar-memory", daemon=True)
    if watch:
        thread.start()
    try:
        yield peak
    finally:
        over.set()
        if watch:
            thread.join()


def _proportional_bytes(pid: int) -> int:
    """Return the memory of a process, a page shared by n processes counted as 1/n."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return sum(int(line.split()[1]) << 10 for line in file if line.startswith("Pss:"))
    except (OSError, ValueError):  # it ended, or there is no such file here
        try:
            return int(psutil.Process(pid).memory_info().rss)
        except psutil.Error:
            return 0
