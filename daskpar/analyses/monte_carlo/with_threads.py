"""Monte Carlo in threads of one process.

Each batch has a generator of its own, made from the seed and the number of the batch, so threads share no
state. numpy's generators and compiled kernels leave the interpreter's lock; a trial in pure Python does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from daskpar.analyses.monte_carlo import rounds, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute the blocks in threads."""
    job.clock.phase("compute")
    beginning = rounds.Beginning(job.record, job.options)
    job.clock.phase("startup")
    with ThreadPoolExecutor(job.workers) as pool:

        def compute_all(work: tasks.Work, runs: Sequence[Run]) -> list[tasks.Partial]:
            return list(
                pool.map(lambda block: tasks.block(work, block, beginning.prepared, beginning.first), runs)
            )

        return rounds.in_rounds(beginning, compute_all, job.clock)
