"""Exact order statistics of values that are drawn twice: first counted in bins, then picked.

The counts say in which bins the wanted ranks lie. The second time only the values of these *brackets* are
kept, as distinct values with their numbers, so that discrete data take no more memory than continuous ones.
Where a bracket holds too many, its counts in finer bins come first. Everything is integers and comparisons.

Brackets are a dict of arrays, one entry a bracket, in ascending order within each column:

====== ======= =====================================================
column int64   which column
low    float64 first value that belongs to it
high   float64 first value above it
below  int64   how many values of the column lie below `low`
count  int64   how many lie in it
atom   bool    whether it holds one repeated value, as far as is known
====== ======= =====================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Brackets = Mapping[str, NDArray[Any]]
Picked = dict[str, NDArray[Any]]

NAMES = ("column", "low", "high", "below", "count", "atom")
PARTS = 1024


def wanted_ranks(n: int, fractions: Floats, deviate: float) -> tuple[Integers, Integers, Integers]:
    """Ranks, from 0, of what quantiles and their intervals are made of, each of shape (m,).

    Returns
    -------
    at, low, high
        `at` and the rank behind it enclose the quantile, as in `numpy.quantile`; `low` and `high` are the
        interval from the binomial distribution of the rank.
    """
    spread = deviate * np.sqrt(n * fractions * (1.0 - fractions))
    at = np.floor(fractions * (n - 1)).astype(np.int64)
    low = np.floor(n * fractions - spread).astype(np.int64)
    high = np.ceil(n * fractions + spread).astype(np.int64)
    return at, np.clip(low, 0, n - 1), np.clip(high, 0, n - 1)


def all_ranks(n: int, fractions: Floats, deviate: float) -> Integers:
    """All ranks that are wanted, ascending."""
    at, low, high = wanted_ranks(n, fractions, deviate)
    return np.unique(np.concatenate([at, np.minimum(at + 1, n - 1), low, high]))


def brackets(
    histogram: Integers, bins: Mapping[str, Any], minimum: Floats, maximum: Floats, ranks: Integers
) -> dict[str, NDArray[Any]]:
    """Brackets of the wanted ranks: the bins that hold them, within the extremes of each column.

    Parameters
    ----------
    histogram : (k, bins + 2) int64 array
    bins : dict of arrays
        From `histogram.make_bins`.
    minimum, maximum : (k,) float64 arrays
    ranks : (r,) int64 array
    """
    with np.errstate(over="ignore"):
        above = np.nextafter(maximum, np.inf)
    rows = []
    for i, counts in enumerate(histogram):
        below = np.concatenate([[0], np.cumsum(counts)])
        held = np.unique(np.searchsorted(below, ranks, side="right") - 1)
        edges = np.clip(bins["edges"][i], minimum[i], above[i])
        atoms = bins["atom_bin"][bins["atom_column"] == i]
        rows.append(_rows(i, edges, below, held, np.isin(held, atoms)))
    return _together(rows)


def _rows(column: int, edges: Floats, below: Integers, held: Integers, atom: Any) -> dict[str, Any]:
    return {
        "column": np.full(held.size, column), "low": edges[held], "high": edges[held + 1],
        "below": below[held], "count": below[held + 1] - below[held], "atom": atom,
    }  # fmt: skip


def _together(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate([row[name] for row in rows]) for name in NAMES}


def crowd(found: Brackets) -> int:
    """How many values a second drawing may have to keep: those of brackets with more than one value."""
    several = ~found["atom"] & (np.nextafter(found["low"], np.inf) < found["high"])
    return int(found["count"][several].sum())


def _of_columns(columns: Floats, found: Brackets) -> Iterator[tuple[Floats, Integers]]:
    for i, x in enumerate(columns):
        mine = np.flatnonzero(found["column"] == i)
        if mine.size:
            yield x, mine


def pick(columns: Floats, found: Brackets) -> Picked:
    """Distinct values of (k, n) columns that lie in brackets, with how often they occur.

    Returns
    -------
    dict of arrays
        ``place`` (number of the bracket), ``value``, ``number``, ordered by place and value.
    """
    places, values = [np.empty(0, np.int64)], [np.empty(0)]
    for x, mine in _of_columns(columns, found):
        near = np.searchsorted(found["low"][mine], x, side="right") - 1
        inside = (near >= 0) & (x < found["high"][mine][near])
        places.append(mine[near[inside]])
        values.append(x[inside])
    value = np.concatenate(values)
    return _distinct(np.concatenate(places), value, np.ones(value.size, np.int64))


def together(parts: Sequence[Mapping[str, Any]]) -> Picked:
    """Merge what was picked of several sets of values."""
    place, value, number = (
        np.concatenate([np.asarray(part[name]) for part in parts]) for name in ("place", "value", "number")
    )
    return _distinct(place, value, number)


def _distinct(place: Integers, value: Floats, number: Integers) -> Picked:
    value = value + 0.0  # one zero
    order = np.lexsort((value, place))
    place, value, number = place[order], value[order], number[order]
    if not place.size:
        return {"place": place, "value": value, "number": number}
    # Compared, since a difference may overflow.
    new = np.concatenate([[True], (place[1:] != place[:-1]) | (value[1:] != value[:-1])])
    return {"place": place[new], "value": value[new], "number": np.add.reduceat(number, np.flatnonzero(new))}


def finer(found: Brackets, parts: int = PARTS) -> list[Floats]:
    """Edges of finer bins for every bracket: so many that hold about equally many floating-point numbers."""
    return [
        _between(float(low), float(high), parts)
        for low, high in zip(found["low"], found["high"], strict=True)
    ]


def _between(low: float, high: float, parts: int) -> Floats:
    first, last = _order(np.array([low, high])).tolist()
    steps = min(parts, last - first)
    return _from_order(np.array([first + (last - first) * i // steps for i in range(steps + 1)]))


def _order(x: Floats) -> Integers:
    """Integers in the order of floating-point numbers, neighbours one apart."""
    bits = (x + 0.0).view(np.int64)
    return np.where(bits >= 0, bits, np.int64(-(2**63)) - bits)


def _from_order(order: Integers) -> Floats:
    return np.where(order >= 0, order, np.int64(-(2**63)) - order).view(np.float64)


def count_finer(columns: Floats, found: Brackets, parts: int = PARTS) -> Integers:
    """Count (k, n) columns in the `finer` bins, shape (brackets, parts); rows may end in zeros."""
    counts = np.zeros((found["low"].size, parts), np.int64)
    edges = finer(found, parts)
    for x, mine in _of_columns(columns, found):
        for bracket in mine:
            inside = x[(x >= found["low"][bracket]) & (x < found["high"][bracket])]
            place = np.searchsorted(edges[bracket], inside, side="right") - 1
            counts[bracket] += np.bincount(place, minlength=parts)
    return counts


def narrowed(found: Brackets, counts: Integers, ranks: Integers) -> dict[str, NDArray[Any]]:
    """Smaller brackets of the same ranks, from counts in the `finer` bins."""
    rows = []
    for bracket, edges in enumerate(finer(found, counts.shape[1])):
        below = found["below"][bracket] + np.concatenate([[0], np.cumsum(counts[bracket, : edges.size - 1])])
        mine = ranks[(ranks >= below[0]) & (ranks < below[-1])]
        held = np.unique(np.searchsorted(below, mine, side="right") - 1)
        atom = np.full(held.size, found["atom"][bracket])
        rows.append(_rows(int(found["column"][bracket]), edges, below, held, atom))
    return _together(rows)


def at_ranks(found: Brackets, picked: Mapping[str, Any], column: int, ranks: Integers) -> Floats:
    """Values of one column at wanted ranks, shape of `ranks`."""
    mine = np.flatnonzero(found["column"] == column)
    bracket = mine[np.searchsorted(found["below"][mine], ranks, side="right") - 1]
    start = np.searchsorted(picked["place"], np.arange(found["low"].size), side="left")
    before = np.concatenate([[0], np.cumsum(picked["number"])])
    within = ranks - found["below"][bracket] + before[start[bracket]]
    values: Floats = picked["value"][np.searchsorted(before, within, side="right") - 1]
    return values


def quantiles(
    found: Brackets, picked: Mapping[str, Any], k: int, n: int, fractions: Floats, deviate: float
) -> dict[str, Floats]:
    """Quantiles of k columns of n values, interpolated as `numpy.quantile` does, and their intervals.

    Returns
    -------
    dict of (m, k) float64 arrays
        ``value``, ``low``, ``high``, ``standard_error``: half the interval over its normal deviate.
    """
    at, low, high = wanted_ranks(n, fractions, deviate)
    share = fractions * (n - 1) - at
    columns = []
    for i in range(k):
        ranks = (at, np.minimum(at + 1, n - 1), low, high)
        left, right, below, above = (at_ranks(found, picked, i, some) for some in ranks)
        step = right - left
        value = np.where(share < 0.5, left + step * share, right - step * (1.0 - share))
        columns.append((value, below, above, (above - below) / (2.0 * deviate)))
    names = ("value", "low", "high", "standard_error")
    return {
        name: np.stack(part, axis=1) for name, part in zip(names, zip(*columns, strict=True), strict=True)
    }
