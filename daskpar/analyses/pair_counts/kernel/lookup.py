"""Which bin numbers are in.

The bin is the number of thresholds at or below a number: 0 below the first bin, one more than the last bin
above all. Evenly spaced thresholds are found by a division, then made exact by comparing with the thresholds
on either side. Others are found by the leading bits of the float: exponent and a few bits of the mantissa
number intervals that are narrow where the numbers are small, a table holds the bin at the beginning of each,
and as no interval holds more than one threshold, one comparison makes that exact. The rest (signed, or too
narrow) is compared with each threshold.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.compiled import inlined
from daskpar.analyses.pair_counts.kernel.lanes import LANES, choose, load, splat, store_whole, whole
from daskpar.analyses.pair_counts.kernel.memory import address, get_float, get_int, put_int

EVEN, TABLE, EACH, WHOLE_STEPS = range(4)
"""How a bin is found."""
LARGEST_TABLE = 4096


class Lookup(NamedTuple):
    """Increasing thresholds as the loops see them; ``thresholds`` and ``table`` are addresses."""

    how: int
    thresholds: int
    number: int
    begin: float
    step: float
    per_step: float
    table: int
    last: int
    shift: int
    offset: int


def make_lookup(thresholds: NDArray[np.float64]) -> tuple[Lookup, list[NDArray[Any]]]:
    """Prepare a look-up; also returns the arrays to be kept alive while it is used."""
    n = thresholds.size
    padded = np.append(np.asarray(thresholds, dtype=np.float64), np.inf)
    begin, step = float(padded[0]), (float(padded[n - 1]) - float(padded[0])) / max(n - 1, 1)
    how = EACH
    table, shift, offset = np.zeros(1, np.int64), 0, 0
    # Even means: exactly what the loop computes.
    if n > 3 and np.array_equal(np.arange(n) * step + begin, padded[:-1]):
        how = WHOLE_STEPS if begin == 0.0 and np.frexp(step)[0] == 0.5 else EVEN
    elif begin >= 0 and np.isfinite(padded[n - 1]):
        found = _table(padded[:-1])
        if found is not None:
            how, (table, shift, offset) = TABLE, found
    per_step = 1.0 / step if step > 0 else 0.0
    even = (begin, step, per_step)
    lookup = Lookup(how, address(padded), n, *even, address(table), table.size - 1, shift, offset)
    return lookup, [padded, table]


def _table(thresholds: NDArray[np.float64]) -> tuple[NDArray[np.int64], int, int] | None:
    """Tell the bins where intervals begin, and which bits number those; None where they are too many."""
    positive = thresholds[thresholds > 0]
    bits = positive.view(np.int64)
    for shift in range(50, 30, -1):
        intervals = bits >> shift
        offset = int(intervals[0]) - 1
        size = int(intervals[-1]) - offset + 2
        if size > LARGEST_TABLE:
            return None
        if np.unique(intervals).size == positive.size:
            table = np.zeros(size, np.int64)
            beginnings = ((np.arange(1, size) + offset) << shift).view(np.float64)
            # An interval that begins with a threshold is left to the comparison, as is all below the first.
            table[1:] = np.searchsorted(thresholds, beginnings, side="left")
            return table, shift, offset
    return None


@inlined
def _whole_steps(value: Any, lookup: Any) -> Any:
    """`_even` from zero, in steps of a power of two, for positive numbers: the division is exact."""
    last = splat(lookup.number - 1.0)
    at = value * splat(lookup.per_step)
    return whole(choose(at < last, at, last)) + splat(1.0)


@inlined
def _even(value: Any, lookup: Any) -> Any:
    begin, step, one, last = splat(lookup.begin), splat(lookup.step), splat(1.0), splat(lookup.number - 1.0)
    at = (value - begin) * splat(lookup.per_step)
    at = whole(choose(at < last, choose(splat(0.0) < at, at, splat(0.0)), last))
    at = choose(value < at * step + begin, at - one, at)
    after = at + one
    at = choose(value >= after * step + begin, after, at)
    at = choose(at < last, at, last)
    return choose(value >= begin, at + one, splat(0.0))


@inlined
def _each(value: Any, lookup: Any) -> Any:
    found, one = splat(0.0), splat(1.0)
    for k in range(lookup.number):
        found = choose(value >= splat(get_float(lookup.thresholds, k)), found + one, found)
    return found


@inlined
def by_table(value: float, bits: int, lookup: Any) -> Any:
    """Find the bin of one number, given its bits as an integer too."""
    interval = min(max((bits >> lookup.shift) - lookup.offset, 0), lookup.last)
    found = get_int(lookup.table, interval)
    return found + (value >= get_float(lookup.thresholds, found))


@inlined
def bin_numbers(values: int, n: int, lookup: Any, into: int) -> None:
    """Write the bins of n numbers; up to seven more are written.

    Parameters
    ----------
    values, into : address of float64 and of int64
        With room for seven more than n. They may be the same.
    n : int
    lookup : Lookup
    """
    if lookup.how == WHOLE_STEPS:
        for k in range(0, n, LANES):
            store_whole(into, k, _whole_steps(load(values, k), lookup))
    elif lookup.how == EVEN:
        for k in range(0, n, LANES):
            store_whole(into, k, _even(load(values, k), lookup))
    elif lookup.how == TABLE:
        for k in range(n):
            put_int(into, k, by_table(get_float(values, k), get_int(values, k), lookup))
    else:
        for k in range(0, n, LANES):
            store_whole(into, k, _each(load(values, k), lookup))
