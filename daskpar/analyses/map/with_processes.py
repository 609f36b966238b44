"""One function over many items with `ProcessPoolExecutor`: the shortest text for processes.

Every block is pickled to a worker and its rows are pickled back. Unlike `with_multiprocessing`, a worker that
dies is noticed: the pool then raises `BrokenProcessPool`.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables

PATIENCE = 120.0  # seconds that workers may take to start


def run(job: Job) -> Variables:
    """Compute the items in processes."""
    context = get_context("spawn")  # fork copies locks that other threads hold, and then waits for them
    everyone = context.Barrier(job.workers)
    with ProcessPoolExecutor(job.workers, context, _meet, (everyone, job.options.function)) as pool:
        # The pool starts a worker when it is given work, and these wait for each other.
        list(pool.map(_nothing, range(job.workers)))
        compute = partial(_compute, job.options)

        def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
            found = list(pool.map(compute, blocks))
            job.moved(found)
            return found

        result = rows.in_rounds(job.record, job.options, compute_all, job.clock)
        job.clock.phase("startup")  # its end: the workers are sent home
    return result


def _meet(everyone: Any, function: str) -> None:
    load_code(function)
    everyone.wait(PATIENCE)


def _nothing(_: int) -> None:
    """Take a task, so that the pool starts a worker for it."""


def _compute(options: Any, block: rows.Block) -> kernel.Partial:
    return rows.compute(load_code(options.function), options, block)
