"""Monte Carlo with `multiprocessing`: a pool of spawned processes, a message a block.

What all blocks share (the prepared data, the bins) goes to a worker once, when it starts. Nodes come back as
they are finished and are merged in the order of their batches, so the bits do not depend on who was faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import get_context
from typing import Any

from daskpar.analyses.monte_carlo import rounds, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.by_hand import Job, Variables, blocks_a_message

PATIENCE = 120.0  # seconds that workers may take to start
_shared: Any = None  # of a worker: the prepared data, and what batch 0 decided


def run(job: Job) -> Variables:
    """Compute the blocks in a pool of processes."""
    job.clock.phase("compute")
    beginning = rounds.Beginning(job.record, job.options)
    job.clock.phase("startup")
    context = get_context("spawn")  # fork copies locks that other threads hold, and then waits for them
    everyone = context.Barrier(job.workers + 1)
    shared = beginning.prepared, beginning.first
    with context.Pool(job.workers, _begin, (everyone, shared)) as pool:
        everyone.wait(PATIENCE)

        def compute_all(work: tasks.Work, runs: Sequence[Run]) -> list[tasks.Partial]:
            jobs = [(number, work, block) for number, block in enumerate(runs)]
            found = dict(pool.imap_unordered(_compute, jobs, blocks_a_message(len(runs), job.workers)))
            job.moved(found)
            return [found[number] for number in range(len(runs))]

        result = rounds.in_rounds(beginning, compute_all, job.clock)
        job.clock.phase("startup")  # its end: the workers are sent home
    return result


def _begin(everyone: Any, shared: Any) -> None:
    global _shared
    _shared = shared
    everyone.wait(PATIENCE)


def _compute(job: tuple[int, tasks.Work, Run]) -> tuple[int, tasks.Partial]:
    number, work, block = job
    return number, tasks.block(work, block, *_shared)
