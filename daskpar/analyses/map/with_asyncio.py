"""One function over many items under asyncio: one loop, and a thread for each call that blocks.

The loop itself computes nothing: a call that blocks (a file, a server, a sleep) waits in a thread, no more of
them at once than there are workers. For work that keeps the processor busy this is `with_threads` with
more steps.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute the items from one event loop."""
    compute = partial(rows.compute, load_code(job.options.function), job.options)
    with ThreadPoolExecutor(job.workers) as threads:

        async def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
            loop = asyncio.get_running_loop()
            return await asyncio.gather(*(loop.run_in_executor(threads, compute, block) for block in blocks))

        job.clock.phase("compute")
        return rows.in_rounds(job.record, job.options, lambda blocks: asyncio.run(compute_all(blocks)))
