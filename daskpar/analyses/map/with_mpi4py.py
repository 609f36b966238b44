"""One function over many items with mpi4py: every rank takes every n-th block, rank 0 gathers.

Static: no rank waits for orders and none is spent on giving them, but one that meets slow items holds up the
rest. Start it as ``python -m mpi4py``: then an exception on one rank ends them all.
"""

from __future__ import annotations

from typing import Any

from mpi4py import MPI

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables | None:
    """Compute the items on all ranks; the result is rank 0's."""
    world = MPI.COMM_WORLD
    record, options = world.bcast((job.record, job.options))
    function = load_code(options.function)
    world.barrier()

    def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
        mine = [rows.compute(function, options, block) for block in blocks[world.rank :: world.size]]
        world.barrier()
        job.clock.phase("gather")
        shares: Any = world.allgather(mine)
        job.moved(shares, times=world.size - 1)
        return [shares[number % world.size][number // world.size] for number in range(len(blocks))]

    # All ranks gather, not only rank 0: each must know which items failed and are tried again.
    found = rows.in_rounds(record, options, compute_all, job.clock)
    return found if world.rank == 0 else None
