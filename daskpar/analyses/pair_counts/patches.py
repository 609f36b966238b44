"""Patches: a catalog divided into regions for errors from within. The same for the same input, always."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from daskpar.errors import RecipeError

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


def grid_centres(pieces: Iterable[Floats], low: Floats, high: Floats, shape: tuple[int, int, int]) -> Floats:
    """Find the centres of the boxes of a regular grid: the nearest centre is that of the box around a point.

    Parameters
    ----------
    pieces : float64 arrays, shapes (n, 3)
        Positions, all of which lie between the corners.
    low, high : float64, shape (3,)
        Corners of the grid.
    shape : 3 ints
        Boxes along x, y and z. 1 along the line of sight makes columns.

    Returns
    -------
    float64, shape (boxes, 3)
        The number along z varies fastest.

    Raises
    ------
    daskpar.errors.RecipeError
        A box without any point: leaving it out would change nothing, and errors would come out too small.
    """
    centres = box_centres(low, high, shape)
    refuse_empty(points_in(pieces, centres))
    return centres


def box_centres(low: Floats, high: Floats, shape: tuple[int, int, int]) -> Floats:
    """Return the centres of the boxes of a grid; see `grid_centres`."""
    middle = [a + (b - a) * (np.arange(n) + 0.5) / n for a, b, n in zip(low, high, shape, strict=True)]
    return np.stack(np.meshgrid(*middle, indexing="ij"), axis=-1).reshape(-1, 3)


def points_in(pieces: Iterable[Floats], centres: Floats) -> Ints:
    """Count the points that are nearest to each centre."""
    found = np.zeros(len(centres), np.int64)
    for positions in pieces:
        found += np.bincount(assign_patches(positions, centres), minlength=len(centres))
    return found


def refuse_empty(found: Ints) -> None:
    """Raise where a patch holds no point."""
    empty = int((found == 0).sum())
    if empty:
        raise RecipeError(
            f"{empty} of the {len(found)} boxes of the grid hold no point",
            "choose fewer boxes, or n_patches for patches that follow the points",
            key="patch_grid",
        )
