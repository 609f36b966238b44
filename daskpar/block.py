"""What a worker does with a block of a run: compute, store, and answer with a receipt.

The partial never travels: it goes to the ledger, and a few hundred bytes go back to the driver.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from daskpar import ledger
from daskpar.durable import Durable
from daskpar.provenance import cpu_kind
from daskpar.stored_value import as_partial, load

PREVIEW_LIMIT = 4096
# To step aside costs messages to the scheduler and a thread, together some 3 ms of a processor.
LONG_BLOCK = 0.01  # seconds
LONG_WAIT = 0.004


class Receipt(Mapping[str, Any]):
    """What a block's task returns: a handle of the stored partial, and what watchers are told.

    No plain dict: dask takes a dict apart entry by entry, to measure its size and to send it, and that costs
    more than a short block.
    """

    __slots__ = ("_facts",)

    def __init__(self, **facts: Any) -> None:
        self._facts = facts

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


class Lanes:
    """Numbers of the blocks that a process computes at a time, the lowest that are free.

    Threads would do, if each block did not get one of its own where it waits for the disk aside.
    """

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._lock = threading.Lock()

    def take(self) -> int:
        """Return the lowest number that is free; it is taken now."""
        with self._lock:
            lane = next(n for n in itertools.count() if n not in self._taken)
            self._taken.add(lane)
        return lane

    def leave(self, lane: int) -> None:
        """Give a number back."""
        with self._lock:
            self._taken.discard(lane)


LANES = Lanes()


class Disk:
    """How long a record of this process takes to reach the disk, from those before; unknown is long."""

    RECENT = 0.25  # weight of the last one

    def __init__(self) -> None:
        self.expected = math.inf

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Take the time of one more."""
        began = time.perf_counter()
        yield
        took = time.perf_counter() - began
        known = took if math.isinf(self.expected) else self.expected
        self.expected = known + self.RECENT * (took - known)


DISK = Disk()


class Host:
    """What a block asks of the process that computes it. This one is no worker, and has nothing to do."""

    def started_before(self) -> bool:
        """Return whether the running task was started before, on a worker that died.

        Then its record may be there already.
        """
        return False

    def aside(self, leave: Callable[[], None]) -> AbstractContextManager[None]:
        """Return a context in which the next block is computed while this one's record reaches the disk.

        Before that begins, ``leave`` is called; or not at all.
        """
        return nullcontext()

    def stored(self) -> None:
        """Hear that a block is stored and its arrays are gone."""

    def tell(self, receipt: Receipt) -> None:
        """Send the driver a receipt, before it asks for the result of the task."""


@dataclass(frozen=True)
class BlockWork:
    """The function of every block's task.

    Attributes
    ----------
    folder : str
        The ledger.
    preview : callable, optional
        The analysis' preview of a partial for watchers.
    per_cpu : bool
        Whether bits depend on the kind of CPU, so that records must carry it.
    host : Host
        Where the task runs.
    """

    folder: str
    preview: Callable[[Any], Any] | None = None
    per_cpu: bool = False
    host: Host = field(default_factory=Host)

    def __call__(self, durable: Durable, *args: Any, **kwargs: Any) -> Receipt:
        """Compute and store one block; return its receipt."""
        facts: dict[str, Any] = {"started": time.time(), "thread": LANES.take()}
        try:
            stored = self._stored(durable, facts, args, kwargs)
        finally:
            _end(facts)
        receipt = Receipt(
            key=durable.key,
            label=durable.label,
            stored=stored,
            bytes=stored.length,
            host=socket.gethostname(),
            pid=os.getpid(),
            **facts,
            **({"cpu": stored.cpu} if self.per_cpu else {}),
        )
        self.host.tell(receipt)
        return receipt

    def _stored(self, durable: Durable, facts: dict[str, Any], args: Any, kwargs: Any) -> ledger.Stored:
        stored = self._found(durable)
        if stored is not None:
            facts |= {"seconds": 0.0, "memory_bytes": memory_bytes(), "preview": self._preview(load(stored))}
            return stored
        return self._computed(durable, facts, args, kwargs)

    def _found(self, durable: Durable) -> ledger.Stored | None:
        """Return the record of a block that was stored by a worker that died before it could say so."""
        if not self.host.started_before():
            return None
        stored = ledger.find(self.folder, durable.key)
        if stored is not None:
            ledger.reach_disk(stored)
        return stored

    def _computed(self, durable: Durable, facts: dict[str, Any], args: Any, kwargs: Any) -> ledger.Stored:
        value = durable(*args, **kwargs)
        facts["seconds"] = time.time() - facts["started"]
        facts |= {"preview": self._preview(value), "memory_bytes": memory_bytes()}
        partial, cpu = as_partial(value, durable.label), cpu_kind() if self.per_cpu else ""
        del value
        stored = ledger.store(self.folder, durable.key, partial, cpu, functools.partial(self._waiting, facts))
        del partial
        self.host.stored()
        return stored

    @contextmanager
    def _waiting(self, facts: dict[str, Any]) -> Iterator[None]:
        """Wait for the disk; aside, where that is worth it."""
        aside = facts["seconds"] >= LONG_BLOCK and DISK.expected >= LONG_WAIT
        with self.host.aside(functools.partial(_end, facts)) if aside else nullcontext(), DISK.timed():
            yield

    def _preview(self, partial: Any) -> Any:
        return limited_preview(self.preview, partial) if self.preview is not None else None


def _end(facts: dict[str, Any]) -> None:
    """Note how long a block has held its place on the worker, and give that back; once."""
    if "total_seconds" not in facts:
        facts["total_seconds"] = time.time() - facts["started"]
        LANES.leave(facts["thread"])


def memory_bytes() -> int:
    """Return the memory that this process holds now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def limited_preview(preview: Callable[[Any], Any], partial: Any) -> Any:
    """Return a preview if it is JSON of at most 4 kB, else None: watchers must never burden or end a run."""
    try:
        value = preview(partial)
        return value if len(json.dumps(value)) <= PREVIEW_LIMIT else None
    except Exception:
        return None
