"""Medians and ratios of medians with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from daskpar.comparison.timing import Timing, counted

DRAWS = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """Width of the interval, relative to the number."""
        return (self.high - self.low) / self.value if self.value else float("inf")


@dataclass(frozen=True)
class Ratio:
    """Median time of a version over that of another, with the same number of workers.

    Attributes
    ----------
    version, base : str
    workers : int
    ratio, low, high : float
        With its 95 % interval.
    repeats : int
        Of which it is made.
    """

    version: str
    base: str
    workers: int
    ratio: float
    low: float
    high: float
    repeats: int

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1, and there are enough repeats for an interval to say anything."""
        return self.repeats >= 5 and not self.low <= 1.0 <= self.high


def median_interval(values: ArrayLike, seed: int = 0) -> Interval:
    """Return the median and its percentile bootstrap interval; the same each time."""
    data = np.asarray(values, np.float64)
    middle = float(np.median(data))
    if data.size < 2:
        return Interval(middle, middle, middle)
    drawn = np.random.default_rng(seed).integers(0, data.size, (DRAWS, data.size))
    low, high = _percentiles(np.median(data[drawn], axis=1))
    return Interval(middle, low, high)


def ratio_interval(above: ArrayLike, below: ArrayLike, seed: int = 0) -> Interval:
    """Return the ratio of the medians and its interval.

    Parameters
    ----------
    above, below : sequences of float
        Seconds, of the same rounds in the same order: whole rounds are drawn, so that what slowed both
        versions down in one round cancels.
    seed : int
        Of the bootstrap.
    """
    one, other = np.asarray(above, np.float64), np.asarray(below, np.float64)
    value = float(np.median(one) / np.median(other))
    if one.size < 2:
        return Interval(value, value, value)
    drawn = np.random.default_rng(seed).integers(0, one.size, (DRAWS, one.size))
    low, high = _percentiles(np.median(one[drawn], axis=1) / np.median(other[drawn], axis=1))
    return Interval(value, low, high)


def _percentiles(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> tuple[float, float]:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def times(timings: Sequence[Timing], version: str, workers: int) -> dict[int, float]:
    """Return the seconds of work of a version by round."""
    return {
        one.repeat: one.work for one in counted(timings) if (one.version, one.workers) == (version, workers)
    }


def all_ratios(timings: Sequence[Timing], base: str) -> list[Ratio]:
    """Return the ratio of `base` to every other version, for each number of workers that both have."""
    good = counted(timings)
    found = []
    for version, workers in sorted({(one.version, one.workers) for one in good}):
        one, other = times(good, base, workers), times(good, version, workers)
        rounds = sorted(one.keys() & other.keys())
        if version == base or not rounds:
            continue
        made = ratio_interval([one[n] for n in rounds], [other[n] for n in rounds])
        found.append(Ratio(base, version, workers, made.value, made.low, made.high, len(rounds)))
    return found
