"""What a dask worker does for a block that it computes, and how the driver hears of receipts."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from weakref import WeakKeyDictionary

from distributed import Client, get_worker, secede
from distributed.client import ClosedClientError
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.worker import thread_state

from daskpar.block import Host, Receipt, memory_bytes
from daskpar.clusters.full_memory import give_back

TOPIC = "daskpar-receipts"  # of events, and the name of what workers add to the word that a task has ended
SHARE_KEPT = 0.4

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
        C library keeps freed memory, and we keep arrays for the next block: it would wait for ever.
        """
        try:
            manager = get_worker().memory_manager
        except ValueError:
            return
        limit = getattr(manager, "memory_limit", None)
        if limit and memory_bytes() > SHARE_KEPT * limit:
            give_back()

    def tell(self, receipt: Receipt) -> None:
        """Send a receipt with the word that the task has ended.

        To fetch it as the task's result takes five messages more, and a message takes half a millisecond.
        """
        try:
            task = get_worker().state.tasks[thread_state.key]
        except (ValueError, AttributeError, KeyError):
            return
        task.metadata[TOPIC] = pickle.dumps((self.run, task.key, receipt))


class PassReceipts(SchedulerPlugin):  # type: ignore[misc]
    """Passes receipts on to the clients that listen, before these hear that the task has ended."""

    name = TOPIC
    idempotent = True

    def start(self, scheduler: Any) -> None:
        """Keep the scheduler, which has the clients."""
        self.scheduler = scheduler

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Pass on what a worker added when its task came to be in its memory."""
        metadata = kwargs.get("metadata")
        if finish == "memory" and metadata and TOPIC in metadata:
            self.scheduler.log_event(TOPIC, metadata[TOPIC])


class Heard:
    """The receipts that workers told a client of, by the keys of tasks; `PassReceipts` passes them on.

    A worker that dies may not have told; then the receipt is fetched as the result of the task that ends.
    """

    def __init__(self, client: Client, run: str) -> None:
        self._client, self._run = client, run
        self._receipts: dict[Any, Receipt] = {}

    def __enter__(self) -> Heard:
        self._client.subscribe_topic(TOPIC, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ClosedClientError):  # the cluster is gone, and why is on its way
            self._client.unsubscribe_topic(TOPIC)

    def take(self, key: Any) -> Receipt | None:
        """Return the receipt of a task, once."""
        return self._receipts.pop(key, None)

    def _hear(self, event: tuple[float, bytes]) -> None:
        run, key, receipt = pickle.loads(event[1])
        if run == self._run:
            self._receipts[key] = receipt
