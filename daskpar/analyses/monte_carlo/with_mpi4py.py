"""Monte Carlo with mpi4py, in two ways.

`run`, static: rank r computes blocks r, r + n, r + 2n, …; nobody gives orders.

`run_pool`, master and workers (`MPICommExecutor`): rank 0 hands out blocks as ranks become free. It pays
where blocks differ in cost, and takes one rank that computes nothing.

Both gather the nodes of all blocks and merge them in the order of their batches. A `Reduce` would add them in
an order that depends on the number of ranks, and floats would differ in their last bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from mpi4py import MPI
from mpi4py.futures import MPICommExecutor

from daskpar.analyses.monte_carlo import rounds, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables | None:
    """Compute every n-th block on each of n ranks; the result is rank 0's."""
    world = MPI.COMM_WORLD
    beginning = _begin(job, world)

    def compute_all(work: tasks.Work, runs: Sequence[Run]) -> list[tasks.Partial]:
        mine = [
            tasks.block(work, block, beginning.prepared, beginning.first)
            for block in runs[world.rank :: world.size]
        ]
        world.barrier()
        job.clock.phase("gather")
        shares: Any = world.allgather(mine)
        job.moved(shares, times=world.size - 1)
        return [shares[number % world.size][number // world.size] for number in range(len(runs))]

    # All ranks gather, not only rank 0: each must know whether the target is reached.
    found = rounds.in_rounds(beginning, compute_all, job.clock)
    return found if world.rank == 0 else None


def run_pool(job: Job) -> Variables | None:
    """Compute blocks on the ranks 1 … n as they become free; rank 0 hands them out."""
    world = MPI.COMM_WORLD
    beginning = _begin(job, world)
    executor: Any = MPICommExecutor(world, root=0)
    with executor as pool:
        if pool is None:
            return None  # a worker: its blocks are done when the block above ends

        def compute_all(work: tasks.Work, runs: Sequence[Run]) -> list[tasks.Partial]:
            compute = partial(_compute, work, beginning.prepared, beginning.first)
            found = list(pool.map(compute, runs))
            job.moved(found)
            return found

        found = rounds.in_rounds(beginning, compute_all, job.clock)
        job.clock.phase("startup")  # its end: the workers are sent home
    return found


def _begin(job: Job, world: Any) -> rounds.Beginning:
    record, options = world.bcast((job.record, job.options))
    world.barrier()
    job.clock.phase("compute")
    beginning = rounds.Beginning(record, options)
    job.clock.phase("startup")
    world.barrier()
    return beginning


def _compute(work: tasks.Work, prepared: Any, first: Any, block: Run) -> tasks.Partial:
    return tasks.block(work, block, prepared, first)
