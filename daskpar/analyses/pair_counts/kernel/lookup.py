"""Which bin numbers are in, eight at a time.

The bin is the number of thresholds at or below a number: 0 below the first bin, one more than the last bin above
all. Evenly spaced thresholds are found by a division, then made exact by comparing with the thresholds on either
side; few thresholds by comparing with each; many by bisection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.compiled import inlined
from daskpar.analyses.pair_counts.kernel.lanes import LANES, choose, load, splat, store_whole, whole
from daskpar.analyses.pair_counts.kernel.memory import address, get_float, put_int

EVEN, FEW, MANY = range(3)
"""How a bin is found."""
MOST_COMPARED = 48
"""Up to so many thresholds, comparing with each is fastest."""


class Lookup(NamedTuple):
    """Increasing thresholds as the loops see them; ``thresholds`` is an address."""

    how: int
    thresholds: int
    number: int
    begin: float
    step: float
    per_step: float


def make_lookup(thresholds: NDArray[np.float64]) -> tuple[Lookup, NDArray[np.float64]]:
    """Prepare a look-up; also returns the array to be kept alive while it is used."""
    thresholds = np.ascontiguousarray(thresholds, dtype=np.float64)
    n = thresholds.size
    begin, step = float(thresholds[0]), 0.0
    how = FEW if n <= MOST_COMPARED else MANY
    if n > 3 and np.isfinite(thresholds[-1]):
        step = (float(thresholds[-1]) - begin) / (n - 1)
        # Exactly what the loop computes: otherwise they are only nearly even.
        if np.array_equal(np.arange(n) * step + begin, thresholds):
            how = EVEN
    return Lookup(how, address(thresholds), n, begin, step, 1.0 / step if step else 0.0), thresholds


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
def _compared(value: Any, lookup: Any) -> Any:
    found, one = splat(0.0), splat(1.0)
    for k in range(lookup.number):
        found = choose(value >= splat(get_float(lookup.thresholds, k)), found + one, found)
    return found


@inlined
def _bisected(value: float, lookup: Any) -> int:
    low, high = 0, lookup.number
    while low < high:
        middle = (low + high) // 2
        if value >= get_float(lookup.thresholds, middle):
            low = middle + 1
        else:
            high = middle
    return low


@inlined
def bin_numbers(values: int, n: int, lookup: Any, into: int) -> None:
    """Write the bins of n numbers; up to seven more are written.

    Parameters
    ----------
    values, into : address of float64 and of int64
        With room for seven more than n.
    n : int
    lookup : Lookup
    """
    if lookup.how == EVEN:
        for k in range(0, n, LANES):
            store_whole(into, k, _even(load(values, k), lookup))
    elif lookup.how == FEW:
        for k in range(0, n, LANES):
            store_whole(into, k, _compared(load(values, k), lookup))
    else:
        for k in range(n):
            put_int(into, k, _bisected(get_float(values, k), lookup))
