"""Image statistics, one block after the other: what every other version is measured against."""

from __future__ import annotations

from daskpar.analyses.image_stats.steps import Problem
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Combine band after band, then look at frame after frame."""
    problem = Problem(job.record, job.options)
    job.clock.phase("compute")
    bands = [problem.combine(rows) for rows in problem.bands]
    groups = [problem.statistics(frames) for frames in problem.groups]
    job.clock.phase("gather")
    return {**problem.images(bands), **problem.rejected(bands), **problem.table(groups)}
