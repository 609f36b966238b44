"""Random points in a survey mask: its area as a trial, and catalogs for pair counts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import pcg, sphere, streams
from daskpar.errors import RecipeError

Floats = NDArray[np.float64]
_SKY = 41252.96124941928  # square degrees: 4 pi (180 / pi)^2


@dataclass(frozen=True)
class Box:
    """Right ascensions from `ra[0]` east to `ra[1]`, declinations from `dec[0]` to `dec[1]`, in degrees."""

    ra: tuple[float, float]
    dec: tuple[float, float]


@dataclass(frozen=True)
class Circle:
    """Directions within `radius` of a centre, all in degrees."""

    ra: float
    dec: float
    radius: float


@dataclass(frozen=True)
class SurveyMask:
    """A footprint on the sky: what any of the areas covers and no hole does. As a trial, its area.

    The trial is the area of the whole sky, in square degrees, where a random direction lies in the mask,
    else 0: its mean is the area of the mask.

    Parameters
    ----------
    areas, holes : tuple of Box or Circle
    """

    areas: tuple[Box | Circle, ...]
    holes: tuple[Box | Circle, ...] = ()
    values: ClassVar[tuple[float, float]] = (0.0, _SKY)
    same_bits: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 1
    unit: ClassVar[str] = "deg2"
    seconds_per_sample: ClassVar[float] = 3e-8

    def __post_init__(self) -> None:
        if not self.areas:
            raise RecipeError("the mask covers nothing", "give at least one area", key="areas")
        for shape in (*self.areas, *self.holes):
            _check(shape)

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        return {"survey_area": [[repr(shape) for shape in group] for group in (self.areas, self.holes)]}

    @cached_property
    def _caps(self) -> tuple[Floats, NDArray[np.int64], NDArray[np.bool_]]:
        caps, region, hole = [], [], []
        pieces = [(part, False) for shape in self.areas for part in _parts(shape)]
        pieces += [(part, True) for shape in self.holes for part in _parts(shape)]
        for number, (part, cut) in enumerate(pieces):
            caps += part
            region += [number] * len(part)
            hole.append(cut)
        return np.array(caps).reshape(-1, 4), np.array(region, np.int64), np.array(hole, np.bool_)

    def contains(self, vectors: Floats) -> NDArray[np.bool_]:
        """Whether unit vectors (n, 3) lie in the mask, shape (n,)."""
        return sphere.inside(np.ascontiguousarray(vectors, dtype=np.float64), *self._caps)

    def hits(self, rng: np.random.Generator, n: int) -> int:
        """How many of n random directions lie in the mask."""
        return int(np.count_nonzero(self.contains(sphere.directions(pcg.words_at(rng), n))))

    def __call__(self, rng: np.random.Generator, n: int) -> Floats:
        """Area of the sky or 0, for n random directions."""
        return np.where(self.contains(sphere.directions(pcg.words_at(rng), n)), _SKY, 0.0)


def random_catalog(mask: SurveyMask, n: int, seed: int, batch_size: int = 65536) -> Floats:
    """Random directions in a mask, uniform by solid angle.

    Parameters
    ----------
    mask : SurveyMask
    n : int
        How many.
    seed : int
    batch_size : int
        Directions on the whole sky a batch, of which those in the mask are kept in order. It belongs to the
        definition of the numbers; a longer catalog begins with the shorter one.

    Returns
    -------
    (n, 3) float64 array
        Unit vectors; multiply by distances for pair counts in space, or see `longitude_latitude`.

    Raises
    ------
    RecipeError
        If 64 batches in a row hold no direction in the mask.
    """
    kept: list[Floats] = []
    found, batch, empty = 0, 0, 0
    while found < n:
        vectors = sphere.directions(pcg.words_at(streams.generator(seed, batch)), batch_size)
        inside = vectors[mask.contains(vectors)]
        kept.append(inside[: n - found])
        found, batch, empty = found + len(inside), batch + 1, 0 if len(inside) else empty + 1
        if empty == 64:
            raise RecipeError(
                f"none of {64 * batch_size} random directions lies in the mask",
                "check its corners",
                key="areas",
            )
    return np.concatenate(kept) if kept else np.empty((0, 3))


def longitude_latitude(vectors: Floats) -> Floats:
    """Longitude in [0, 360) and latitude of unit vectors, in degrees, shape (n, 2)."""
    longitude = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360.0
    latitude = np.degrees(np.arctan2(vectors[:, 2], np.hypot(vectors[:, 0], vectors[:, 1])))
    return np.stack([longitude, latitude], axis=1)


def _check(shape: Box | Circle) -> None:
    if isinstance(shape, Box):
        width, (south, north) = shape.ra[1] - shape.ra[0], shape.dec
        if not (0.0 < width <= 360.0 and -90.0 <= south < north <= 90.0):
            raise RecipeError(
                f"{shape} is no area", "ra must rise by at most 360, dec within -90 and 90", key="areas"
            )
    elif not (-90.0 <= shape.dec <= 90.0 and 0.0 < shape.radius <= 180.0 and np.isfinite(shape.ra)):
        raise RecipeError(
            f"{shape} is no area", "dec within -90 and 90, radius within 0 and 180", key="areas"
        )


def _parts(shape: Box | Circle) -> list[list[list[float]]]:
    """Intersections of caps whose union is the shape: a box wider than 180 degrees is two."""
    if isinstance(shape, Circle):
        return [[[*_vector(shape.ra, shape.dec), float(np.cos(np.radians(shape.radius)))]]]
    west, east = shape.ra
    if east - west > 180.0:
        middle = 0.5 * (west + east)
        return [*_parts(Box((west, middle), shape.dec)), *_parts(Box((middle, east), shape.dec))]
    caps = [[*_vector(west + 90.0, 0.0), 0.0], [*_vector(east - 90.0, 0.0), 0.0]]
    south, north = (float(np.sin(np.radians(dec))) for dec in shape.dec)
    return [[*caps, [0.0, 0.0, 1.0, south], [0.0, 0.0, -1.0, -north]]]


def _vector(ra: float, dec: float) -> list[float]:
    a, d = np.radians(ra), np.radians(dec)
    return [float(np.cos(d) * np.cos(a)), float(np.cos(d) * np.sin(a)), float(np.sin(d))]
