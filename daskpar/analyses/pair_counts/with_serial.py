"""Pair counts, one block after the other: what every other version is measured against."""

from __future__ import annotations

from daskpar.analyses.pair_counts.cells_stage import count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem
from daskpar.analyses.pair_counts.steps import find_centres, finished, summed, weigh
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Count the blocks in order."""
    problem = Problem(job.record, job.options)
    job.clock.phase("compute")
    pieces = {
        letter: [problem.read(letter, n) for n in range(problem.number_of_pieces(letter))]
        for letter in problem.samples
    }
    n_patches = problem.n_patches
    centres = (
        find_centres(pieces[problem.base], n_patches, problem.seed, problem.patch_grid) if n_patches else None
    )
    sums = {
        letter: summed([weigh(piece, centres, n_patches) for piece in found])
        for letter, found in pieces.items()
    }
    partials = {}
    for name, question in problem.questions.items():
        first, second = problem.letters(name)
        one, two = pieces[first], pieces[second] if second else []
        plan = make_plan(question, one, two, MOST_BLOCKS)
        where = centres["centres"] if centres else None
        one, two = ([sort_piece(question, plan, piece, where) for piece in sample] for sample in (one, two))
        blocks = range(max(1, len(plan["ranges"])))
        partials[name] = [count_block(question, plan, one, two, k) for k in blocks]
    job.clock.phase("gather")
    counts = {name: finished(parts, problem.questions[name].doubled) for name, parts in partials.items()}
    return problem.result(counts, sums)
