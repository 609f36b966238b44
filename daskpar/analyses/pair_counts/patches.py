"""Patches: a catalog divided into regions for errors from within. The same for the same input, always."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE_PER_PATCH = 500
"""Points per patch from which centres are found; more would move them by little."""
ROUNDS = 50


def patch_centres(positions: Floats, n_patches: int, seed: int = 0) -> Floats:
    """Centres of patches of about equal extent, by k-means (Lloyd 1982, begun as k-means++).

    Parameters
    ----------
    positions : float64, shape (n, 3)
        Cartesian; unit vectors divide the sky. Usually of the randoms, which fill the survey evenly.
    n_patches : int
    seed : int

    Returns
    -------
    float64, shape (n_patches, 3)
        Not normalised: what counts is which is nearest.

    Raises
    ------
    ValueError
        Fewer different positions than patches.
    """
    rng = np.random.default_rng(seed)
    size = min(len(positions), SAMPLE_PER_PATCH * n_patches)
    sample = positions[np.sort(rng.permutation(len(positions))[:size])]
    centres = _spread(sample, n_patches, rng)
    for _ in range(ROUNDS):
        nearest = assign_patches(sample, centres)
        number = np.bincount(nearest, minlength=n_patches)
        sums = [np.bincount(nearest, sample[:, axis], n_patches) for axis in range(3)]
        moved = np.where(
            number[:, None] > 0, np.stack(sums, axis=1) / np.maximum(number, 1)[:, None], centres
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _spread(sample: Floats, n: int, rng: np.random.Generator) -> Floats:
    """First centres: each drawn with a chance that grows as the squared distance from those before it."""
    chosen = [int(rng.integers(len(sample)))] if len(sample) else []
    distance = np.full(len(sample), np.inf)
    while len(chosen) < n:
        if chosen:
            distance = np.minimum(distance, ((sample - sample[chosen[-1]]) ** 2).sum(axis=1))
        reached = np.cumsum(distance)
        if len(sample) == 0 or not reached[-1] > 0:
            raise ValueError(f"{len(chosen)} different positions cannot be divided into {n} patches")
        chosen.append(int(np.searchsorted(reached, rng.random() * reached[-1], side="right")))
    return sample[chosen]


def assign_patches(positions: Floats, centres: Floats) -> Ints:
    """Find the number of the nearest centre of each point, shape (n,).

    Parameters
    ----------
    positions : float64, shape (n, 3)
    centres : float64, shape (n_patches, 3)
    """
    nearest: Any = cKDTree(centres).query(positions)[1]
    return np.asarray(nearest, dtype=np.int64)


def grid_patches(positions: Floats, low: Floats, high: Floats, shape: tuple[int, int, int]) -> Ints:
    """Find the box of a regular grid that each point lies in: its number, shape (n,).

    Parameters
    ----------
    positions : float64, shape (n, 3)
    low, high : float64, shape (3,)
        Corners of the grid; points beyond belong to the outermost boxes.
    shape : 3 ints
        Boxes along x, y and z. 1 along the line of sight makes columns.
    """
    numbers = np.asarray(shape)
    place = (positions - low) / (np.asarray(high) - low) * numbers
    boxes = np.clip(place.astype(np.int64), 0, numbers - 1)
    return np.asarray(np.ravel_multi_index(tuple(boxes.T), shape), dtype=np.int64)
