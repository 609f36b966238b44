"""The functions that run on workers: prepare, first batch, a run of batches, merging nodes. No dask here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daskpar.analyses.monte_carlo.batches import (
    Sampling,
    columns_of_batch,
    first_batch,
    node_of_run,
    partial_of_columns,
)  # fmt: skip
from daskpar.analyses.monte_carlo.kernel import tree
from daskpar.analyses.monte_carlo.kernel.blocks import Run
from daskpar.errors import UsageError

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

    @property
    def span(self) -> int:
        """Batches of its largest block."""
        return max(block.count for block in self.blocks)


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
    return _narrowed(first_batch(work.bound(prepared), work.bins), "leaf_histogram")


def block(work: Work, run: Run, prepared: Partial | None, beginning: Partial) -> dict[str, Any]:
    """Node of a run of batches, its counts in the narrowest integers that hold them."""
    bins = {name: np.asarray(beginning[name]) for name in ("edges", "guess")} if work.bins else None
    columns = int(beginning["columns"])
    node = node_of_run(work.bound(prepared), run.first, run.count, columns, bins, beginning)
    return _narrowed(node)


def merged(nodes: Sequence[Partial]) -> dict[str, Any]:
    """Node of consecutive runs."""
    return _narrowed(tree.merge(nodes))


def groups(firsts: Iterable[int], span: int) -> tuple[int, list[list[int]]]:
    """Group the nodes of a segment, named by their first batches, into those that are merged at once.

    Groups are aligned, whatever the sizes of blocks: the bits must not depend on these. Returned are also the
    batches that a group spans, for the next time.
    """
    span *= MERGED_AT_ONCE
    return span, [list(group) for _, group in itertools.groupby(firsts, lambda first: first // span)]


def one_batch(sampling: Sampling, number: int) -> dict[str, Any]:
    """Draw one batch, to look at its values or to see why it fails.

    Raises
    ------
    UsageError
        There is no such batch.
    AnalysisError
        As in a run: the trial raises, or returns NaN or a wrong shape.
    """
    if number >= sampling.n_batches:
        raise UsageError(f"there is no batch {number}", f"there are {sampling.n_batches}", key="--replay")
    work = Work(sampling, 0)
    bound = work.bound(prepare(work) if hasattr(sampling.trial, "prepare") else None)
    columns = columns_of_batch(bound, number)
    partial_of_columns(bound, number, columns)
    return {"values": columns.T}


def _narrowed(node: Partial, name: str = "histogram") -> dict[str, Any]:
    """Return a node with its counts in the narrowest integers that hold them."""
    found = {part: np.asarray(node[part]) for part in node}
    if name in found:
        counts = found[name]
        found[name] = counts.astype(np.min_scalar_type(int(counts.max())))
    return found
