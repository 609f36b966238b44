"""Timings as records: made once, appended as JSON lines, never mixed between unlike machines or problems."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskpar.atomic import output_errors
from daskpar.comparison.child import library_name
from daskpar.errors import UsageError
from daskpar.provenance import host, thread_environment, versions


@dataclass(frozen=True)
class Timing:
    """One measurement of one version.

    Attributes
    ----------
    version : str
        Its name.
    workers, cores_occupied : int
        Processes or threads that compute; cores that a batch system sets aside for them.
    repeat : int
        Number of the round, from 1; 0 is the warm-up.
    seconds : dict or None
        Of each phase, and ``total``; None where the result is wrong or the version failed.
    peak_bytes : int or None
        Largest memory of the whole process tree (shared pages counted once), from the warm-up: looking at it
        takes time.
    bytes_moved : int or None
        What the processes sent each other, where the version knows.
    cpu_seconds : float or None
        Of the main process and its children, where they are children.
    result_hash : str
        Of the result; empty where there is none.
    agrees : bool
        Whether the result is that of the reference.
    fingerprint : str
        Of the machine, the packages, MPI, this package's code and the thread variables.
    message : str
        Why there is no result.
    problem : str
        Digest of what was computed: recipe, input, and code of the user's.
    """

    version: str
    workers: int
    cores_occupied: int
    repeat: int
    seconds: dict[str, float] | None
    peak_bytes: int | None = None
    bytes_moved: int | None = None
    cpu_seconds: float | None = None
    result_hash: str = ""
    agrees: bool = True
    fingerprint: str = ""
    message: str = ""
    problem: str = ""

    @property
    def warmup(self) -> bool:
        """Whether this is the round before those that count."""
        return self.repeat == 0

    @property
    def work(self) -> float:
        """Seconds from the first block to the last partial merged, reading included: what is compared."""
        known = self.seconds or {}
        return sum(known.get(phase, 0.0) for phase in ("read", "compute", "gather"))

    def data(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return {**asdict(self), "warmup": self.warmup}


def wrong(timings: Iterable[Timing]) -> set[tuple[str, int]]:
    """Return the versions, with numbers of workers, that were wrong or failed at least once: no times."""
    return {(one.version, one.workers) for one in timings if one.seconds is None or not one.agrees}


def counted(timings: Iterable[Timing]) -> list[Timing]:
    """Return the timings that count: without the warm-up, of what was right each time that it ran."""
    known = list(timings)
    bad = wrong(known)
    return [one for one in known if not one.warmup and (one.version, one.workers) not in bad]


def machine() -> dict[str, Any]:
    """Describe where timings are taken; ``fingerprint`` is equal only where they may be compared."""
    from daskpar.compiled import sources_digest  # here: it brings the compiler

    known = {key: value for key, value in host().items() if key not in ("name", "cpu_features")}
    found = {
        **known,
        "versions": {**versions(), "mpi4py": _mpi4py()},
        "mpi": mpi_library() if _mpi4py() else "",
        "code": sources_digest(Path(__file__).parents[1])[:16],
        "threads": thread_environment(1),
    }
    text = json.dumps(found, sort_keys=True)
    return {**found, "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16]}


def _mpi4py() -> str:
    try:
        return importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        return ""


@functools.cache
def mpi_library() -> str:
    """Return name and version of the MPI that ranks will use, empty where there is none.

    A process of its own is asked: to load MPI here would change what is started from here.
    """
    code = "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; "
    command = [sys.executable, "-c", code + "print(MPI.Get_library_version())"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return ""
    return library_name(done.stdout)


def append(path: Path, timings: Sequence[Timing]) -> None:
    """Append timings to a file of JSON lines."""
    with output_errors(path), open(path, "a") as file:
        file.write("".join(json.dumps(timing.data()) + "\n" for timing in timings))


def read(path: Path) -> list[Timing]:
    """Return the timings in a file.

    Raises
    ------
    daskpar.errors.UsageError
        A line is no timing, or they are from unlike machines or of unlike problems.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            fields = json.loads(line)
            fields.pop("warmup")
            found.append(Timing(**fields))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"is no timing: {error}", "remove the line", path=path, place=f"{number}:1"
            ) from None
    return together(found)


def together(*parts: Iterable[Timing]) -> list[Timing]:
    """Return timings of several files as one list.

    Raises
    ------
    daskpar.errors.UsageError
        They are from unlike machines, or of unlike problems: such times say nothing about each other.
    """
    found = [timing for part in parts for timing in part]
    prints = sorted({timing.fingerprint for timing in found})
    if len(prints) > 1:
        raise UsageError(
            f"the timings are from unlike machines, packages or code: {', '.join(prints)}",
            "compare versions on one machine, in one environment",
        )
    problems = sorted({timing.problem for timing in found})
    if len(problems) > 1:
        raise UsageError(
            f"the timings are of unlike recipes or inputs: {', '.join(problems)}",
            "compare versions on one recipe, with one input",
        )
    return found
