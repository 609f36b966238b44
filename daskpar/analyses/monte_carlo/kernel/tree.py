"""Nodes, what batches leave behind, and the tree of aligned powers of two in which they merge.

A node is a dict of arrays about a run of consecutive batches:

========== ================ ==============================================================
batches    int64            how many batches
count      int64            how many samples
moments    (5 + k, k)       see `moments`
replicates (5 + k, k)       moments of the batch means, each batch one value
histogram  (k, bins + 2)    int64 counts, where bins were given
========== ================ ==============================================================

The tree over batches ``0 .. N`` pairs runs of 2**j batches that begin at multiples of 2**(j + 1); the
incomplete runs at the end join from the right. So a node of an aligned run of 2**j batches is the same
whatever N is and however many batches one task computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import histogram as _histogram
from daskpar.analyses.monte_carlo.kernel import moments as _moments

Floats = NDArray[np.float64]
Node = dict[str, Any]
Bins = dict[str, Any]


def partial(columns: Floats, bins: Bins | None = None, histogram: NDArray[np.int64] | None = None) -> Node:
    """Node of one batch.

    Parameters
    ----------
    columns : (k, n) float64 array, C-contiguous
        The values of the batch.
    bins : dict of arrays
        From `histogram.make_bins`, to count the values in.
    histogram : (k, bins + 2) int64 array
        Counts of a whole run of batches, to which these are added in place, since integers may be added in
        any order; the node then holds none. Without it the node holds its own.

    Raises
    ------
    ValueError
        If a value is not finite, or the values are too large to be summed.
    """
    moments = _moments.of_columns(columns)
    if not np.isfinite(moments[: _moments.MAXIMUM + 1]).all():
        raise ValueError(_describe_bad(columns))
    node = leaf(columns.shape[1], moments)
    if bins is None:
        return node
    counts = histogram
    if counts is None:
        counts = node["histogram"] = empty_histogram(bins)
    _histogram.count_into(columns, bins["edges"], bins["guess"], counts)
    return node


def empty_histogram(bins: Bins) -> NDArray[np.int64]:
    """Zero counts for the bins, of shape (k, bins + 2)."""
    k, edges = bins["edges"].shape
    return np.zeros((k, edges - 1), np.int64)


def _describe_bad(columns: Floats) -> str:
    bad = np.argwhere(~np.isfinite(columns.T))
    if not len(bad):
        return "the values are too large to be summed"
    sample, column = (int(place) for place in bad[0])
    first = f"the first {columns[column, sample]} at sample {sample}"
    return f"{len(bad)} of {columns.size} values are not finite, {first}"


def leaf(count: int, moments: Floats) -> Node:
    """Node of one batch from its moments, without a histogram."""
    means = np.zeros_like(moments)
    means[: _moments.MAXIMUM + 1] = moments[_moments.MEAN]
    return {
        "batches": np.int64(1),
        "count": np.int64(count),
        "moments": moments,
        "replicates": means,
    }


def merge(nodes: Iterable[Mapping[str, Any]]) -> Node:
    """Node of several consecutive runs together, in their order.

    Parameters
    ----------
    nodes : iterable of nodes
        Runs of aligned powers of two; the last may be cut short. The first begins at a multiple of the
        number of batches that all have together, rounded up to a power of two.
    """
    stack: list[Mapping[str, Any]] = []
    for node in nodes:
        _push(stack, node)
    return _close(stack)


def _push(stack: list[Mapping[str, Any]], node: Mapping[str, Any]) -> None:
    stack.append(node)
    while len(stack) > 1 and stack[-1]["batches"] == stack[-2]["batches"]:
        right = stack.pop()
        stack.append(_join(stack.pop(), right))


def _close(stack: list[Mapping[str, Any]]) -> Node:
    node = stack.pop()
    while stack:
        node = _join(stack.pop(), node)
    return dict(node)


def _join(left: Mapping[str, Any], right: Mapping[str, Any]) -> Node:
    joined: Node = {name: left[name] + right[name] for name in ("batches", "count")}
    counts, batches = (int(left["count"]), int(right["count"])), (int(left["batches"]), int(right["batches"]))
    joined["moments"] = _moments.merge(left["moments"], counts[0], right["moments"], counts[1])
    joined["replicates"] = _moments.merge(left["replicates"], batches[0], right["replicates"], batches[1])
    if "histogram" in left:
        joined["histogram"] = np.add(left["histogram"], right["histogram"], dtype=np.int64)
    return joined
