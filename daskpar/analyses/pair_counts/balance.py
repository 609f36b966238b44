"""How the cost of the blocks is balanced, before a run: from the points, or from some of a large catalog."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.cells_stage import (
    Piece,
    Question,
    extent,
    layout_from,
    occupation,
    plan_from,
    sample_step,
    sampled,
)
from daskpar.analyses.pair_counts.kernel.blocks import SECONDS_PER_DISTANCE
from daskpar.analyses.pair_counts.problem import MOST_BLOCKS, Problem

if TYPE_CHECKING:
    from daskpar.analyses.pair_counts import PairCountsOptions, PairRecord

MOST_POINTS = 2_000_000
"""Of a sample that are read."""
WORKERS = (2, 16, 128)


def measured(record: PairRecord, options: PairCountsOptions) -> dict[str, Any]:
    """Return what ``daskpar plan`` shows of each count: its blocks, and how balanced their cost is.

    Exact for samples of up to `MOST_POINTS` points. Of larger ones only so many are read, some of every
    piece, and all numbers are estimates.
    """
    problem = Problem(record, options)
    samples = {letter: _read(problem, letter) for letter in problem.samples}
    found: dict[str, Any] = {}
    seconds = 0.0
    for name, question in problem.questions.items():
        letters = [letter for letter in problem.letters(name) if letter]
        plan = _plan(question, [samples[letter] for letter in letters])
        about = " (estimate)" if any(samples[letter][1] > 1 for letter in letters) else ""
        cost = plan["costs"]
        idle = ", ".join(f"{idle_share(cost, n):.1%} of {n} workers" for n in WORKERS if n < len(cost))
        found[f"{name} blocks"] = (
            f"{len(cost):,}, the dearest {float(plan['imbalance']):.2f} times the mean, "
            f"idle at the end {idle or '0 %'}{about}"
        )
        seconds += float(plan["distances"]) * SECONDS_PER_DISTANCE
    return found | {"core_seconds": seconds}


def idle_share(costs: NDArray[np.float64], workers: int) -> float:
    """Return the share of their time that workers wait for the last of them, blocks being taken in order."""
    free = [0.0] * workers
    for cost in costs.tolist():
        heapq.heapreplace(free, free[0] + cost)
    return 1.0 - float(costs.sum()) / (workers * max(free)) if max(free) > 0 else 0.0


def _read(problem: Problem, letter: str) -> tuple[list[Piece], int]:
    """Return pieces of a sample or shares of them, and how many times as many points these stand for."""
    number = problem.number_of_pieces(letter)
    share = max(1, -(-problem.samples[letter].rows_estimate // MOST_POINTS))
    return [problem.read(letter, n, share) for n in range(number)], share


def _plan(question: Question, samples: Sequence[tuple[list[Piece], int]]) -> dict[str, NDArray[Any]]:
    (one, times), (two, times2) = samples[0], samples[-1]  # the same where a sample is paired with itself
    low, high, sizes = extent([one, two])
    step = sample_step(sizes[1])
    layout = layout_from(question, low, high, sizes, sampled(two, step), step * times2)
    first = occupation(question, layout, one) * times
    second = first if question.auto else occupation(question, layout, two) * times2
    return plan_from(question, layout, first, second, MOST_BLOCKS)
