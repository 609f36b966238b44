"""Image statistics with `multiprocessing`: workers write their rows into shared memory.

An image of 64 megapixels as a pickle would be copied four times on its way home. Here every plane of the
result is a segment of shared memory, and a band is written where it belongs.
"""

from __future__ import annotations

from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

from daskpar.analyses.image_stats.partition import Span
from daskpar.analyses.image_stats.steps import Problem
from daskpar.by_hand import Job, Variables, blocks_a_message

PATIENCE = 120.0  # seconds that workers may take to start
_problem: Any = None  # of a worker
_planes: dict[str, Any] = {}
_segments: list[SharedMemory] = []  # held: arrays on a segment that nobody holds are unmapped


def run(job: Job) -> Variables:
    """Compute bands and runs of frames in a pool of spawned processes."""
    problem = Problem(job.record, job.options)
    shape = problem.record.shape
    context = get_context("spawn")  # fork copies locks that other threads hold, and then waits for them
    everyone = context.Barrier(job.workers + 1)
    planes = {
        name: (SharedMemory(create=True, size=max(1, dtype.itemsize * shape[0] * shape[1])), dtype)
        for name, dtype in (problem.planes() if problem.bands else {}).items()
    }
    names = {name: (memory.name, dtype) for name, (memory, dtype) in planes.items()}
    try:
        with context.Pool(job.workers, _begin, (everyone, problem, names)) as pool:
            everyone.wait(PATIENCE)
            job.clock.phase("compute")
            # Both kinds of block are handed out before either is awaited: no worker is idle in between.
            chunk = blocks_a_message(len(problem.bands) + len(problem.groups), job.workers)
            combined = pool.imap_unordered(_combine, problem.bands, chunk)
            statistics = pool.imap(_statistics, problem.groups, chunk)
            rejected, groups = list(combined), list(statistics)
            job.moved(rejected, groups, [memory.buf for memory, _ in planes.values()])
            job.clock.phase("gather")
            images: Variables = {
                name: (("y", "x"), np.ndarray(shape, dtype, memory.buf).copy())
                for name, (memory, dtype) in planes.items()
            }
            found = {**images, **problem.rejected(rejected), **problem.table(groups)}
            job.clock.phase("startup")  # its end: the workers are sent home
        return found
    finally:
        for memory, _ in planes.values():
            memory.close()
            memory.unlink()


def _begin(everyone: Any, problem: Problem, names: dict[str, tuple[str, Any]]) -> None:
    global _problem
    _problem = problem
    for plane, (segment, dtype) in names.items():
        _segments.append(SharedMemory(name=segment))
        _planes[plane] = np.ndarray(problem.record.shape, dtype, _segments[-1].buf)
    everyone.wait(PATIENCE)


def _combine(rows: Span) -> dict[str, Any]:
    """Combine a band into shared memory; what is rejected of each frame is all that travels."""
    found = _problem.combine(rows)
    for name, plane in _planes.items():
        plane[slice(*rows)] = found.pop(name)
    return dict(found)


def _statistics(frames: Span) -> Any:
    return _problem.statistics(frames)
