"""Random points in a survey mask, written once to the scratch folder of a run: randoms of `correlation`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from daskpar.analyses.monte_carlo.options import BoxOptions, CircleOptions
from daskpar.atomic import replacing

Floats = NDArray[np.float64]
Range = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(gt=0)]]
_RADIAL = 1  # stream (1,) of the seed; the directions have those of `random_catalog`


class MaskedRandoms(BaseModel):
    """Uniform random points in what any of the areas covers and no hole does."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    areas: tuple[BoxOptions | CircleOptions, ...] = Field(
        min_length=1, description="What is covered", examples=[[{"ra": [0, 10], "dec": [0, 10]}]]
    )
    holes: tuple[BoxOptions | CircleOptions, ...] = Field((), description="What is cut out")
    n_points: int = Field(100_000, ge=1, le=100_000_000, description="How many")
    seed: int = Field(0, ge=0, description="Seed of the points")
    redshift: Range | None = Field(None, description="Limits; with a density that grows as z**2")
    distance: Range | None = Field(None, description="Or limits of distance; uniform in volume")

    @model_validator(mode="after")
    def _one_depth(self) -> Self:
        if self.redshift is not None and self.distance is not None:
            raise ValueError("names redshift and distance; keep one, or none for angles")
        for limits in (self.redshift, self.distance):
            if limits is not None and not limits[0] < limits[1]:
                raise ValueError("limits must rise")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """Columns of the file, by role."""
        depth = [name for name in ("redshift", "distance") if getattr(self, name) is not None]
        return {name: name for name in ("ra", "dec", *depth)}


def write_masked(spec: MaskedRandoms, folder: Path) -> str:
    """Write the points as Parquet unless they are there already, and return the path.

    Raises
    ------
    daskpar.errors.RecipeError
        The mask covers nothing.
    """
    import pyarrow as pa
    from pyarrow import parquet

    from daskpar.analyses.monte_carlo.planning import mask_of
    from daskpar.analyses.monte_carlo.trials.survey import longitude_latitude, random_catalog

    path = folder / "masked.parquet"
    if path.exists():
        return str(path)
    angles = longitude_latitude(random_catalog(mask_of(spec.areas, spec.holes), spec.n_points, spec.seed))
    columns = {"ra": angles[:, 0], "dec": angles[:, 1]}
    for name in ("redshift", "distance"):
        limits = getattr(spec, name)
        if limits is not None:
            columns[name] = depths(spec.seed, spec.n_points, limits)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        parquet.write_table(
            pa.table({name: np.ascontiguousarray(x) for name, x in columns.items()}), temporary
        )
    return str(path)


def depths(seed: int, n: int, limits: tuple[float, float]) -> Floats:
    """Draw n numbers with a density that grows as their square, by rejection: no cube root."""
    rng = np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(_RADIAL, 0))))
    low, high = limits
    kept: list[Floats] = []
    found = 0
    while found < n:
        numbers = rng.random((max(n, 1024), 2))
        x = low + (high - low) * numbers[:, 0]
        inside = x[numbers[:, 1] < (x / high) * (x / high)][: n - found]
        kept.append(inside)
        found += inside.size
    return np.concatenate(kept)
