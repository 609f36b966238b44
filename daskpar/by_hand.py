"""The contract of a version that is written by hand: `multiprocessing`, `mpi4py`, threads… and no dask.

An analysis names such versions in `Analysis.by_hand`, as ``module:function``. The function gets one `Job` and
returns the result:

    def run(job):
        job.clock.phase("read")          # everything from here on is reading
        ...
        job.clock.phase("startup")       # starting the workers
        ...
        job.clock.phase("compute")       # from the first block to the last partial
        ...
        job.clock.phase("gather")        # merging partials, in block order
        return {"mean": ((), mean), "combined": (("y", "x"), image)}

The record and options are those that `Analysis.build` gets, so input, kernel and blocks are the same; the
result has the variables of the dask version's Dataset, so the same `result_hash`. A returned
`xarray.Dataset` will do as well. What is written to disk afterwards is timed by the caller, as ``write``.

A function in a module ``with_mpi4py`` is called on every rank of a real ``mpiexec``; ranks other than 0 have
no record and no options (rank 0 sends them), and return None. A version whose name ends in ``_pool`` gets one
rank more than workers: the one that hands out work.

A leaf: it imports nothing, so that a version's start-up is its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PHASES = ("startup", "read", "compute", "gather", "write")

Variables = Mapping[str, tuple[tuple[str, ...], Any]]
"""A result: dimensions and array of each variable, by name."""


class Clock:
    """Seconds of each phase of one process: at every moment it is in exactly one.

    Parameters
    ----------
    began : float
        When the process was asked for, on `time.monotonic`'s clock, which all processes of a machine share.
    """

    def __init__(self, began: float | None = None) -> None:
        self.began = time.monotonic() if began is None else began
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._now, self._since = "startup", self.began

    def phase(self, name: str) -> None:
        """Begin a phase, or go on with it; the one before ends."""
        now = time.monotonic()
        self.seconds[self._now] += now - self._since
        self.seconds.setdefault(name, 0.0)
        self._now, self._since = name, now

    def stop(self) -> dict[str, float]:
        """End the last phase; return the seconds of all, and their sum as ``total``."""
        self.phase(self._now)
        return {**self.seconds, "total": sum(self.seconds.values())}


@dataclass(frozen=True)
class Job:
    """What a by-hand version is given.

    Attributes
    ----------
    record, options
        As `Analysis.build` gets them; None on ranks other than 0.
    workers : int
        Threads or processes that compute, each with one thread.
    clock : Clock
        To say which phase begins.
    notes : dict
        Whatever a version knows besides: ``bytes_moved``, the bytes that its processes sent each other.
    """

    record: Any
    options: Any
    workers: int = 1
    clock: Clock = field(default_factory=Clock)
    notes: dict[str, Any] = field(default_factory=dict)


def is_mpi(target: str) -> bool:
    """Whether a version runs as ranks of an MPI job."""
    return target.partition(":")[0].rpartition(".")[2] == "with_mpi4py"


def cores_occupied(name: str, target: str, workers: int) -> int:
    """Return how many cores a batch system sets aside: every rank has one, whether it computes or not."""
    return workers + (1 if is_mpi(target) and name.endswith("_pool") else 0)
