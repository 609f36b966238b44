"""Pair counts and correlation functions as a dask graph of durable blocks.

Graph: a node a piece of each catalog reads, checks and converts its points; a plan chooses cells and blocks
from all of them; a node a piece sorts its points by block; a node a block counts, opening only what lies
within reach; one node merges in the order of the blocks. Tasks: 2 a piece, 1 a block, and some. Peak memory
of a task: a piece (16 MB) or the points around a block; of the plan, a piece and a few numbers for each cell.

`samples`: catalogs as nodes. `counting`: one count as nodes, `count_pairs`. `correlating`: several counts and
what they become, `correlation`.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dask.delayed import Delayed

from daskpar.analyses.pair_counts.estimates import axes
from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.settings import make_box
from daskpar.analyses.pair_counts.steps import as_sample, finished, make_estimation, result_layout
from daskpar.analyses.pair_counts.with_dask.correlating import Correlation, correlation
from daskpar.analyses.pair_counts.with_dask.counting import (
    bare_count,
    coordinates,
    count_pairs,
)
from daskpar.durable import Stage, collect
from daskpar.lazy import xr

if TYPE_CHECKING:
    from daskpar.analyses.pair_counts import PairCountsOptions, PairRecord

__all__ = ["build", "correlation", "count_pairs"]

#: Of one count.
MOST_BLOCKS = 50_000


def build(record: PairRecord, options: PairCountsOptions) -> Generator[Stage, xr.Dataset, Delayed]:
    """Yield the stage that plans every count, then return the blocks and what they become."""
    binning, box = options.binning(), make_box(options.boxsize)
    data = as_sample(record.data, None, options.metric, "data")
    randoms = None if record.randoms is None else as_sample(record.randoms, None, options.metric, "randoms")
    if options.estimator is None:
        counts = {"npairs": bare_count(binning, box, data, randoms)}
    else:
        how = make_estimation(binning, box, data, randoms, options.model_dump())
        work = Correlation(data, randoms, how)
        counts = dict(work.counts())
    plans = [count.plan(MOST_BLOCKS) for count in counts.values()]
    planned = yield Stage("cells", collect(_planned, plans, list(counts)), then=("counts",))
    numbers = {name: max(1, int(planned[f"{name}_blocks"])) for name in counts}
    blocks = {name: count.blocks(MOST_BLOCKS, numbers[name]) for name, count in counts.items()}
    if options.estimator is None:
        merged = collect(finished, blocks["npairs"], counts["npairs"].question.doubled)
        return collect(_counts, [merged], binning, _balance(planned))
    return collect(_dataset, [work.result(blocks)], work, list(blocks), _balance(planned))


def _planned(plans: Sequence[Mapping[str, Any]], names: list[str]) -> xr.Dataset:
    found: dict[str, Any] = {}
    for name, plan in zip(names, plans, strict=True):
        found[f"{name}_blocks"] = ((), len(plan["ranges"]))
        found[f"{name}_imbalance"] = ((), float(plan["imbalance"]))
        found[f"{name}_distances"] = ((), float(plan["distances"]))
    return xr.Dataset(found)


def _balance(planned: xr.Dataset) -> dict[str, float]:
    """Return what the plans say of themselves: blocks, and cost of the dearest over the mean, by count."""
    return {str(name): value.item() for name, value in planned.data_vars.items()}


def _counts(parts: Sequence[Mapping[str, Any]], binning: Binning, attrs: dict[str, float]) -> xr.Dataset:
    return xr.Dataset(
        {name: (axes(binning), array) for name, array in parts[0].items()}, coordinates(binning), attrs
    )


def _dataset(
    parts: Sequence[Mapping[str, Any]], work: Correlation, names: list[str], attrs: dict[str, float]
) -> xr.Dataset:
    found = result_layout(parts[0], work.how, names)
    return xr.Dataset(found, coordinates(work.how.binning), work.attrs() | attrs)
