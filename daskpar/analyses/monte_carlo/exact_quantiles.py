"""`quantiles: exact`: after the samples are counted, their streams are drawn again in stages of their own.

Graph: the nodes of the first drawing -> brackets of the wanted ranks -> a block for each block of the first
drawing, which keeps the values in the brackets -> the quantiles -> the result. Where brackets hold more than
`MOST` values, stages that count them in finer bins come before. Memory of a task: one batch and what it
keeps, at most `MOST` values of 16 bytes in all.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from dask.delayed import Delayed

from daskpar.analyses.monte_carlo import dataset
from daskpar.analyses.monte_carlo.batches import columns_of_batch
from daskpar.analyses.monte_carlo.kernel import selection, tree
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.analyses.monte_carlo.kernel.finish import deviate
from daskpar.analyses.monte_carlo.tasks import Partial, Work
from daskpar.durable import Stage, collect, durable

if TYPE_CHECKING:
    from daskpar.analyses.monte_carlo.plan import Plan
    from daskpar.analyses.monte_carlo.with_dask import Graph

MOST = 1 << 22
_MERGED_AT_ONCE = 32


def stages(graph: Graph, plan: Plan) -> Generator[Stage, Any, None]:
    """Yield the stages after the samples have been counted; the last is the result."""
    parts = [graph.first, *graph.nodes(plan)]
    wanted = [plan.sampling.n_samples, list(plan.how.quantiles), plan.how.confidence]
    how = (plan.sampling.n_samples, plan.how)
    found = _node(graph, ranks, collect(list, parts), *how, key=[wanted, 0], label="ranks")
    result = yield Stage("ranks", found)
    level = 0
    while int(np.asarray(result["crowd"])) > MOST:
        level += 1
        counts = _blocks(graph, plan, count, found, key=[wanted, "count", level], label=f"count {level}")
        merged = _merged(counts, total)
        found = _node(graph, narrowed, found, merged, *how, key=[wanted, level], label=f"ranks {level}")
        result = yield Stage(f"ranks, narrowed {level}", found)
    picked = _blocks(graph, plan, pick, found, key=[wanted, "pick", level], label="exact")
    values = _node(
        graph,
        exact,
        found,
        _merged(picked, selection.together),
        *how,
        key=[wanted, "exact"],
        label="quantiles",
    )
    yield Stage("exact quantiles", collect(dataset.make_exact, [values, *parts], plan.how))


def _node(graph: Graph, function: Any, *args: Any, key: Any, label: str) -> Delayed:
    return durable(function, *args, key=[graph.identity, graph.work.bins, key], label=label)


def _blocks(graph: Graph, plan: Plan, function: Any, found: Delayed, key: Any, label: str) -> list[Delayed]:
    """Return a node for each block of the first drawing."""
    work = graph.light_work(plan)
    return [
        _node(
            graph, function, work, run, graph.prepared, graph.first, found,
            key=[key, run.first, run.count], label=f"{label} batches {run.first}-{run.first + run.count - 1}",
        )
        for run in plan.blocks()
    ]  # fmt: skip


def _merged(nodes: list[Delayed], function: Any) -> Delayed:
    """Merge what does not depend on order, some at a time."""
    while len(nodes) > 1:
        groups = [nodes[i : i + _MERGED_AT_ONCE] for i in range(0, len(nodes), _MERGED_AT_ONCE)]
        nodes = [collect(function, group) for group in groups]
    return nodes[0]


def ranks(parts: Sequence[Partial], n: int, how: dataset.Finish) -> dict[str, Any]:
    """Brackets of the wanted ranks, from the counts of all samples."""
    beginning, node = parts[0], tree.merge(parts[1:])
    bins = {name: np.asarray(beginning[name]) for name in ("edges", "atom_column", "atom_bin")}
    counts = np.asarray(node["histogram"]).astype(np.int64)
    found = selection.brackets(counts, bins, *dataset.extremes(node["moments"]), _ranks(n, how))
    return _with_crowd(found)


def narrowed(found: Partial, counts: Partial, n: int, how: dataset.Finish) -> dict[str, Any]:
    """Smaller brackets, from counts in finer bins."""
    return _with_crowd(selection.narrowed(_arrays(found), np.asarray(counts["counts"]), _ranks(n, how)))


def _with_crowd(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "crowd": np.asarray(selection.crowd(found))}


def _ranks(n: int, how: dataset.Finish) -> Any:
    return selection.all_ranks(n, np.array(how.quantiles), deviate(how.confidence))


def _arrays(found: Partial) -> dict[str, Any]:
    return {name: np.asarray(found[name]) for name in selection.NAMES}


def count(
    work: Work, run: Run, prepared: Partial | None, beginning: Partial, found: Partial
) -> dict[str, Any]:
    """Draw the batches of a block again and count their values in finer bins."""
    brackets, sampling = _arrays(found), work.bound(prepared)
    columns = int(beginning["columns"])
    parts = [
        selection.count_finer(columns_of_batch(sampling, batch, columns), brackets)
        for batch in range(run.first, run.first + run.count)
    ]
    return {"counts": np.sum(parts, axis=0)}


def total(parts: Sequence[Partial]) -> dict[str, Any]:
    """Add the counts of several blocks."""
    return {"counts": np.sum([np.asarray(part["counts"]) for part in parts], axis=0)}


def pick(
    work: Work, run: Run, prepared: Partial | None, beginning: Partial, found: Partial
) -> dict[str, Any]:
    """Draw the batches of a block again and keep the values within the brackets."""
    brackets, sampling = _arrays(found), work.bound(prepared)
    columns = int(beginning["columns"])
    batches = range(run.first, run.first + run.count)
    return selection.together(
        [selection.pick(columns_of_batch(sampling, batch, columns), brackets) for batch in batches]
    )


def exact(found: Partial, picked: Partial, n: int, how: dataset.Finish) -> dict[str, Any]:
    """Quantiles and their intervals."""
    brackets = _arrays(found)
    k = int(brackets["column"].max()) + 1
    fractions, width = np.array(how.quantiles), deviate(how.confidence)
    values = {name: np.asarray(picked[name]) for name in ("place", "value", "number")}
    return selection.quantiles(brackets, values, k, n, fractions, width)
