"""Image statistics in threads of one process: no copies, no pickling, one address space.

The kernels leave the interpreter's lock, and so does reading; what holds it is the little Python in between.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from daskpar.analyses.image_stats.steps import Problem
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute bands and runs of frames in threads."""
    problem = Problem(job.record, job.options)
    with ThreadPoolExecutor(job.workers) as pool:
        job.clock.phase("compute")
        # Both kinds of block are handed out before either is awaited: no thread is idle in between.
        combined = pool.map(problem.combine, problem.bands)
        statistics = pool.map(problem.statistics, problem.groups)
        bands, groups = list(combined), list(statistics)
    job.clock.phase("gather")
    return {**problem.images(bands), **problem.rejected(bands), **problem.table(groups)}
