"""A run as rounds of blocks, for versions that compute the blocks themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from daskpar.analyses.monte_carlo import dataset, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.analyses.monte_carlo.kernel.histogram import BINS
from daskpar.analyses.monte_carlo.kernel.stopping import round_ends
from daskpar.analyses.monte_carlo.plan import Plan, reached
from daskpar.analyses.monte_carlo.planning import plan_from_options
from daskpar.analysis import load_code
from daskpar.by_hand import Clock, Variables
from daskpar.errors import RecipeError

if TYPE_CHECKING:
    from daskpar.analyses.monte_carlo.options import MonteCarloOptions

ComputeAll = Callable[[tasks.Work, Sequence[Run]], list[tasks.Partial]]


class Beginning:
    """What all blocks of a run share.

    Parameters
    ----------
    record : sequence of FileItem
        The table that the trial reads, if it reads any.
    options : MonteCarloOptions

    Attributes
    ----------
    plan : Plan
    work : Work
        Of the longest run that the plan allows.
    prepared : mapping or None
        What the trial prepares once.
    first : mapping
        What batch 0 decides: columns and bins.
    """

    def __init__(self, record: Sequence[Any], options: MonteCarloOptions) -> None:
        self.plan = plan_from_options(record, options, load_code)
        if self.plan.max_time is not None:
            raise RecipeError(
                "a run that stops by the clock has another result each time",
                "leave max_time out to compare versions", key="options.max_time",
            )  # fmt: skip
        if self.plan.how.exact and self.plan.how.quantiles:
            raise RecipeError(
                "exact quantiles draw all samples twice, in stages that only dask has",
                "leave them out to compare versions", key="options.quantiles",
            )  # fmt: skip
        trial = self.plan.sampling.trial
        self.work = tasks.Work(self.plan.sampling, BINS if self.plan.how.quantiles else 0)
        self.prepared = tasks.prepare(self.work) if tasks.prepares(trial) else None
        self.first = tasks.first(self.work, self.prepared)


def in_rounds(beginning: Beginning, compute_all: ComputeAll, clock: Clock | None = None) -> Variables:
    """Compute blocks until there are samples enough, and return the variables of the result.

    Parameters
    ----------
    beginning : Beginning
    compute_all : callable
        ``compute_all(work, runs)`` gives the node of each run of batches, in order: what one version does in
        its way, and another in its.
    clock : Clock, optional
        Is told when blocks are computed, and when their nodes are merged.
    """
    clock = clock or Clock()
    plan = beginning.plan
    nodes: dict[tuple[int, int, int], tasks.Partial] = {}
    most = plan.sampling.n_batches
    for end in round_ends(most) if plan.in_rounds else [most]:
        clock.phase("compute")
        shorter = plan.until(end)
        segments = tasks.segments(shorter.blocks())
        missing = [segment for segment in segments if _name(shorter, segment.run) not in nodes]
        runs = [run for segment in missing for run in segment.blocks]
        found = iter(compute_all(tasks.Work(shorter.sampling, beginning.work.bins), runs))
        clock.phase("gather")
        for segment in missing:
            nodes[_name(shorter, segment.run)] = _merged(
                {block.first: next(found) for block in segment.blocks}, segment.span
            )
        parts = [nodes[_name(shorter, segment.run)] for segment in segments]
        result = dataset.variables([beginning.first, *parts], plan.how)
        if plan.target_error is not None and reached(plan, {name: one for name, (_, one) in result.items()}):
            break
    return result


def _name(plan: Plan, run: Run) -> tuple[int, int, int]:
    sampling = plan.sampling
    size = min(run.count * sampling.batch_size, sampling.n_samples - run.first * sampling.batch_size)
    return run.first, run.count, size


def _merged(nodes: dict[int, tasks.Partial], span: int) -> tasks.Partial:
    while len(nodes) > 1:
        span, groups = tasks.groups(nodes, span)
        nodes = {group[0]: tasks.merged([nodes[first] for first in group]) for group in groups}
    return next(iter(nodes.values()))
