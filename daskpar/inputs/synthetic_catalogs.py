"""Seeded catalogs with a known truth: uniform or clustered boxes, cut like a survey, and skies.

Points come in chunks, each from its own stream of the seed, so any part can be made alone and none is stored.
Values are made with + - * / sqrt, comparisons and deviates that have the same bits on every CPU.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from daskpar.inputs.catalog_record import Column, Floats, Table

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

#: Points of a chunk; part of the definition of the numbers.
CHUNK = 1 << 16
#: Streams of the seed: chunk i has stream (0, i), the centres of the clusters have (1,).
_POINTS, _CENTRES = 0, 1
# Taylor series of the cosine up to x^20: below 1e-15 for |x| up to pi / 2.
_COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(11))


class SyntheticCatalog(BaseModel):
    """What to simulate.

    ``uniform``: independent points in a box. ``clustered``: each point belongs to one of `n_clusters`
    uniform centres, at a distance that is Gaussian with `cluster_sigma` on each axis, in a periodic box;
    see `expected_pairs` for the truth. ``sky``: directions uniform on the sphere within a band, and
    redshifts with a density ∝ z².
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["uniform", "clustered", "sky"] = "uniform"
    n_points: Annotated[int, Field(ge=1, le=10_000_000_000)] = 100_000
    seed: Annotated[int, Field(ge=0)] = 1
    boxsize: Annotated[Positive, Field(description="side of the box")] = 500.0
    n_clusters: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    cluster_sigma: Annotated[Positive, Field(description="size of a cluster, on each axis")] = 3.0
    survey: Annotated[
        bool,
        Field(description="keep only what an observer at the origin sees in a shell, with holes in the mask"),
    ] = False
    ra: Annotated[tuple[float, float], Field(description="degrees, sky only")] = (120.0, 240.0)
    dec: Annotated[tuple[float, float], Field(description="degrees, sky only")] = (0.0, 60.0)
    redshift: Annotated[tuple[float, float], Field(description="sky only")] = (0.4, 0.7)

    @model_validator(mode="after")
    def _ordered(self) -> SyntheticCatalog:
        for name, low, high in (("ra", -180.0, 360.0), ("dec", -90.0, 90.0), ("redshift", 0.0, 1e4)):
            first, last = getattr(self, name)
            if not low <= first < last <= high:
                raise ValueError(f"{name} must be two increasing numbers from {low:g} to {high:g}")
        if self.survey and self.kind == "sky":
            raise ValueError("survey cuts boxes; a sky has its limits in ra, dec and redshift")
        return self


def scan_synthetic(spec: SyntheticCatalog) -> Table:
    """Describe a synthetic catalog as a table; a survey keeps what its mask leaves, so its rows are fewer."""
    # The source of the simulation belongs to it: another version makes other points.
    code = inspect.getsource(sys.modules[__name__])
    digest = hashlib.blake2b(f"{code} {spec.model_dump_json()}".encode(), digest_size=16).hexdigest()
    return Table("", "synthetic", tuple(map(Column, column_names(spec))), digest, spec.n_points, details=spec)


def column_names(spec: SyntheticCatalog) -> tuple[str, str, str]:
    """Return the names of the columns that `generate` makes."""
    return ("ra", "dec", "redshift") if spec.kind == "sky" else ("x", "y", "z")


def generate(spec: SyntheticCatalog, start: int, stop: int) -> list[Floats]:
    """Make points ``start`` to ``stop``, whole chunks at a time; with a survey, those of them that it sees.

    Returns
    -------
    list of 3 float64 arrays (n,)
        x, y, z in [0, boxsize), or RA and Dec in degrees and redshifts.
    """
    parts = []
    for chunk in range(start // CHUNK, -(-stop // CHUNK)):
        first = chunk * CHUNK
        points = _chunk(spec, chunk, min(CHUNK, spec.n_points - first))
        points = points[max(start - first, 0) : stop - first]
        parts.append(points[seen(points / spec.boxsize)] if spec.survey else points)
    together = np.concatenate([np.empty((0, 3)), *parts])
    return [np.ascontiguousarray(together[:, k]) for k in range(3)]


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream)))


def _chunk(spec: SyntheticCatalog, chunk: int, n: int) -> Floats:
    rng = _generator(spec.seed, _POINTS, chunk)
    if spec.kind == "sky":
        return _sky(spec, rng, n)
    if spec.kind == "uniform":
        return _wrapped(rng.random((n, 3)) * spec.boxsize, spec.boxsize)
    centres = _centres(spec.seed, spec.n_clusters)
    points = centres[rng.integers(0, spec.n_clusters, n)] * spec.boxsize
    points += rng.standard_normal((n, 3)) * spec.cluster_sigma
    return _wrapped(points, spec.boxsize)


@lru_cache(maxsize=4)
def _centres(seed: int, n: int) -> Floats:
    centres = _generator(seed, _CENTRES).random((n, 3))
    centres.flags.writeable = False
    return centres


def _wrapped(points: Floats, side: float) -> Floats:
    points -= side * np.floor(points / side)
    points[(points >= side) | (points < 0)] = 0.0  # what rounding put onto the edge
    return points


def seen(points: Floats) -> Any:
    """Whether an observer at the origin sees points of the unit cube: a shell with round holes.

    Parameters
    ----------
    points : float64, shape (n, 3)
        In units of the box.

    Returns
    -------
    bool, shape (n,)
        True at distances 0.45 to 0.95, but not within about 4 degrees of eight "bright stars".
    """
    squared = points[:, 0] * points[:, 0] + points[:, 1] * points[:, 1] + points[:, 2] * points[:, 2]
    kept = (squared >= 0.45 * 0.45) & (squared < 0.95 * 0.95)
    for star in _centres(0, 8):
        length = math.sqrt(star[0] * star[0] + star[1] * star[1] + star[2] * star[2])
        along = (points[:, 0] * star[0] + points[:, 1] * star[1] + points[:, 2] * star[2]) / length
        kept &= along * along < 0.995 * squared
    return kept


def _sky(spec: SyntheticCatalog, rng: np.random.Generator, n: int) -> Floats:
    """Draw by rejection: no inverse sine, no cube root."""
    found = np.empty((n, 3))
    limits = np.array([spec.ra, spec.dec, spec.redshift])
    have = 0
    while have < n:
        numbers = rng.random((n, 5))
        points = limits[:, 0] + numbers[:, :3] * (limits[:, 1] - limits[:, 0])
        angle = points[:, 1] * (math.pi / 180)
        depth = points[:, 2] / spec.redshift[1]
        kept = points[(numbers[:, 3] < _cosine(angle)) & (numbers[:, 4] < depth * depth)][: n - have]
        found[have : have + len(kept)] = kept
        have += len(kept)
    return found


def _cosine(angle: Floats) -> Floats:
    squared = angle * angle
    total = np.full_like(angle, _COSINE[-1])
    for coefficient in _COSINE[-2::-1]:
        total = total * squared + coefficient
    return total


def expected_pairs(spec: SyntheticCatalog, edges: Floats) -> Floats:
    """Return the expected numbers of ordered pairs of a periodic box, without survey; exact for sizes ≪ box.

    Two points share a centre with probability 1/n_clusters; their separation is then Gaussian with
    ``cluster_sigma * sqrt(2)`` on each axis (Neyman & Scott 1958), else the pair is uniform in the box.

    Parameters
    ----------
    spec : SyntheticCatalog
        ``uniform`` or ``clustered``.
    edges : float64, shape (n + 1,)
        Separations, up to half the box.

    Returns
    -------
    float64, shape (n,)
    """
    edges = np.asarray(edges, float)
    pairs = float(spec.n_points) * (spec.n_points - 1)
    uniform = np.diff(4 / 3 * np.pi * edges * edges * edges) / spec.boxsize**3
    if spec.kind == "uniform":
        return pairs * uniform
    scaled = edges / (2 * spec.cluster_sigma)
    error = np.array([math.erf(value) for value in scaled])
    within = error - 2 / math.sqrt(math.pi) * scaled * np.exp(-scaled * scaled)
    return pairs * ((1 - 1 / spec.n_clusters) * uniform + np.diff(within) / spec.n_clusters)
