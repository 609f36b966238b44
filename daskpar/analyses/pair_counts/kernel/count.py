"""Counting the pairs of a block: points in the order of their cells, their windows, buffers, bins."""

from __future__ import annotations

from typing import Any

from daskpar.analyses.pair_counts.kernel.collect import (
    CAPACITY,
    CHUNK,
    pairs_in_own_group,
    pairs_in_run,
    point_at,
    resolve,
)
from daskpar.analyses.pair_counts.kernel.compiled import aligned_stack, compiled, inlined
from daskpar.analyses.pair_counts.kernel.lanes import LANES
from daskpar.analyses.pair_counts.kernel.lookup import bin_numbers
from daskpar.analyses.pair_counts.kernel.memory import get_int
from daskpar.analyses.pair_counts.kernel.sift import sift, sift_rows
from daskpar.analyses.pair_counts.kernel.tally import tally
from daskpar.analyses.pair_counts.kernel.windows import BOTH_ORDERS, CROSS, find


@compiled
def count_block(
    room: Any,
    layout: Any,
    first_cell: int,
    last_cell: int,
    one: Any,
    two: Any,
    visit: int,
    reach: Any,
    rule: Any,
    lookups: Any,
    buffers: Any,
    bins: Any,
    n_patches: int,
    sifting: bool,
) -> None:
    """Add the pairs whose first point lies in cells first … last - 1 to ``bins``.

    Parameters
    ----------
    room : Room
    layout : Layout
    first_cell, last_cell : int
    one, two : Located
        The sample of the first and of the second points; the same where a sample is paired with itself.
    visit : int
        `CROSS`, `EACH_ONCE` or `BOTH_ORDERS`.
    reach, rule
        Of the `Binning`.
    lookups : two Lookups
    buffers : Buffers
    bins : Bins
    n_patches : int
        0 without patches.
    sifting : bool
        Count by `sift`, in passes: integers only.
    """
    aligned_stack()
    n = 0
    for cell in range(first_cell, last_cell):
        begin = cell // layout.nz * (layout.nz + 1) + cell % layout.nz
        for place in range(get_int(one.start, begin), get_int(one.start, begin + 1)):
            point = point_at(one.points, one.stride, place, n_patches)
            own = place // LANES
            runs = find(room, layout, two.start, two.stride, point.x, point.y, point.z, reach, visit, own)
            if visit != CROSS:
                n = pairs_in_own_group(
                    buffers, n, point, place % LANES, two.points, own * two.stride, visit == BOTH_ORDERS, rule
                )
            for run in range(runs):
                k = get_int(room.ends, run)
                while k < get_int(room.ends, run + 1):
                    if n > CAPACITY - (CHUNK + 2) * LANES:
                        n = empty(buffers, n, lookups, bins, rule, n_patches, sifting)
                    end = min(k + CHUNK, get_int(room.ends, run + 1))
                    n = pairs_in_run(
                        buffers, n, point, two.points, room.groups, k, end, room.shifts + 24 * run, rule
                    )
                    k = end
            if n > CAPACITY - (CHUNK + 2) * LANES:
                n = empty(buffers, n, lookups, bins, rule, n_patches, sifting)
    empty(buffers, n, lookups, bins, rule, n_patches, sifting)


@inlined
def empty(buffers: Any, n: int, lookups: Any, bins: Any, rule: Any, n_patches: int, sifting: bool) -> int:
    """Put the pairs in the buffers into bins; 0, the number left."""
    first, second = lookups
    if sifting and rule.two_axes:
        resolve(buffers, n, rule)
        bin_numbers(buffers.second, n, second, buffers.second)
        sift_rows(
            buffers.first, buffers.second, buffers.bin, n, first.thresholds, first.number - 1, bins.npairs,
            second.number + 1,
        )  # fmt: skip
    elif sifting:
        sift(buffers.first, n, first.thresholds, first.number - 1, bins.npairs)
    else:
        resolve(buffers, n, rule)
        tally(buffers, n, first, second, bins, rule, n_patches)
    return 0
