"""The contract of a version that is written by hand: `multiprocessing`, `mpi4py`, threads… and no dask.

An analysis names such versions in `Analysis.by_hand`, as ``module:function``. The function gets one `Job` and
returns the result:

    def run(job):
        ...                              # the clock runs: this is "startup", such as starting the workers
        job.clock.phase("compute")       # from the first block to the last partial
        ...
        job.moved(partials)              # what processes handed to each other
        job.clock.phase("gather")        # merging partials, in block order
        ...
        job.clock.phase("startup")       # its end: the workers are sent home
        return {"mean": ((), mean), "combined": (("y", "x"), image)}

The record and options are those that `Analysis.build` gets, so input, kernel and blocks are the same; the
result has the variables of the dask version's Dataset, so the same `result_hash`. A returned
`xarray.Dataset` will do as well. What phases mean says `Clock`.

A function in a module ``with_mpi4py`` is called on every rank of a real ``mpiexec``; ranks other than 0 have
no record and no options (rank 0 sends them), and return None. A version whose name ends in ``_pool`` gets one
rank more than workers: the one that hands out work. A module ``with_prange`` may use as many of numba's
threads as there are workers; everywhere else libraries have one thread.

A leaf: it imports nothing, so that a version's start-up is its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGES = 128  # for each worker, at least: it is late by less than one of them
PHASES = ("startup", "read", "compute", "gather", "write")

Variables = Mapping[str, tuple[tuple[str, ...], Any]]
"""A result: dimensions and array of each variable, by name."""


class Clock:
    """Seconds of each phase of a version: at every moment it is in exactly one.

    ``startup``
        From the start of the first process until all workers are ready; and at the end, from sending them
        home until the last process has ended.
    ``read``
        How long a worker read input, on average. No version marks it, since blocks that read are not told
        from blocks that compute: one probe where input is read (`daskpar.inputs.reading_time`) measures it
        in all processes of all versions, and it is taken out of ``compute``. What a function of the user's
        reads is not seen.
    ``compute``
        From the first block, or what is made of the blocks before it is handed out, to the last partial.
    ``gather``
        From the last partial of a stage to the result that is made of all: partials travel to one process,
        which merges them in block order. Where there are rounds, of each round.
    ``write``
        The result goes to disk, as arrays; the same code for all.

    Read, compute and gather together are the *work*, by which versions are compared.

    Parameters
    ----------
    began : float
        When the process was asked for, on `time.monotonic`'s clock, which all processes of a machine share.
    """

    def __init__(self, began: float | None = None) -> None:
        self.began = time.monotonic() if began is None else began
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self._now, self._since = "startup", self.began

    def phase(self, name: str, since: float | None = None) -> None:
        """Begin a phase, or go on with it; the one before ends. `since` when, if not only now."""
        now = time.monotonic() if since is None else max(since, self._since)
        self.seconds[self._now] += now - self._since
        self.seconds.setdefault(name, 0.0)
        self._now, self._since = name, now

    def take(self, name: str, seconds: float, out_of: str) -> None:
        """Count so many seconds of a phase that has ended, or all there are, as another one's."""
        taken = min(seconds, self.seconds[out_of])
        self.seconds[out_of] -= taken
        self.seconds[name] += taken

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
        Whatever a version knows besides: ``bytes_moved``, see `moved`.
    """

    record: Any
    options: Any
    workers: int = 1
    clock: Clock = field(default_factory=Clock)
    notes: dict[str, Any] = field(default_factory=dict)

    def moved(self, *values: Any, times: int = 1) -> None:
        """Note arrays (points, partials, rows of a result) that a process handed to another one.

        By message or pickle once for each receiver; in shared memory, or on disk, once. What all are told at
        the start and what they agree on (sizes, the plan) is not counted, nor is what threads share.
        """
        self.notes["bytes_moved"] = self.notes.get("bytes_moved", 0) + times * array_bytes(values)


def blocks_a_message(blocks: int, workers: int) -> int:
    """Return how many blocks a pool hands out at a time: several where they are many.

    Yet so few that the worker that ends last works hardly longer than the others.
    """
    return max(1, blocks // (MESSAGES * workers))


def array_bytes(value: Any) -> int:
    """Return the bytes of all arrays in a structure of mappings, lists and tuples."""
    if isinstance(value, Mapping):
        value = value.values()
    elif hasattr(value, "nbytes"):
        return int(value.nbytes)
    elif isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return 0
    return sum(map(array_bytes, value))


def is_mpi(target: str) -> bool:
    """Whether a version runs as ranks of an MPI job."""
    return _module(target) == "with_mpi4py"


def thread_variables(target: str, workers: int) -> dict[str, str]:
    """Return the variables of a version whose workers are the threads of a library, which has one else.

    They have to be there before the library is: numba reads its own once, when it is imported.
    """
    return {"NUMBA_NUM_THREADS": str(workers)} if _module(target) == "with_prange" else {}


def _module(target: str) -> str:
    return target.partition(":")[0].rpartition(".")[2]


def cores_occupied(name: str, target: str, workers: int) -> int:
    """Return how many cores a batch system sets aside: every rank has one, whether it computes or not."""
    return workers + (1 if is_mpi(target) and name.endswith("_pool") else 0)
