"""Have a client's workers compute blocks, wave after wave, and hear how each ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from distributed import Client, as_completed
from distributed.scheduler import KilledWorker, NoWorkerError

if TYPE_CHECKING:
    from distributed import Future

    from daskpar.durable_graph import Todo

WAVE = 2048  # blocks that the scheduler holds at a time; it needs some 10 kB for each
MOST_SUSPECTS = 16

Ended = tuple[Any, dict[str, Any] | BaseException]


class Lost(Exception):
    """A block, or the receipt of one, was lost with its cluster."""


def computed(client: Client, todo: Todo) -> Iterator[list[Ended]]:
    """Compute all blocks that are to do; yield lists of (target, receipt or error) as they end.

    The caller tells `todo` what is stored before it asks for more. When a worker dies again and again, all
    blocks that it held are suspects: in the end each is tried alone, so that only the one that kills is lost.
    """
    wave = threads = 0
    suspects: dict[Any, BaseException] = {}
    running = as_completed()
    while len(suspects) <= max(MOST_SUSPECTS, 8 * threads):  # else whatever is computed dies
        if todo.waiting and running.count() <= wave // 2:
            threads = sum(client.nthreads().values())
            wave = max(WAVE, 4 * threads)
            tasks, targets = todo.take(wave - running.count())
            running.update(client.get(tasks, targets, sync=False))
        if running.is_empty():
            break
        ended = _ended(client, running)
        suspects.update((target, end) for target, end in ended if isinstance(end, KilledWorker))
        yield [(target, end) for target, end in ended if not isinstance(end, KilledWorker)]
    if len(suspects) > 1 and running.is_empty():
        yield from _each_alone(client, todo, suspects)
    else:
        yield [*suspects.items()]


def _ended(client: Client, running: as_completed) -> list[Ended]:
    """Return how the next futures ended, and let go of them; wait again for what a dying worker took back."""
    futures = {future.key: future for future in running.next_batch()}
    finished = {key: future for key, future in futures.items() if future.status == "finished"}
    try:
        receipts = client.gather(finished, errors="skip")
    except Exception as error:  # the receipts are lost with scheduler and workers; the records are not
        receipts = dict.fromkeys(finished, Lost(str(error)))
    ended: list[Ended] = [(key, receipt) for key, receipt in receipts.items() if receipt is not None]
    heard = {key for key, _ in ended}
    for key, future in futures.items():
        if key not in heard and future.status in ("error", "cancelled"):
            ended.append((key, _error(future)))
        elif key not in heard:
            running.add(future)
            continue
        future.release()
    return ended


def _error(future: Future) -> BaseException:
    error: BaseException = future.exception() if future.status == "error" else Lost("the scheduler is gone")
    return Lost(str(error)) if isinstance(error, NoWorkerError) else error


def _each_alone(client: Client, todo: Todo, suspects: dict[Any, BaseException]) -> Iterator[list[Ended]]:
    before = client.run_on_scheduler(_allow_failures, 0)
    try:
        for target, error in suspects.items():
            todo.waiting[target] = todo.targets[target]
            running = as_completed(client.get(*todo.take(1), sync=False))
            while not running.is_empty():
                ended = _ended(client, running)
                yield [(name, error if isinstance(end, KilledWorker) else end) for name, end in ended]
    finally:
        client.run_on_scheduler(_allow_failures, before)


def _allow_failures(number: int, dask_scheduler: Any = None) -> int:
    """Set how many workers a block may end before it is given up; return how many it was."""
    before: int = dask_scheduler.allowed_failures
    dask_scheduler.allowed_failures = number
    return before
