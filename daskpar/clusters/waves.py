"""Have a client's workers compute blocks, wave after wave, and hear how each ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from distributed import Client, Future, as_completed, wait
from distributed.scheduler import KilledWorker, NoWorkerError

try:
    from dask._expr import LLGExpr
except ImportError:  # not public: without it blocks are sent a little slower
    LLGExpr = None

if TYPE_CHECKING:
    from daskpar.clusters.host import Heard
    from daskpar.durable_graph import Todo

WAVE = 2048  # blocks that the scheduler holds at a time; it needs some 10 kB for each
MOST_SUSPECTS = 16
LOOK = 0.1
COLLECT = 0.25  # seconds in which ends of blocks are collected: to answer each by itself costs messages

Ended = tuple[Any, Mapping[str, Any] | BaseException]


class Lost(Exception):
    """A block, or the receipt of one, was lost with its cluster."""


class Deadly(Exception):
    """A block ended every worker that it was given to.

    Attributes
    ----------
    deaths : int
        How many.
    """

    def __init__(self, deaths: int) -> None:
        super().__init__(f"{deaths} workers ended")
        self.deaths = deaths


def computed(client: Client, todo: Todo, heard: Heard) -> Iterator[list[Ended]]:
    """Compute all blocks that are to do; yield lists of (target, receipt or error) as they end.

    The receipt of a block is what was heard of it, or fetched where nothing was. The caller tells `todo` what
    is stored before it asks for more. When a worker dies again and again, all blocks that it held are
    suspects: in the end each is tried alone, so that only the one that kills is lost.
    """
    wave = threads = 0
    suspects: dict[Any, int] = {}  # how many workers ended that held the block
    running = as_completed()
    while len(suspects) <= max(MOST_SUSPECTS, 8 * threads):  # else whatever is computed dies
        if todo.waiting and running.count() <= wave // 2:
            threads = sum(client.nthreads().values())
            wave = max(WAVE, 4 * threads)
            tasks, targets = todo.take(wave - running.count())
            running.update(client.get(_graph(tasks), targets, sync=False))
        if running.is_empty():
            break
        ended, again = _ended(client, _next_batch(running), heard)
        running.update(again)
        deaths = {target: end.allowed_failures + 1 for target, end in ended if isinstance(end, KilledWorker)}
        suspects |= deaths
        yield [(target, end) for target, end in ended if target not in deaths]
    if suspects and running.is_empty():
        yield from _each_alone(client, todo, suspects, heard)
    else:
        yield [(target, Deadly(deaths)) for target, deaths in suspects.items()]


def _graph(tasks: dict[Any, Any]) -> Any:
    """Return tasks as dask sends them, with a name: for one of its own it would look into every task."""
    return tasks if LLGExpr is None else LLGExpr(tasks, _determ_token=uuid4().hex)


def _next_batch(running: as_completed) -> list[Future]:
    """Return futures that have ended: at once where none runs any more, else those of `COLLECT` seconds."""
    batch: list[Future] = running.next_batch()
    until = time.monotonic() + COLLECT
    with running.thread_condition:  # notified when a future has left `futures`
        while running.futures and (left := until - time.monotonic()) > 0:
            running.thread_condition.wait(left)
    return batch + list(running.next_batch(block=False))


def settle(client: Client, seconds: float) -> None:
    """Let the blocks that run now end, and start no other; give up after some seconds.

    A block may begin between the question which run and the word to start no other. It runs on as one that
    nobody waits for any more, and its record is stored all the same: hence the second question.
    """
    end = time.monotonic() + seconds
    running = {key for keys in client.run(_running).values() for key in keys}
    client.cancel([Future(key, client) for key in list(client.futures) if key not in running], force=True)
    left = [Future(key, client) for key in list(client.futures) if key in running]
    with suppress(TimeoutError, CancelledError):
        wait(left, timeout=seconds)
    while time.monotonic() < end and any(client.run(_running).values()):
        time.sleep(LOOK)


def _running(dask_worker: Any) -> list[Any]:
    return [task.key for task in dask_worker.state.all_running_tasks]


def _ended(client: Client, futures: list[Future], heard: Heard) -> tuple[list[Ended], list[Future]]:
    """Return how some futures ended, and let go of these; and those that run again.

    A worker may take a receipt with it before anybody has seen it: the scheduler has the block run again,
    and its future, which had ended, has not.
    """
    told = {future: receipt for future in futures if (receipt := heard.take(future.key)) is not None}
    states = {future: future.status for future in futures if future not in told}
    again = [future for future in states if states[future] in ("lost", "pending")]
    finished = [future for future in states if states[future] == "finished"]
    try:
        values = client.gather(finished) if finished else []
    except NoWorkerError as error:
        values = [Lost(_without_workers(client, error.timeout))] * len(finished)
    except Exception as error:  # the receipts are lost with their workers; the records are not
        values = [Lost(str(error))] * len(finished)
    ended: dict[Any, Any] = {future.key: receipt for future, receipt in told.items()}
    ended |= zip([future.key for future in finished], values, strict=True)
    for future in futures:
        if future in again:
            continue
        if future.key not in ended:
            raised = future.exception() if states[future] == "error" else Lost(states[future])
            if isinstance(raised, NoWorkerError):
                raised = Lost(_without_workers(client, raised.timeout))
            ended[future.key] = raised
        future.release()
    return [*ended.items()], again


def _without_workers(client: Client, seconds: float) -> str:
    """Say why no worker took a block: a paused one takes none until it has moved results to its disk."""
    known = client.scheduler_info(n_workers=-1)["workers"].values()
    if not any(worker["status"] == "paused" for worker in known):
        return f"no worker for {seconds:.0f} s"
    return (
        f"for {seconds:.0f} s the memory of all workers was full and nothing could be moved to their disk; "
        "give them more memory, or a scratch folder with more space"
    )


def _each_alone(client: Client, todo: Todo, suspects: dict[Any, int], heard: Heard) -> Iterator[list[Ended]]:
    before = client.run_on_scheduler(_allow_failures, 0)
    try:
        for target, deaths in suspects.items():
            todo.waiting[target] = todo.targets[target]
            tasks, targets = todo.take(1)
            futures = client.get(_graph(tasks), targets, sync=False)
            while futures:
                wait(futures)
                ended, futures = _ended(client, futures, heard)
                yield [(t, Deadly(deaths + 1) if isinstance(end, KilledWorker) else end) for t, end in ended]
    finally:
        client.run_on_scheduler(_allow_failures, before)


def _allow_failures(number: int, dask_scheduler: Any = None) -> int:
    """Set how many workers a block may end before it is given up; return how many it was."""
    before: int = dask_scheduler.allowed_failures
    dask_scheduler.allowed_failures = number
    return before
