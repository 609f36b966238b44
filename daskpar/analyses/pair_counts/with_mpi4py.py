"""Pair counts with mpi4py by domain decomposition: each rank holds a slab of space, and no rank all of it.

1. Every rank reads its share of the catalog's pieces.
2. All agree on cells and blocks: reductions of the extent, a sample, and the number of points in each cell.
3. Consecutive blocks make slabs of about equal cost; every point goes to the rank of its slab (`Alltoallv`).
4. Neighbours exchange the points within reach of their boundary, by messages that block nobody.
5. Each rank counts the blocks of its slab. A pair across a boundary belongs to the block of its first point,
   and so is counted once.
6. Rank 0 gathers the blocks and adds them up in their order. A `Reduce` would be shorter, and sums of weights
   would depend on the number of ranks in their last bits.

Points keep the order in which they were read, whatever way they take: sums of weights then have the same
bits, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from mpi4py import MPI

from daskpar.analyses.pair_counts import cells_stage as stage
from daskpar.analyses.pair_counts.patches import (
    SAMPLE_PER_PATCH,
    box_centres,
    patch_centres,
    points_in,
    refuse_empty,
)
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem
from daskpar.analyses.pair_counts.steps import finished, summed, weigh
from daskpar.by_hand import Job, Variables

Slab = dict[int, Any]  # rows of points by the number of their block


def run(job: Job) -> Variables | None:
    """Count slab by slab; the result is rank 0's."""
    world = MPI.COMM_WORLD
    record, options = world.bcast((job.record, job.options))
    problem = Problem(record, options)
    world.barrier()
    job.clock.phase("compute")
    pieces = {
        letter: [problem.read(letter, n) for n in share(problem.number_of_pieces(letter), world)]
        for letter in problem.samples
    }
    traffic = [0]
    centres = find_centres(problem, pieces[problem.base], world)
    sums = {letter: sum_weights(found, centres, problem.n_patches, world) for letter, found in pieces.items()}
    mine = {name: count(problem, name, pieces, centres, world, traffic) for name in problem.questions}
    job.notes["bytes_moved"] = world.reduce(traffic[0])
    world.barrier()
    job.clock.phase("gather")
    everyones = world.gather(mine)
    if everyones is None:
        return None
    job.moved(everyones[1:])
    partials = {name: [part for some in everyones for part in some[name]] for name in mine}
    counts = {name: finished(parts, problem.questions[name].doubled) for name, parts in partials.items()}
    return problem.result(counts, sums)


def share(number: int, world: Any, rank: int | None = None) -> range:
    """Return the consecutive items, of so many, that belong to a rank."""
    rank = world.rank if rank is None else rank
    return range(rank * number // world.size, (rank + 1) * number // world.size)


def in_order(parts: Any, world: Any) -> list[Any]:
    """Gather lists of what consecutive shares made into one list, on every rank."""
    return [part for some in world.allgather(parts) for part in some]


def find_centres(problem: Problem, pieces: Sequence[Any], world: Any) -> Any:
    """Find the centres of the patches from a sample of all points."""
    if not problem.n_patches:
        return None
    if problem.patch_grid is not None:
        return grid_of(pieces, problem.patch_grid, world)
    points = world.allreduce(sum(len(piece["positions"]) for piece in pieces))
    step = max(1, points // (4 * SAMPLE_PER_PATCH * problem.n_patches))
    some = np.concatenate(in_order([stage.sampled([piece], step) for piece in pieces], world))
    return world.bcast(patch_centres(some, problem.n_patches, problem.seed) if world.rank == 0 else None)


def grid_of(pieces: Sequence[Any], grid: Any, world: Any) -> Any:
    """Find the centres of the boxes of a grid over all points; a box without any is refused by all ranks."""
    low, high, _ = stage.extent([pieces])
    for array, operation in ((low, MPI.MIN), (high, MPI.MAX)):
        world.Allreduce(MPI.IN_PLACE, array, operation)
    boxes = box_centres(low, high, grid)
    found = points_in((piece["positions"] for piece in pieces), boxes)
    world.Allreduce(MPI.IN_PLACE, found)
    refuse_empty(found)
    return boxes


def sum_weights(pieces: Sequence[Any], centres: Any, n_patches: int, world: Any) -> Any:
    """Sum the weights of each patch, piece after piece."""
    where = None if centres is None else {"centres": centres}
    return summed(in_order([weigh(piece, where, n_patches) for piece in pieces], world))


def make_plan(question: Any, one: Sequence[Any], two: Sequence[Any], world: Any) -> Any:
    """Agree on cells and blocks; every rank has the same plan, and nobody has seen all points."""
    low, high, sizes = stage.extent([one, two])
    for array, operation in ((low, MPI.MIN), (high, MPI.MAX)):
        world.Allreduce(MPI.IN_PLACE, array, operation)
    sizes = [world.allreduce(size) for size in sizes]
    counted = one if question.auto else two
    step = stage.sample_step(sizes[0 if question.auto else 1])
    some = np.concatenate(in_order([stage.sampled(counted, step)], world))
    layout = stage.layout_from(question, low, high, sizes, some, step)
    first = stage.occupation(question, layout, one)
    world.Allreduce(MPI.IN_PLACE, first)
    second = first if question.auto else stage.occupation(question, layout, two)
    if not question.auto:
        world.Allreduce(MPI.IN_PLACE, second)
    return stage.plan_from(question, layout, first, second, MOST_BLOCKS)


def count(
    problem: Problem, name: str, pieces: Mapping[str, Any], centres: Any, world: Any, traffic: list[int]
) -> list[Any]:
    """Return the partials of the own blocks of one count, in order."""
    question, (first, second) = problem.questions[name], problem.letters(name)
    one, two = pieces[first], pieces[second] if second else []
    plan = make_plan(question, one, two, world)
    number = max(1, len(plan["ranges"]))
    mine = share(number, world)
    own = to_slabs(question, plan, one, centres, world, traffic)
    others = own if second is None else to_slabs(question, plan, two, centres, world, traffic)
    within_reach = with_boundaries(question, plan, others, world, traffic)
    slabs = [named(within_reach if second is None else own)], [named(within_reach)] if second else []
    return [stage.count_block(question, plan, *slabs, block) for block in mine]


def named(slab: Slab) -> dict[str, Any]:
    """Return a slab as the kernel's stage wants a sorted piece."""
    return {str(block): rows for block, rows in slab.items()}


def to_slabs(
    question: Any, plan: Any, pieces: Sequence[Any], centres: Any, world: Any, traffic: list[int]
) -> Slab:
    """Send every point to the rank in whose slab it lies; return the points of the own slab."""
    number, columns = len(plan["ranges"]), question.columns
    by_block = [stage.sort_piece(question, plan, piece, centres) for piece in pieces]
    rows = [joined((p[str(k)] for p in by_block if str(k) in p), columns) for k in range(number)]
    sizes = np.array([len(some) for some in rows], np.int64)
    everyones = np.array(world.allgather(sizes)).reshape(world.size, number)
    to = [int(sizes[list(share(number, world, rank))].sum()) * columns for rank in range(world.size)]
    mine = list(share(number, world))
    come = (everyones[:, mine].sum(axis=1) * columns).tolist()
    received = np.empty(sum(come))
    world.Alltoallv([joined(rows, columns), to], [received, come])
    traffic[0] += 8 * (sum(to) - to[world.rank])
    # What comes from a rank is ordered by block; ranks are in the order of the pieces they have read.
    slab: dict[int, list[Any]] = {block: [] for block in mine}
    start, table = 0, received.reshape(-1, columns)
    for rank in range(world.size):
        for block in mine:
            slab[block].append(table[start : start + everyones[rank, block]])
            start += int(everyones[rank, block])
    return {block: joined(parts, columns) for block, parts in slab.items()}


def joined(parts: Iterable[Any], columns: int) -> Any:
    """Return rows one after the other."""
    return np.ascontiguousarray(np.concatenate([np.empty((0, columns)), *parts]))


def with_boundaries(question: Any, plan: Any, slab: Slab, world: Any, traffic: list[int]) -> Slab:
    """Return the slab and all blocks of others that lie within reach of it."""
    number = len(plan["ranges"])
    if number == 0:
        return slab
    owner = {block: rank for rank in range(world.size) for block in share(number, world, rank)}
    near = {k for block in share(number, world) for k in stage.needed_blocks(question, plan, block)}
    needed = world.allgather(sorted(near))
    sizes = dict(in_order([(block, len(rows)) for block, rows in slab.items()], world))
    return exchange(slab, needed, owner, sizes, question.columns, world, traffic)


def exchange(
    slab: Slab, needed: list[list[int]], owner: Mapping[int, int], sizes: Mapping[int, int], columns: int,
    world: Any, traffic: list[int],
) -> Slab:  # fmt: skip
    """Exchange boundary points with all ranks that need some or have some: one message each way.

    Nobody waits for an answer: receives are posted first, then sends, then all are awaited together.
    """
    requests, arriving, sent = [], {}, []
    for other in (rank for rank in range(world.size) if rank != world.rank):
        theirs = [block for block in needed[world.rank] if owner[block] == other]
        if any(sizes[block] for block in theirs):
            buffer = np.empty((sum(sizes[block] for block in theirs), columns))
            arriving[other] = theirs, buffer
            requests.append(world.Irecv(buffer, other))
    for other in (rank for rank in range(world.size) if rank != world.rank):
        wanted = [block for block in needed[other] if owner[block] == world.rank]
        if any(sizes[block] for block in wanted):
            sent.append(joined((slab[block] for block in wanted), columns))  # kept until it is sent
            requests.append(world.Isend(sent[-1], other))
    MPI.Request.Waitall(requests)
    traffic[0] += sum(message.nbytes for message in sent)
    found = dict(slab)
    for theirs, buffer in arriving.values():
        ends = np.cumsum([sizes[block] for block in theirs]).tolist()
        for block, start, end in zip(theirs, [0, *ends[:-1]], ends, strict=True):
            found[block] = buffer[start:end]
    return found
