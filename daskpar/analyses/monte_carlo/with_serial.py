"""Monte Carlo, one block of batches after the other: what every other version is measured against."""

from __future__ import annotations

from collections.abc import Sequence

from daskpar.analyses.monte_carlo import rounds, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute the blocks in order."""
    job.clock.phase("compute")
    beginning = rounds.Beginning(job.record, job.options)

    def compute_all(work: tasks.Work, runs: Sequence[Run]) -> list[tasks.Partial]:
        return [tasks.block(work, block, beginning.prepared, beginning.first) for block in runs]

    return rounds.in_rounds(beginning, compute_all, job.clock)
