"""Made-up points with weights in a grid of patches, for comparisons with other programs."""

import numpy as np

from daskpar.analyses.pair_counts.resampling import patch_weights

EDGES = np.geomspace(1.0, 16.0, 5)
GRID = (2, 2, 2)


def weighted_samples():
    """Data in 60 clusters and unclustered randoms in a box of 60, each with weights."""
    rng = np.random.default_rng(11)
    centres = rng.random((60, 3)) * 60
    data = (centres[rng.integers(0, 60, 400)] + rng.random((400, 3)) * 6) % 60
    return (data, 0.5 + rng.random(400)), (rng.random((900, 3)) * 60, 0.5 + rng.random(900))


def patch_numbers(points, randoms):
    """Number the box of the grid over the randoms in which each point lies."""
    low, high = randoms.min(axis=0), randoms.max(axis=0)
    box = np.clip(((points - low) / (high - low) * GRID).astype(int), 0, np.array(GRID) - 1)
    return np.ravel_multi_index(tuple(box.T), GRID)


def with_self_pairs(*arguments):
    """Σw and 0 for Σw² of each patch: TreeCorr divides by all pairs, each point with itself included."""
    first, second = patch_weights(*arguments)
    return first, 0 * second
