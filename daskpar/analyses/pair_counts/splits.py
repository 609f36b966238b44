"""Randoms split into several samples, so that their own pairs cost less.

With many more randoms than data nearly all time goes into RR, the smoothest of the counts. Keihänen et al.
(2019, A&A 631, A73) split the randoms into M samples, count the pairs inside each, add these up, and divide
by the number of all pairs inside samples: RR = Σ_k RR_k / Σ_k ((Σw)² - Σw²)_k. That is 1/M of the pairs, at
next to no loss, as the pairs of data and randoms dominate the error and are still counted with all randoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Increments and factors of the generator splitmix64 (Steele, Lea & Flood 2014), here to mix bits.
_GAMMA, _FIRST, _SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def split_numbers(positions: NDArray[np.float64], splits: int) -> NDArray[np.int64]:
    """Return which sample each point belongs to, from its coordinates: shape (n,).

    As good as drawn, whatever the order of a file, and the same however a catalog is cut into pieces.

    Parameters
    ----------
    positions : float64, shape (n, 3)
    splits : int
    """
    # + 0.0: minus zero is zero.
    bits = np.ascontiguousarray(np.asarray(positions, np.float64) + 0.0).view(np.uint64)
    mixed = np.zeros(len(bits), np.uint64)
    for axis in range(bits.shape[1]):
        mixed = _mix(mixed ^ bits[:, axis])
    return np.asarray((mixed >> np.uint64(11)) % np.uint64(splits), np.int64)


def _mix(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    numbers = numbers + _GAMMA
    numbers = (numbers ^ (numbers >> np.uint64(30))) * _FIRST
    numbers = (numbers ^ (numbers >> np.uint64(27))) * _SECOND
    return numbers ^ (numbers >> np.uint64(31))


def part_of(piece: Mapping[str, Any], number: int, splits: int) -> dict[str, Any]:
    """Return the points of a piece that belong to one of the samples."""
    arrays = {name: piece[name] for name in piece}
    chosen = split_numbers(arrays["positions"], splits) == number
    return {name: array[chosen] for name, array in arrays.items()}


def split_letters(splits: int) -> list[str]:
    """Return the names of the samples of split randoms: ``r0``, ``r1``, …; none where they are whole."""
    return [f"r{number}" for number in range(splits)] if splits > 1 else []


def whole(name: str) -> str:
    """Return the name of the count that a count belongs to: ``rr`` of ``rr3``."""
    return name.rstrip("0123456789")


def whole_names(names: Sequence[str]) -> list[str]:
    """Return the names of counts, those of split randoms as one."""
    return list(dict.fromkeys(map(whole, names)))
