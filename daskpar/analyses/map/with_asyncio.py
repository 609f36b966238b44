"""One function over many items under asyncio: one loop waits for all of them at once.

A coroutine function (``async def``) is awaited in the loop: while it waits for a server, others go on, in one
thread and on one core. `AT_ONCE` blocks are under way at a time, whatever the number of workers, since what
waits needs none; that is what a server or the limit of open files bears, not what a machine computes.

Any other function would hold the loop up, and is called in a thread, no more of them at once than there are
workers. For work that keeps the processor busy this is `with_threads` with more steps.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables

AT_ONCE = 100  # blocks that wait at a time


def run(job: Job) -> Variables:
    """Compute the items from one event loop."""
    function = load_code(job.options.function)
    with ThreadPoolExecutor(job.workers) as threads:

        async def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
            if inspect.iscoroutinefunction(function):
                free = asyncio.Semaphore(AT_ONCE)

                async def compute(block: rows.Block) -> kernel.Partial:
                    async with free:
                        return await rows.awaited(function, job.options, block)

                return await asyncio.gather(*map(compute, blocks))
            loop = asyncio.get_running_loop()
            call = partial(rows.compute, function, job.options)
            return await asyncio.gather(*(loop.run_in_executor(threads, call, block) for block in blocks))

        return rows.in_rounds(
            job.record, job.options, lambda blocks: asyncio.run(compute_all(blocks)), job.clock
        )
