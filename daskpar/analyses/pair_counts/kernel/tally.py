"""From buffers of pairs into bins."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from daskpar.analyses.pair_counts.kernel.compiled import compiled, inlined
from daskpar.analyses.pair_counts.kernel.lanes import LANES, load, root, store
from daskpar.analyses.pair_counts.kernel.lookup import TABLE, bin_numbers, by_table
from daskpar.analyses.pair_counts.kernel.memory import get_float, get_int, put_float, put_int

SPREAD = 4  # a power of two
"""Neighbouring pairs are added to different copies of a bin: additions to one copy wait for each other."""
MANY_BINS = 200
"""With so many bins neighbouring pairs are seldom in the same, and copies would only crowd the cache."""


class Bins(NamedTuple):
    """Counts and sums: addresses of arrays of shape (slots, copies, width).

    ``width`` counts one bin more at either end of each axis. There is a slot for each pair of patches that
    was met, numbered in ``slot_of``, and ``used`` holds how many; without patches there is one.
    """

    npairs: int
    weight_sum: int
    separation_sum: int
    slot_of: int
    used: int
    copies: int
    width: int


@inlined
def arcsine(x: float) -> Any:
    """Arc sine of 0 ≤ x ≤ 1 to 1 ulp, from additions, multiplications, divisions and roots only.

    The same bits on every processor; the rational approximation of FreeBSD's ``e_asin.c`` (Sun Microsystems,
    1993).
    """
    t = x * x if x < 0.5 else (1.0 - x) * 0.5
    p = t * (
        1.66666666666666657415e-01
        + t
        * (
            -3.25565818622400915405e-01
            + t
            * (
                2.01212532134862925881e-01
                + t
                * (
                    -4.00555345006794114027e-02
                    + t * (7.91534994289814532176e-04 + t * 3.47933107596021167570e-05)
                )
            )
        )
    )
    q = 1.0 + t * (
        -2.40339491173441421878e00
        + t * (2.02094576023350569471e00 + t * (-6.88283971605453293030e-01 + t * 7.70381505559019352791e-02))
    )
    if x < 0.5:
        return x + x * (p / q)
    root = np.sqrt(t)
    return 1.57079632679489655800 - (2.0 * (root + root * (p / q)) - 6.12323399573676603587e-17)


@inlined
def _slot(bins: Any, pair: int) -> Any:
    """Slot of a pair of patches: the next free one where it is met for the first time."""
    slot = get_int(bins.slot_of, pair)
    if slot < 0:
        slot = get_int(bins.used, 0)
        put_int(bins.used, 0, slot + 1)
        put_int(bins.slot_of, pair, slot)
    return slot


@inlined
def _separations(values: int, n: int, angles: bool) -> None:
    """Turn squared separations into separations, or squared chords into angles in degrees, in place."""
    for k in range(0, n, LANES):
        store(values, k, root(load(values, k)))
    if angles:
        for k in range(n):
            put_float(values, k, np.degrees(2.0 * arcsine(min(0.5 * get_float(values, k), 1.0))))


@inlined
def _count_by_table(buffers: Any, n: int, first_lookup: Any, columns: int, npairs: int) -> None:
    """Count pairs of two axes, the bins of the second of which are known."""
    for k in range(n):
        row = by_table(get_float(buffers.first, k), get_int(buffers.first, k), first_lookup)
        where = row * columns + get_int(buffers.second, k)
        put_int(npairs, where, get_int(npairs, where) + 1)


@compiled
def tally(
    buffers: Any, n: int, first_lookup: Any, second_lookup: Any, bins: Any, rule: Any, n_patches: int
) -> None:
    """Add the pairs in the buffers to their bins, one after the other."""
    counts_only = not (rule.weighted or rule.separations or n_patches)
    columns = 1
    if rule.two_axes:
        bin_numbers(buffers.second, n, second_lookup, buffers.second)
        columns = second_lookup.number + 1
        if counts_only and first_lookup.how == TABLE:
            _count_by_table(buffers, n, first_lookup, columns, bins.npairs)
            return
    bin_numbers(buffers.first, n, first_lookup, buffers.bin)
    copies = bins.copies - 1
    if counts_only:
        for k in range(n):
            where = get_int(buffers.bin, k) * columns + (k & copies) * bins.width
            if rule.two_axes:
                where += get_int(buffers.second, k)
            put_int(bins.npairs, where, get_int(bins.npairs, where) + 1)
        return
    if rule.separations:
        _separations(buffers.first, n, rule.angles)
    for k in range(n):
        where = get_int(buffers.bin, k) * columns + (k & copies) * bins.width
        if rule.two_axes:
            where += get_int(buffers.second, k)
        if n_patches:
            where += _slot(bins, int(get_float(buffers.patch, k))) * bins.width
        put_int(bins.npairs, where, get_int(bins.npairs, where) + 1)
        if rule.weighted:
            put_float(
                bins.weight_sum, where, get_float(bins.weight_sum, where) + get_float(buffers.weight, k)
            )
        if rule.separations:
            separation = get_float(buffers.first, k)
            put_float(bins.separation_sum, where, get_float(bins.separation_sum, where) + separation)
