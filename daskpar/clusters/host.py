"""What a dask worker does for a block that it computes, and how the driver hears of receipts."""

from __future__ import annotations

import ctypes
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client, get_worker, secede
from distributed.worker import thread_state

from daskpar.block import Host, Receipt, memory_bytes
from daskpar.reused import release

TOPIC = "daskpar-receipts"
SHARE_KEPT = 0.4

libc = ctypes.CDLL(None)
_aside: WeakKeyDictionary[Any, threading.Semaphore] = WeakKeyDictionary()
_aside_lock = threading.Lock()


class WorkerHost(Host):
    """A dask worker, or no host where none runs.

    Parameters
    ----------
    run : str
        Whose receipts these are: other runs may share the scheduler.
    """

    def __init__(self, run: str) -> None:
        self.run = run

    def started_before(self) -> bool:
        """Return whether the scheduler marked the running task, see `MarkSecondStarts`."""
        try:
            task = get_worker().state.tasks.get(thread_state.key)
        except (ValueError, AttributeError):
            return False
        return bool(task is not None and (task.annotations or {}).get("started_before"))

    @contextmanager
    def aside(self, leave: Callable[[], None]) -> Iterator[None]:
        """Have the worker compute its next block in another thread.

        No more threads wait than compute: where the disk is slower than the blocks, it holds them up.
        """
        try:
            worker = get_worker()
        except ValueError:
            yield
            return
        with _aside_lock:
            places = _aside.setdefault(worker, threading.Semaphore(worker.state.nthreads))
        with places:
            leave()
            secede()
            yield

    def stored(self) -> None:
        """Give freed memory back to the system, in a worker that holds much of what it may.

        A worker is judged by what its process holds, and gets no more blocks above a share of its limit. The
        C library keeps freed memory, as `reused` does, so that such a worker would wait for ever.
        """
        try:
            manager = get_worker().memory_manager
        except ValueError:
            return
        limit = getattr(manager, "memory_limit", None)
        if limit and memory_bytes() > SHARE_KEPT * limit:
            release()
            if hasattr(libc, "malloc_trim"):
                libc.malloc_trim(0)

    def tell(self, receipt: Receipt) -> None:
        """Send a receipt along with the word that the task has ended, on the same stream.

        To fetch results takes five messages more, and a message takes some half a millisecond.
        """
        try:
            get_worker().log_event(TOPIC, pickle.dumps((self.run, thread_state.key, receipt)))
        except (ValueError, AttributeError):
            return


class Heard:
    """The receipts that workers told a client of, by the keys of tasks.

    A worker that dies may not have told; then the receipt is fetched as the result of the task that ends.
    """

    def __init__(self, client: Client, run: str) -> None:
        self._client, self._run = client, run
        self._receipts: dict[Any, Receipt] = {}

    def __enter__(self) -> Heard:
        self._client.subscribe_topic(TOPIC, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.unsubscribe_topic(TOPIC)

    def take(self, key: Any) -> Receipt | None:
        """Return the receipt of a task, once."""
        return self._receipts.pop(key, None)

    def _hear(self, event: tuple[float, bytes]) -> None:
        run, key, receipt = pickle.loads(event[1])
        if run == self._run:
            self._receipts[key] = receipt
