"""Monte Carlo as a dask graph of durable blocks, each a run of consecutive batches.

Graph: prepared data (where the trial needs any) -> batch 0 -> blocks -> a node for every segment of blocks
that ends at a power of two of batches -> one node that finishes. Tasks: blocks and about 40 more. Memory a
task: one batch, its temporary arrays, and a histogram of 0.5 MB a column.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from dask.delayed import Delayed

from daskpar.analyses.monte_carlo import dataset, exact_quantiles, tasks
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.analyses.monte_carlo.kernel.histogram import BINS
from daskpar.analyses.monte_carlo.kernel.stopping import round_ends
from daskpar.analyses.monte_carlo.plan import Plan, reached
from daskpar.durable import Stage, code_digest, collect, durable
from daskpar.lazy import xr


def identity(plan: Plan) -> list[Any]:
    """Return what decides the numbers of a batch, besides its number."""
    trial = plan.sampling.trial
    named = getattr(trial, "identity", None)
    code = [code_digest(part) for part in _code_of(trial)]
    kind = type(trial).__qualname__ if named is not None else getattr(trial, "__qualname__", "")
    size = plan.sampling.batch_size
    return [
        kind,
        named,
        code_digest(type(trial)) if named is not None else "",
        code,
        plan.sampling.seed,
        size,
    ]


def _code_of(trial: Any) -> list[Any]:
    """Return the user's functions in a trial."""
    if not hasattr(trial, "identity"):
        return [trial]
    integrand = getattr(trial, "integrand", None)
    return [integrand] if callable(integrand) else []


class Graph:
    """The nodes of a plan, made on demand and kept for longer plans of the same trial.

    Parameters
    ----------
    plan : Plan
        The longest.
    keep : callable
        Applied to every node that later rounds use again; with a run, nothing, since the ledger keeps them.
    """

    def __init__(self, plan: Plan, keep: Callable[[Delayed], Delayed] = lambda node: node) -> None:
        self.identity, self.keep = identity(plan), keep
        self.work = tasks.Work(plan.sampling, BINS if plan.how.quantiles else 0)
        self.kept: dict[tuple[int, int, int], Delayed] = {}
        trial = plan.sampling.trial
        self.prepared = None
        if tasks.prepares(trial):
            self.prepared = keep(self._node(tasks.prepare, key="prepared", label="prepare"))
        first = plan.sampling.size(0)
        self.first = keep(self._node(tasks.first, self.prepared, key=["first", first], label="first batch"))

    def _node(self, function: Callable[..., Any], *args: Any, key: Any, label: str) -> Delayed:
        return durable(function, self.work, *args, key=[self.identity, self.work.bins, key], label=label)

    def result(self, plan: Plan) -> Delayed:
        """Return the node that gives the Dataset of a plan."""
        return collect(dataset.make, [self.first, *self.nodes(plan)], plan.how)

    def nodes(self, plan: Plan) -> list[Delayed]:
        """Return the nodes of the segments of a plan, in order."""
        return [self._segment(plan, segment) for segment in tasks.segments(plan.blocks())]

    def _segment(self, plan: Plan, segment: tasks.Segment) -> Delayed:
        run = segment.run
        size = self._samples(plan, run)
        name = (run.first, run.count, size)
        if name not in self.kept:
            nodes = {block.first: self._block(plan, block) for block in segment.blocks}
            span = segment.span
            while len(nodes) > 1:
                span, groups = tasks.groups(nodes, span)
                last = len(groups) == 1
                nodes = {
                    group[0]: self._merged([nodes[first] for first in group], run, size, last)
                    for group in groups
                }
            self.kept[name] = self.keep(nodes[run.first])
        return self.kept[name]

    def _merged(self, nodes: list[Delayed], run: Run, size: int, last: bool) -> Delayed:
        together = collect(list, nodes)
        if not last:
            return collect(tasks.merged, nodes)
        key = [self.identity, self.work.bins, "merged", run.first, run.count, size]
        return durable(tasks.merged, together, key=key, label=f"merge {_span(run)}")

    def _block(self, plan: Plan, run: Run) -> Delayed:
        size = self._samples(plan, run)
        work = self.light_work(plan)
        key = [self.identity, self.work.bins, plan.sampling.size(0), run.first, run.count, size]
        return durable(tasks.block, work, run, self.prepared, self.first, key=key, label=_span(run))

    def light_work(self, plan: Plan) -> tasks.Work:
        """Return the trial without its data, which come from the prepared node and not with every block."""
        trial = plan.sampling.trial
        light = trial.without_data() if hasattr(trial, "without_data") else trial
        return tasks.Work(replace(plan.sampling, trial=light), self.work.bins)

    def _samples(self, plan: Plan, run: Run) -> int:
        sampling = plan.sampling
        return min(run.count * sampling.batch_size, sampling.n_samples - run.first * sampling.batch_size)


def _span(run: Run) -> str:
    return f"batches {run.first}-{run.first + run.count - 1}"


def stages(plan: Plan, keep: Callable[[Delayed], Delayed] = lambda node: node) -> Generator[Stage, Any, None]:
    """Yield the one stage of a run of fixed size, or a stage a round until target or time is reached.

    For exact quantiles, stages follow that draw the samples once more.
    """
    graph = Graph(plan, keep)
    after = ("exact quantiles",) if plan.how.exact and plan.how.quantiles else ()
    if not plan.in_rounds:
        yield Stage("batches", graph.result(plan), then=after)
        yield from _exact(graph, plan)
        return
    started = time.monotonic()
    for end in round_ends(plan.sampling.n_batches):
        shorter = plan.until(end)
        reason = "n_samples" if end == plan.sampling.n_batches else ""
        then = ("more batches, until the answer is precise enough", "result", *after)
        found: xr.Dataset = yield Stage(f"batches 0-{end - 1}", graph.result(shorter), then=then)
        if plan.target_error is not None and reached(plan, found):
            reason = "target_error"
        elif plan.max_time is not None and time.monotonic() - started >= plan.max_time:
            reason = reason or "max_time"
        if reason:
            how = replace(plan.how, attrs=(*plan.how.attrs, ("stopped_by", reason)))
            yield Stage("result", graph.result(replace(shorter, how=how)))
            yield from _exact(graph, replace(shorter, how=how))
            return


def _exact(graph: Graph, plan: Plan) -> Generator[Stage, Any, None]:
    if plan.how.exact and plan.how.quantiles:
        yield from exact_quantiles.stages(graph, plan)
