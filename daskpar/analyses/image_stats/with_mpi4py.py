"""Image statistics with mpi4py: each rank has a stretch of rows and one of frames.

`Gatherv` writes the rows of every rank where they belong in the image of rank 0, without pickling. What is
rejected of each frame are integers, which may be added in any order: a `Reduce`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mpi4py import MPI

from daskpar.analyses.image_stats.partition import Span
from daskpar.analyses.image_stats.steps import Problem
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables | None:
    """Compute consecutive blocks on each rank; the result is rank 0's."""
    world = MPI.COMM_WORLD
    record, options = world.bcast((job.record, job.options))
    problem = Problem(record, options)
    world.barrier()
    job.clock.phase("compute")
    bands = [problem.combine(rows) for rows in share(problem.bands, world)]
    groups = [problem.statistics(frames) for frames in share(problem.groups, world)]
    world.barrier()
    job.clock.phase("gather")
    images = gather_images(problem, bands, world, job)
    rejected = sum_rejected(problem, bands, world, job)
    statistics = world.gather(groups)
    if statistics is None:
        return None
    job.moved(statistics[1:])
    return {**images, **rejected, **problem.table([group for some in statistics for group in some])}


def share(blocks: list[Span], world: Any, rank: int | None = None) -> list[Span]:
    """Return the consecutive blocks of a rank."""
    rank = world.rank if rank is None else rank
    return blocks[rank * len(blocks) // world.size : (rank + 1) * len(blocks) // world.size]


def gather_images(problem: Problem, bands: list[Any], world: Any, job: Job) -> Variables:
    """Gather the rows of all ranks; empty on ranks other than 0."""
    height, width = problem.record.shape
    shares = [share(problem.bands, world, rank) for rank in range(world.size)]
    sizes = [sum(stop - start for start, stop in spans) * width for spans in shares]
    found: dict[str, Any] = {}
    for name, dtype in (problem.planes() if problem.bands else {}).items():
        mine = np.concatenate([np.empty((0, width), dtype), *(band[name] for band in bands)])
        image = np.empty((height, width), dtype) if world.rank == 0 else None
        world.Gatherv(mine, None if image is None else [image, sizes])
        if image is not None:
            found[name] = (("y", "x"), image)
            job.moved(image[len(mine) :])
    return found


def sum_rejected(problem: Problem, bands: list[Any], world: Any, job: Job) -> Variables:
    """Add up what all ranks rejected of each frame; on rank 0."""
    found: dict[str, Any] = {}
    for name in ("frame_rejected_low", "frame_rejected_high") if problem.bands else ():
        frames = len(problem.record)
        mine = np.sum([np.zeros(frames, np.int64), *(band[name] for band in bands)], axis=0, dtype=np.int64)
        total = np.empty_like(mine)
        world.Reduce(mine, total, MPI.SUM)
        job.moved(mine, times=world.size - 1)
        found[name] = (("frame",), total)
    return found
