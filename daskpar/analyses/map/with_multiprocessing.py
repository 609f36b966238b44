"""One function over many items with `multiprocessing.Pool.imap_unordered`: how it is mostly done today.

Blocks come back in the order in which they are finished, so a slow one holds up nobody; their numbers put
them in order again. A worker that dies takes its block with it, and the pool waits for ever.
"""

from __future__ import annotations

from multiprocessing import get_context
from typing import Any

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables, blocks_a_message

PATIENCE = 120.0  # seconds that workers may take to start
_work: Any = None  # of a worker: the function and the options


def run(job: Job) -> Variables:
    """Compute the items in a pool of spawned processes."""
    context = get_context("spawn")  # fork copies locks that other threads hold, and then waits for them
    everyone = context.Barrier(job.workers + 1)
    with context.Pool(job.workers, _begin, (everyone, job.options)) as pool:
        everyone.wait(PATIENCE)

        def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
            chunk = blocks_a_message(len(blocks), job.workers)
            found = dict(pool.imap_unordered(_compute, enumerate(blocks), chunk))
            job.moved(found)
            return [found[number] for number in range(len(blocks))]

        result = rows.in_rounds(job.record, job.options, compute_all, job.clock)
        job.clock.phase("startup")  # its end: the workers are sent home
    return result


def _begin(everyone: Any, options: Any) -> None:
    global _work
    _work = load_code(options.function), options
    everyone.wait(PATIENCE)


def _compute(numbered: tuple[int, rows.Block]) -> tuple[int, kernel.Partial]:
    number, block = numbered
    function, options = _work
    return number, rows.compute(function, options, block)
