"""Timings as records: made once, appended as JSON lines, never mixed between unlike machines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from daskpar.atomic import output_errors
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
        Of the machine, the packages and the thread variables.
    message : str
        Why there is no result.
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


def counted(timings: Iterable[Timing]) -> list[Timing]:
    """Return the timings that count: without the warm-up, of what was right each time that it ran."""
    known = list(timings)
    wrong = {(one.version, one.workers) for one in known if one.seconds is None or not one.agrees}
    return [one for one in known if not one.warmup and (one.version, one.workers) not in wrong]


def machine() -> dict[str, Any]:
    """Describe where timings are taken; ``fingerprint`` is equal only where they may be compared."""
    known = {key: value for key, value in host().items() if key not in ("name", "cpu_features")}
    found = {**known, "versions": versions(), "threads": thread_environment(1)}
    text = json.dumps(found, sort_keys=True)
    return {**found, "fingerprint": hashlib.sha256(text.encode()).hexdigest()[:16]}


def append(path: Path, timings: Sequence[Timing]) -> None:
    """Append timings to a file of JSON lines."""
    with output_errors(path), open(path, "a") as file:
        file.write("".join(json.dumps(timing.data()) + "\n" for timing in timings))


def read(path: Path) -> list[Timing]:
    """Return the timings in a file.

    Raises
    ------
    daskpar.errors.UsageError
        A line is no timing, or they are from unlike machines.
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
        They are from unlike machines, whose times say nothing about each other.
    """
    found = [timing for part in parts for timing in part]
    prints = sorted({timing.fingerprint for timing in found})
    if len(prints) > 1:
        raise UsageError(
            f"the timings are from unlike machines or packages: {', '.join(prints)}",
            "compare versions on one machine, in one environment",
        )
    return found
