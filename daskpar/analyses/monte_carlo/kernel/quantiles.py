"""Quantiles with their intervals from integer counts in fixed bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bins = dict[str, Any]


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of k columns at m fractions, each array of shape (m, k).

    Attributes
    ----------
    value : the quantile, interpolated within its bin
    low, high : interval from the binomial distribution of the rank
    standard_error : half the interval over the normal deviate of its confidence
    bin_width : width of the bin that holds the quantile; 0 where batch 0 has a single repeated value there
    """

    value: Floats
    low: Floats
    high: Floats
    standard_error: Floats
    bin_width: Floats


def from_histogram(
    histogram: NDArray[np.int64],
    bins: Bins,
    minimum: Floats,
    maximum: Floats,
    fractions: Floats,
    deviate: float,
) -> Quantiles:
    """Quantiles of the counted values.

    Parameters
    ----------
    histogram : (k, bins + 2) int64 array
        Counts.
    bins : dict of arrays
        From `histogram.make_bins`.
    minimum, maximum : (k,) float64 arrays
        Extremes, the outer limits of the first and last bins that hold anything.
    fractions : (m,) float64 array
        Between 0 and 1.
    deviate : float
        Normal deviate of the confidence of the intervals: 1.96 for 95 %.
    """
    columns = [
        _one_column(
            histogram[i], _limits(bins["edges"][i], minimum[i], maximum[i]), atoms, fractions, deviate
        )
        for i, atoms in enumerate(_atoms_of_columns(bins, histogram.shape[0]))
    ]
    return Quantiles(*(np.stack(part, axis=1) for part in zip(*columns, strict=True)))


def _limits(edges: Floats, minimum: float, maximum: float) -> Floats:
    return np.clip(edges, minimum, maximum)


def _atoms_of_columns(bins: Bins, k: int) -> list[dict[int, float]]:
    atoms: list[dict[int, float]] = [{} for _ in range(k)]
    for column, place, value in zip(bins["atom_column"], bins["atom_bin"], bins["atom_value"], strict=True):
        atoms[int(column)][int(place)] = float(value)
    return atoms


def _one_column(
    counts: NDArray[np.int64], limits: Floats, atoms: dict[int, float], fractions: Floats, deviate: float
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    total = np.concatenate([[0], np.cumsum(counts)])
    n = int(total[-1])
    spread = deviate * np.sqrt(n * fractions * (1.0 - fractions))

    def at(ranks: Floats) -> tuple[Floats, Floats]:
        found = [_at_rank(float(rank), total, limits, atoms) for rank in np.clip(ranks, 0.0, n)]
        return np.array([value for value, _ in found]), np.array([width for _, width in found])

    value, width = at(n * fractions)
    low, high = at(n * fractions - spread)[0], at(n * fractions + spread)[0]
    return value, low, high, (high - low) / (2.0 * deviate), width


def _at_rank(
    rank: float, total: NDArray[np.int64], limits: Floats, atoms: dict[int, float]
) -> tuple[float, float]:
    """Value below which `rank` samples lie, and the width of its bin."""
    # The first bin at whose end at least `rank` samples, and at least one, have been counted.
    place = int(np.searchsorted(total, max(rank, 0.5), side="left")) - 1
    if place in atoms:
        return atoms[place], 0.0
    low, high = float(limits[place]), float(limits[place + 1])
    share = (rank - float(total[place])) / float(total[place + 1] - total[place])
    return low + share * (high - low), high - low
