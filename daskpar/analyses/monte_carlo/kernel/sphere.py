"""Random directions and survey masks in Cartesian components, without a circular function."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel.pcg import next_double

Floats = NDArray[np.float64]


@njit(nogil=True, cache=True)
def directions(words: NDArray[np.uint64], n: int) -> Floats:
    """N unit vectors, uniform on the sphere, shape (n, 3): Marsaglia (1972), doi:10.1214/aoms/1177692644."""
    high, low, step_high, step_low = words[0], words[1], words[2], words[3]
    found = np.empty((n, 3))
    for i in range(n):
        s = 2.0
        while s >= 1.0:
            u, high, low = next_double(high, low, step_high, step_low)
            v, high, low = next_double(high, low, step_high, step_low)
            u, v = 2.0 * u - 1.0, 2.0 * v - 1.0
            s = u * u + v * v
        root = 2.0 * np.sqrt(1.0 - s)
        found[i, 0], found[i, 1], found[i, 2] = u * root, v * root, 1.0 - 2.0 * s
    return found


@njit(nogil=True, cache=True)
def inside(
    vectors: Floats, caps: Floats, region: NDArray[np.int64], hole: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which directions lie in the mask.

    Parameters
    ----------
    vectors : (n, 3) float64 array
    caps : (c, 4) float64 array
        x, y, z and h: the side of a plane ``x X + y Y + z Z >= h``. A direction lies in a region if it lies
        in all its caps.
    region : (c,) int64 array
        Region of each cap, ascending from 0.
    hole : (regions,) bool array
        Regions that are cut out of the union of the others.
    """
    found = np.zeros(vectors.shape[0], np.bool_)
    for i in range(vectors.shape[0]):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        covered, cut, c = False, False, 0
        for r in range(hole.size):
            here = True
            while c < region.size and region[c] == r:
                here = here and (x * caps[c, 0] + y * caps[c, 1]) + z * caps[c, 2] >= caps[c, 3]
                c += 1
            cut = cut or (here and hole[r])
            covered = covered or (here and not hole[r])
        found[i] = covered and not cut
    return found
