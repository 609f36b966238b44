"""Which bin a number is in, without a search: a table over the leading bits of the float, and a correction.

The bits of a positive float64 grow with the number. Their leading part, the exponent and a few bits of the
mantissa, numbers intervals that are narrow where the numbers are small; a table says how many thresholds lie
at or below the beginning of each, and comparing with the next threshold (the next few, where bins are very
narrow) makes that exact. Signed numbers are looked up by bisection.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.compiled import inlined
from daskpar.analyses.pair_counts.kernel.memory import address, get_float, get_int

LARGEST_TABLE = 4096


class Lookup(NamedTuple):
    """A table for `place`: addresses, and numbers. After the thresholds come infinities, one for each correction."""

    thresholds: int
    number: int
    table: int
    size: int
    shift: int
    offset: int
    corrections: int


def make_lookup(thresholds: NDArray[np.float64]) -> tuple[Lookup, list[NDArray[Any]]]:
    """Prepare a look-up among increasing thresholds.

    Parameters
    ----------
    thresholds : float64, shape (n,)
        The first may be zero or, for signed quantities, negative: then bisection is used.

    Returns
    -------
    lookup : Lookup
    arrays : list
        To be kept alive while the look-up is used.
    """
    thresholds = np.asarray(thresholds, dtype=np.float64)
    positive = thresholds[thresholds > 0]
    if thresholds[0] < 0 or not np.isfinite(positive[-1]):
        return _padded(thresholds, np.zeros(0, np.int64), 0, 0, 1)
    keys = positive.view(np.int64)
    shift = 52 - 3
    while shift > 30:
        finer = keys >> (shift - 1)
        if np.unique(keys >> shift).size == keys.size or finer[-1] - finer[0] > LARGEST_TABLE - 3:
            break
        shift -= 1
    buckets = keys >> shift
    offset = int(buckets[0]) - 1
    table = np.zeros(int(buckets[-1]) - offset + 2, np.int64)
    lower = (np.arange(1, table.size) + offset << shift).view(np.float64)
    table[1:] = np.searchsorted(thresholds, lower, side="right")
    inside = np.diff(np.append(table, thresholds.size))
    return _padded(thresholds, table, shift, offset, max(1, int(inside.max())))


def _padded(thresholds: Any, table: Any, shift: int, offset: int, corrections: int) -> Any:
    padded = np.concatenate([thresholds, np.full(corrections, np.inf)])
    lookup = Lookup(address(padded), thresholds.size, address(table), table.size, shift, offset, corrections)
    return lookup, [padded, table]


@inlined
def place(value: float, bits: int, lookup: Any) -> int:
    """How many thresholds are at or below a number: 0 below the first bin, ``number`` above the last.

    Parameters
    ----------
    value, bits
        The number, and its bits as an integer.
    lookup : Lookup
    """
    if lookup.size == 0:
        low, high = 0, lookup.number
        while low < high:
            middle = (low + high) // 2
            if value >= get_float(lookup.thresholds, middle):
                low = middle + 1
            else:
                high = middle
        return low
    bucket = min(max((bits >> lookup.shift) - lookup.offset, 0), lookup.size - 1)
    found = get_int(lookup.table, bucket)
    for _ in range(lookup.corrections):
        found += value >= get_float(lookup.thresholds, found)
    return found
