"""Points of the unit cube for one batch: plain, antithetic, stratified, Latin hypercube, scrambled Sobol.

Each batch is one randomised replicate: its points may depend on one another, batches do not. So the
standard error of every method but `plain` comes from the batch means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

METHODS = ("plain", "antithetic", "stratified", "latin_hypercube", "sobol")
SOBOL_DIMENSIONS = 21201  # of Joe and Kuo's direction numbers, which scipy ships


def points(rng: np.random.Generator, n: int, dimensions: int, method: str = "plain") -> Floats:
    """Uniform points of one batch.

    Parameters
    ----------
    rng : numpy.random.Generator
        Stream of the batch.
    n : int
        Number of points: even for ``antithetic``, a power of two for ``sobol``, m**dimensions for
        ``stratified``.
    dimensions : int
        Number of coordinates.
    method : str
        ``plain`` independent; ``antithetic`` n / 2 points u, then their mirror images 1 - u; ``stratified``
        one point in each of n equal cells of a grid; ``latin_hypercube`` one point in each of n slices along
        every axis; ``sobol`` a scrambled Sobol sequence (Owen 1998; scipy's left matrix scramble and shift).

    Returns
    -------
    (n, dimensions) float64 array
        In [0, 1).
    """
    if method == "plain":
        return np.asarray(rng.random((n, dimensions)))
    if method == "antithetic":
        half = rng.random((n // 2, dimensions))
        # 1 - u would reach 1 where u is 0.
        return np.concatenate([half, np.minimum(1.0 - half, 1.0 - 2.0**-53)])
    if method == "stratified":
        return _stratified(rng, n, dimensions)
    # Imported here because scipy.stats takes a second to load, and most runs do not need it.
    from scipy.stats import qmc

    if method == "latin_hypercube":
        return np.asarray(qmc.LatinHypercube(dimensions, rng=rng).random(n))
    if method == "sobol":
        return np.asarray(qmc.Sobol(dimensions, rng=rng, bits=52).random(n))
    raise ValueError(f"unknown method {method!r}; one of {', '.join(METHODS)}")


def _stratified(rng: np.random.Generator, n: int, dimensions: int) -> Floats:
    side = strata_side(n, dimensions)
    cell = np.stack(np.unravel_index(np.arange(n), (side,) * dimensions), axis=1)
    return np.minimum((cell + rng.random((n, dimensions))) / side, 1.0 - 2.0**-53)


def strata_side(n: int, dimensions: int) -> int:
    """Cells along an axis of the grid of n cells; 0 if n is no such power."""
    side = round(n ** (1.0 / dimensions))
    return next((s for s in (side - 1, side, side + 1) if s > 0 and s**dimensions == n), 0)


def fault(n: int, dimensions: int, method: str) -> str:
    """Say what is wrong with a batch size for a method; empty if nothing is."""
    if method == "antithetic" and n % 2:
        return "antithetic batches hold pairs: the batch size must be even"
    if method == "sobol" and (n & (n - 1)):
        return f"a Sobol batch must hold a power of two of points, such as {1 << (n.bit_length() - 1)}"
    if method == "sobol" and dimensions > SOBOL_DIMENSIONS:
        return f"Sobol sequences exist for at most {SOBOL_DIMENSIONS} dimensions"
    if method == "stratified" and not strata_side(n, dimensions):
        side = max(int(n ** (1.0 / dimensions)), 1)
        return f"a stratified batch must hold m**{dimensions} points, such as {side**dimensions}"
    return ""
