"""Image statistics with numba's `prange`: one compiled loop over all blocks, numba's threads for workers.

The loop is compiled; its body goes back to Python, which reads a block and calls the kernels. These leave
the interpreter's lock, so threads meet in the little Python in between, as in `with_threads`. What `prange`
adds is a compiler that knows how to start threads; what it lacks is a way home for exceptions, and a second
machine.
"""

from __future__ import annotations

from typing import Any

import numba
from numba import njit, objmode, prange

from daskpar.analyses.image_stats.steps import Problem
from daskpar.by_hand import Job, Variables

_problem: Any = None
_found: dict[int, Any] = {}  # by number of the block; an exception where it raised


def run(job: Job) -> Variables:
    """Compute bands, then runs of frames, in one parallel loop."""
    global _problem
    _problem = problem = Problem(job.record, job.options)
    numba.set_num_threads(job.workers)  # no more than NUMBA_NUM_THREADS was when numba was imported
    job.notes["numba_threads"] = numba.get_num_threads()
    numba.set_parallel_chunksize(1)  # whoever is free takes the next block
    compute_blocks(0)  # compiles, and starts the threads
    job.clock.phase("compute")
    bands, blocks = len(problem.bands), len(problem.bands) + len(problem.groups)
    compute_blocks(blocks)
    job.clock.phase("gather")
    parts = [_found.pop(k) for k in range(blocks)]
    for part in parts:
        if isinstance(part, Exception):
            raise part
    combined, groups = parts[:bands], parts[bands:]
    return {**problem.images(combined), **problem.rejected(combined), **problem.table(groups)}


@njit(parallel=True, nogil=True)
def compute_blocks(blocks: int) -> None:
    """Compute all blocks in parallel; if this thread kept the lock, no other would ever get it."""
    for k in prange(blocks):
        with objmode():
            _compute(k)


def _compute(k: int) -> None:
    """Compute a block. An exception may not leave a parallel loop."""
    bands = len(_problem.bands)
    try:
        if k < bands:
            _found[k] = _problem.combine(_problem.bands[k])
        else:
            _found[k] = _problem.statistics(_problem.groups[k - bands])
    except Exception as error:
        _found[k] = error
