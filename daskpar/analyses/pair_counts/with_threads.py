"""Pair counts in threads of one process: the sorted catalog is there once, and every block reads it.

The kernel leaves the interpreter's lock, so threads do what processes do, without copies and pickling. They
end where the memory of one node does.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from daskpar.analyses.pair_counts.cells_stage import count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem
from daskpar.analyses.pair_counts.steps import find_centres, finished, summed, weigh
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Count the blocks in threads."""
    problem = Problem(job.record, job.options)
    with ThreadPoolExecutor(job.workers) as pool:
        job.clock.phase("compute")
        pieces = {
            letter: list(pool.map(partial(problem.read, letter), range(problem.number_of_pieces(letter))))
            for letter in problem.samples
        }
        n_patches = problem.n_patches
        centres = (
            find_centres(pieces[problem.base], n_patches, problem.seed, problem.patch_grid)
            if n_patches
            else None
        )
        weights = partial(weigh, centres=centres, n_patches=n_patches)
        sums = {letter: summed(list(pool.map(weights, found))) for letter, found in pieces.items()}
        partials = {}
        for name, question in problem.questions.items():
            first, second = problem.letters(name)
            one, two = pieces[first], pieces[second] if second else []
            plan = make_plan(question, one, two, MOST_BLOCKS)
            where = centres["centres"] if centres else None
            by_block = partial(sort_piece, question, plan, centres=where)
            one, two = (list(pool.map(by_block, sample)) for sample in (one, two))
            count = partial(count_block, question, plan, one, two)
            partials[name] = list(pool.map(count, range(max(1, len(plan["ranges"])))))
        job.clock.phase("gather")
        counts = {name: finished(parts, problem.questions[name].doubled) for name, parts in partials.items()}
        return problem.result(counts, sums)
