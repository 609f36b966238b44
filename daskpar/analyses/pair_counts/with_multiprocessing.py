"""Pair counts with `multiprocessing`: the catalog lies in shared memory, once for all workers.

A worker reads a piece of the catalog and leaves it there; another sorts it by block, a third maps what lies
within reach of a block and counts. What is pickled between processes is where arrays are, and the counts.
"""

from __future__ import annotations

import json
from functools import lru_cache
from multiprocessing import get_context
from typing import Any

import numpy as np

from daskpar.analyses.pair_counts.cells_stage import count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem
from daskpar.analyses.pair_counts.shared_arrays import Handle, make_handle, mapped, removed, share
from daskpar.analyses.pair_counts.steps import find_centres, finished, summed, weigh
from daskpar.by_hand import Job, Variables, blocks_a_message

PATIENCE = 120.0  # seconds that workers may take to start
_problem: Any = None  # of a worker


def run(job: Job) -> Variables:
    """Count the blocks in a pool of spawned processes."""
    problem = Problem(job.record, job.options)
    context = get_context("spawn")  # fork copies locks that other threads hold, and then waits for them
    everyone = context.Barrier(job.workers + 1)
    with removed() as handles, context.Pool(job.workers, _begin, (everyone, problem)) as pool:
        everyone.wait(PATIENCE)
        job.clock.phase("compute")
        pieces: dict[str, list[Handle]] = {}
        for letter in problem.samples:
            numbers = range(problem.number_of_pieces(letter))
            pieces[letter] = pool.map(_read, [(letter, number) for number in numbers], 1)
            handles += pieces[letter]
        n_patches = problem.n_patches
        base = [mapped(handle) for handle in pieces[problem.base]]
        centres = find_centres(base, n_patches, problem.seed, problem.patch_grid) if n_patches else None
        sums = {
            letter: summed(pool.map(_weigh, [(handle, centres, n_patches) for handle in found], 1))
            for letter, found in pieces.items()
        }
        partials = {
            name: _counted(problem, name, pieces, centres, pool, handles, job) for name in problem.questions
        }
        job.moved(pieces, partials)
        job.clock.phase("gather")
        counts = {name: finished(parts, problem.questions[name].doubled) for name, parts in partials.items()}
        result = problem.result(counts, sums)
        job.clock.phase("startup")  # its end: the workers are sent home
    return result


def _counted(
    problem: Problem,
    name: str,
    pieces: dict[str, list[Handle]],
    centres: Any,
    pool: Any,
    handles: list[Handle],
    job: Job,
) -> list[Any]:
    """Return the partials of all blocks of one count, in order."""
    question, samples = problem.questions[name], [letter for letter in problem.letters(name) if letter]
    views = [[mapped(handle) for handle in pieces[letter]] for letter in samples]
    plan = share(make_plan(question, views[0], views[1] if len(views) > 1 else [], MOST_BLOCKS))
    handles.append(plan)
    by_block = []
    for letter in samples:
        by_block.append(pool.map(_sort, [(name, plan, handle, centres) for handle in pieces[letter]], 1))
        handles += by_block[-1]
    job.moved(by_block)
    # Where the sorted pieces are is said once, and not to each block anew.
    contents = share({"contents": np.frombuffer(json.dumps(by_block).encode(), np.uint8)})
    handles.append(contents)
    blocks = range(max(1, len(mapped(plan)["ranges"])))
    todo = [(name, plan, contents, k) for k in blocks]
    found = dict(pool.imap_unordered(_count, todo, blocks_a_message(len(todo), job.workers)))
    return [found[k] for k in blocks]


def _begin(everyone: Any, problem: Problem) -> None:
    global _problem
    _problem = problem
    everyone.wait(PATIENCE)


def _read(which: tuple[str, int]) -> Handle:
    return share(_problem.read(*which))


def _weigh(given: tuple[Handle, Any, int]) -> Any:
    handle, centres, n_patches = given
    return weigh(mapped(handle), centres, n_patches)


def _sort(given: tuple[str, Handle, Handle, Any]) -> Handle:
    name, plan, handle, centres = given
    question = _problem.questions[name]
    where = centres["centres"] if centres else None
    sorted_piece = sort_piece(question, mapped(plan), mapped(handle), where)
    sizes = [len(rows) for rows in sorted_piece.values()]
    return share(
        {
            "rows": np.concatenate([np.empty((0, question.columns)), *sorted_piece.values()]),
            "ends": np.cumsum(sizes, dtype=np.int64),
            "blocks": np.array([int(block) for block in sorted_piece], np.int64),
        }
    )


def _count(given: tuple[str, Handle, Handle, int]) -> tuple[int, Any]:
    name, plan, contents, block = given
    one, *two = _sorted_samples(contents)
    found = count_block(_problem.questions[name], mapped(plan), one, two[0] if two else [], block)
    return block, found


@lru_cache(maxsize=4)
def _sorted_samples(contents: Handle) -> list[list[dict[str, Any]]]:
    samples = json.loads(mapped(contents)["contents"].tobytes())
    return [[_by_block(mapped(make_handle(*entry))) for entry in sample] for sample in samples]


def _by_block(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return a sorted piece again as `sort_piece` gave it; its arrays are views of the shared memory."""
    rows, ends = arrays["rows"], arrays["ends"].tolist()
    starts = [0, *ends[:-1]]
    blocks = arrays["blocks"].tolist()
    return {str(k): rows[a:b] for k, a, b in zip(blocks, starts, ends, strict=True)}
