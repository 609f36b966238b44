"""The functions that run on workers: prepare, first batch, a run of batches, merging nodes. No dask here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daskpar.analyses.monte_carlo.batches import Sampling, columns_of_batch, first_batch, node_of_run
from daskpar.analyses.monte_carlo.kernel import tree
from daskpar.analyses.monte_carlo.kernel.blocks import Run

Partial = Mapping[str, Any]
MERGED_AT_ONCE = 32


class Work:
    """What tasks are given. A plain class, so that dask does not look into the trial for collections."""

    def __init__(self, sampling: Sampling, bins: int) -> None:
        self.sampling, self.bins = sampling, bins

    def bound(self, prepared: Partial | None) -> Sampling:
        """Return the sampling with the trial made for prepared data, where it needs any."""
        if prepared is None:
            return self.sampling
        return replace(self.sampling, trial=self.sampling.trial.bind(prepared))  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Segment:
    """Blocks that make an aligned power of two of batches together, or the rest at the end."""

    blocks: tuple[Run, ...]

    @property
    def run(self) -> Run:
        """All its batches."""
        return Run(self.blocks[0].first, sum(block.count for block in self.blocks))


def segments(blocks: Sequence[Run]) -> list[Segment]:
    """Group blocks so that segments end at powers of two: the places of the convergence curve."""
    found: list[Segment] = []
    group: list[Run] = []
    for block in blocks:
        group.append(block)
        end = block.first + block.count
        if end & (end - 1) == 0 or block is blocks[-1]:
            found.append(Segment(tuple(group)))
            group = []
    return found


def prepares(trial: Any) -> bool:
    """Whether batches of a trial share something that is prepared once."""
    return hasattr(trial, "prepare")


def prepare(work: Work) -> dict[str, Any]:
    """Read data or compute tables that all batches share."""
    prepared: dict[str, Any] = work.sampling.trial.prepare()  # type: ignore[attr-defined]
    return {name: np.asarray(value) for name, value in prepared.items()}


def first(work: Work, prepared: Partial | None) -> dict[str, Any]:
    """Draw batch 0: how many columns there are, and bins for the histogram where one is wanted."""
    return first_batch(work.bound(prepared), work.bins)


def block(work: Work, run: Run, prepared: Partial | None, beginning: Partial) -> dict[str, Any]:
    """Node of a run of batches, its counts in the narrowest integers that hold them."""
    bins = {name: np.asarray(beginning[name]) for name in ("edges", "guess")} if work.bins else None
    node = node_of_run(work.bound(prepared), run.first, run.count, int(beginning["columns"]), bins)
    return _narrowed(node)


def merged(nodes: Sequence[Partial]) -> dict[str, Any]:
    """Node of consecutive runs."""
    return _narrowed(tree.merge(nodes))


def groups(nodes: Sequence[Any]) -> list[Any]:
    """Cut the nodes of a segment into those that are merged at once."""
    return [nodes[i : i + MERGED_AT_ONCE] for i in range(0, len(nodes), MERGED_AT_ONCE)]


def batch(work: Work, number: int, prepared: Partial | None) -> dict[str, Any]:
    """Values of one batch, to look at."""
    return {"values": columns_of_batch(work.bound(prepared), number)}


def _narrowed(node: Partial) -> dict[str, Any]:
    found = {name: np.asarray(node[name]) for name in node}
    if "histogram" in found:
        counts = found["histogram"]
        found["histogram"] = counts.astype(np.min_scalar_type(int(counts.max())))
    return found
