"""The three verbs: `partial` counts a block, `merge` adds partials up, `finish` makes the result."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.aligned import aligned
from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.cells import Layout, Packed
from daskpar.analyses.pair_counts.kernel.collect import CAPACITY, Buffers
from daskpar.analyses.pair_counts.kernel.count import count_block
from daskpar.analyses.pair_counts.kernel.lanes import LANES
from daskpar.analyses.pair_counts.kernel.lookup import make_lookup
from daskpar.analyses.pair_counts.kernel.memory import address
from daskpar.analyses.pair_counts.kernel.sift import worth_sifting
from daskpar.analyses.pair_counts.kernel.tally import MANY_BINS, SPREAD, Bins
from daskpar.analyses.pair_counts.kernel.windows import BOTH_ORDERS, CROSS, EACH_ONCE, make_room

Partial = dict[str, NDArray[Any]]


class Wanted(NamedTuple):
    """What to compute besides the numbers of pairs. ``n_patches`` is 0 where patches are not told apart."""

    weights: bool = False
    separations: bool = False
    n_patches: int = 0


COUNTS_ONLY = Wanted()
"""Numbers of pairs and nothing else."""


def partial(
    layout: Layout,
    cells: tuple[int, int],
    one: Packed,
    two: Packed | None,
    binning: Binning,
    wanted: Wanted = COUNTS_ONLY,
) -> Partial:
    """Count the pairs whose first point lies in a range of cells.

    Parameters
    ----------
    layout : Layout
    cells : two ints
        The block: cells first … last - 1, numbered as in `cell_numbers`.
    one : Packed
        The first sample, with weights and patches where wanted; cells outside the block may be empty.
    two : Packed or None
        The second sample, of which only cells within reach of the block are needed. None pairs the first with
        itself; then it, too, holds all cells within reach.
    binning : Binning
    wanted : Wanted

    Returns
    -------
    dict of arrays
        Unordered pairs where ``two`` is None and the binning is not signed, else ordered ones.
        ``npairs`` int64; ``weight_sum`` (Σ w₁w₂) and ``separation_sum`` (Σ of rp, s or θ in degrees, not
        weighted), float64, where wanted: of the shape of the binning. With patches the shape is (k, …), and
        ``patches`` int64 (k, 2) says which pair of patches each row is, in increasing order.
    """
    visit = CROSS if two is not None else BOTH_ORDERS if binning.signed else EACH_ONCE
    rule = binning.rule(weighted=wanted.weights, separations=wanted.separations, patches=wanted.n_patches > 0)
    first, second = binning.first_thresholds, binning.second_thresholds
    sifting = worth_sifting(rule, first)
    sample = one if two is None else two
    # What the loops use is passed by address; these arrays live until the end of this function.
    room, _room = make_room(layout, sample.start, binning.reach[0])
    lookup, _lookup = make_lookup(first)
    second_lookup, _second = make_lookup(second)
    buffers = [aligned(CAPACITY + 2 * LANES) for _ in Buffers._fields]
    sums = _zeros(binning, wanted, sifting)
    bins = Bins(*map(address, sums), *sums.npairs.shape[1:])
    count_block(
        room, layout, *cells, one.located, sample.located, visit, binning.reach, rule, (lookup,
        second_lookup), Buffers(*map(address, buffers)), bins, wanted.n_patches, sifting,
    )  # fmt: skip
    return _trimmed(sums, binning, wanted)


def merge(partials: Iterable[Partial]) -> Partial:
    """Add partials up in the order given: that of block numbers, so that sums have the same bits always."""
    total: Partial = {}
    for part in partials:
        if not total:
            total = {name: array.copy() for name, array in part.items()}
        elif "patches" in part:
            total = _merge_patches(total, part)
        else:
            total = {name: array + part[name] for name, array in total.items()}
    return total


def finish(total: Partial, *, doubled: bool) -> Partial:
    """Turn a merged partial into counts of ordered pairs and mean separations.

    Parameters
    ----------
    total : dict of arrays
        From `merge`.
    doubled : bool
        Each pair was counted once and stands for two: a sample with itself, not signed.

    Returns
    -------
    dict of arrays
        ``npairs``; ``weight_sum`` and ``separation_mean`` (NaN in bins without pairs) where they were wanted.
        With patches as many rows as there are ordered pairs of patches, and ``patches``.
    """
    if doubled and "patches" in total:
        turned = {name: array[:, ::-1] if name == "patches" else array for name, array in total.items()}
        total = _merge_patches(total, _sorted_by_patches(turned))
    elif doubled:
        total = {name: array * 2 for name, array in total.items()}
    result = {name: array for name, array in total.items() if name != "separation_sum"}
    if "separation_sum" in total:
        pairs = total["npairs"]
        mean = np.full(pairs.shape, np.nan)
        result["separation_mean"] = np.divide(total["separation_sum"], pairs, out=mean, where=pairs > 0)
    return result


class _Sums(NamedTuple):
    npairs: NDArray[np.int64]
    weight_sum: NDArray[np.float64]
    separation_sum: NDArray[np.float64]
    slot_of: NDArray[np.int64]
    used: NDArray[np.int64]


def _zeros(binning: Binning, wanted: Wanted, sifting: bool) -> _Sums:
    width = binning.shape[0] + 2
    if binning.two_axes:
        width *= binning.shape[1] + 2
    # Memory of slots that are never used is never touched, and so never taken.
    slots = max(1, wanted.n_patches**2)
    copies = 1 if wanted.n_patches or sifting or width > MANY_BINS else SPREAD
    shape = (slots, copies, width)
    none = (0, copies, width)
    return _Sums(
        np.zeros(shape, np.int64),
        np.zeros(shape if wanted.weights else none),
        np.zeros(shape if wanted.separations else none),
        np.full(wanted.n_patches**2, -1, np.int64),
        np.zeros(1, np.int64),
    )


def _trimmed(sums: _Sums, binning: Binning, wanted: Wanted) -> Partial:
    """Without the bins outside the edges and without copies."""
    rows = int(sums.used[0]) if wanted.n_patches else 1
    pairs = np.flatnonzero(sums.slot_of >= 0)
    order = sums.slot_of[pairs] if wanted.n_patches else np.zeros(1, np.int64)
    inner = (slice(1, -1),) * len(binning.shape)
    shape = tuple(n + 2 for n in binning.shape)

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        summed = array[:rows].sum(axis=1).reshape(rows, *shape)[(slice(None), *inner)]
        return np.ascontiguousarray(summed[order] if wanted.n_patches else summed[0])

    result: Partial = {"npairs": cut(sums.npairs)}
    if wanted.weights:
        result["weight_sum"] = cut(sums.weight_sum)
    if wanted.separations:
        result["separation_sum"] = cut(sums.separation_sum)
    if wanted.n_patches:
        result["patches"] = np.stack([pairs // wanted.n_patches, pairs % wanted.n_patches], axis=1)
    return result


def _merge_patches(left: Partial, right: Partial) -> Partial:
    both = np.concatenate([left["patches"], right["patches"]])
    patches, row = np.unique(both, axis=0, return_inverse=True)
    row = row.reshape(-1)
    result: Partial = {"patches": patches}
    for name in left:
        if name != "patches":
            result[name] = np.zeros((len(patches), *left[name].shape[1:]), left[name].dtype)
            # No pair of patches is twice in one partial: each row gets its two terms in order.
            result[name][row[: len(left[name])]] += left[name]
            result[name][row[len(left[name]) :]] += right[name]
    return result


def _sorted_by_patches(part: Partial) -> Partial:
    order = np.lexsort((part["patches"][:, 1], part["patches"][:, 0]))
    return {name: array[order] for name, array in part.items()}
