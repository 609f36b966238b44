"""What a worker does with a block of a run: compute, store, and answer with a receipt.

The partial never travels: it goes to the ledger, and a few hundred bytes go back to the driver.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from daskpar import ledger
from daskpar.durable import Durable
from daskpar.provenance import cpu_kind
from daskpar.stored_value import as_partial, load

PREVIEW_LIMIT = 4096


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


@dataclass(frozen=True)
class BlockWork:
    """The function of every block's task.

    Attributes
    ----------
    folder : str
        The ledger.
    preview : callable, optional
        The analysis' preview of a partial for watchers.
    again : callable, optional
        Whether the running task was started before, on a worker that died. Then its record may be there
        already.
    per_cpu : bool
        Whether bits depend on the kind of CPU, so that records must carry it.
    afterwards : callable, optional
        Called when a block is stored and its arrays are gone.
    """

    folder: str
    preview: Callable[[Any], Any] | None = None
    again: Callable[[], bool] | None = None
    per_cpu: bool = False
    afterwards: Callable[[], None] | None = None

    def __call__(self, durable: Durable, *args: Any, **kwargs: Any) -> Receipt:
        """Compute and store one block; return its receipt."""
        started = time.time()
        stored = ledger.find(self.folder, durable.key) if self.again is not None and self.again() else None
        if stored is not None:
            return self._receipt(durable, stored, started, self._preview(load(stored)))
        value = durable(*args, **kwargs)
        partial = as_partial(value, durable.label)
        computed = time.time()
        stored = ledger.store(self.folder, durable.key, partial, cpu_kind() if self.per_cpu else "")
        preview, held = self._preview(value), memory_bytes()
        del value, partial
        if self.afterwards is not None:
            self.afterwards()
        return self._receipt(durable, stored, started, preview, computed - started, held)

    def _preview(self, partial: Any) -> Any:
        return limited_preview(self.preview, partial) if self.preview is not None else None

    def _receipt(
        self,
        durable: Durable,
        stored: ledger.Stored,
        started: float,
        preview: Any,
        seconds: float = 0.0,
        held: int = 0,
    ) -> Receipt:
        return Receipt(
            key=durable.key,
            label=durable.label,
            stored=stored,
            bytes=stored.length,
            started=started,
            seconds=seconds,
            total_seconds=time.time() - started,
            host=socket.gethostname(),
            pid=os.getpid(),
            thread=threading.get_ident(),
            memory_bytes=held or memory_bytes(),
            preview=preview,
            **({"cpu": stored.cpu} if self.per_cpu else {}),
        )


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
