"""Pair counts and two-point correlation functions of catalogs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from daskpar.analyses.pair_counts.masked import MaskedRandoms, write_masked
from daskpar.analyses.pair_counts.preview import preview
from daskpar.analysis import Analysis, Where
from daskpar.errors import RecipeError
from daskpar.inputs.synthetic_catalogs import SyntheticCatalog

if TYPE_CHECKING:
    import xarray as xr

    from daskpar.analyses.pair_counts.kernel.binning import Binning
    from daskpar.inputs.catalogs import Catalog

FilePattern = Annotated[str, Field(min_length=1, max_length=4096)]
Files = FilePattern | tuple[FilePattern, ...]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Source(_Settings):
    files: Files | None = Field(
        None,
        description="FITS tables, Parquet, ECSV, CSV, HDF5 or .npy files, with patterns",
        examples=["data/galaxies*.parquet"],
    )
    synthetic: SyntheticCatalog | None = Field(None, description="Seeded artificial points with known truth")
    columns: dict[str, str] | None = Field(
        None,
        description="Columns by role: x, y, z or ra, dec, redshift or distance; weight",
        examples=[{"ra": "RA", "dec": "DEC", "redshift": "Z", "weight": "WEIGHT"}],
    )
    hdu: int | str | None = Field(None, description="HDU of FITS files; default: the first binary table")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.files is not None and self.synthetic is not None:
            raise ValueError("names files and synthetic; keep one source")
        return self


class SampleInputs(_Source):
    """Another catalog."""

    mask: MaskedRandoms | None = Field(None, description="Uniform random points in a survey mask")

    @model_validator(mode="after")
    def _mask_alone(self) -> Self:
        if self.mask is not None and (self.files is not None or self.synthetic is not None or self.columns):
            raise ValueError("a mask makes its own points and columns; keep one source")
        return self


class PairInputs(_Source):
    """Inputs of the analysis `pair_counts`: the data, and what they are paired or compared with."""

    randoms: SampleInputs | None = Field(
        None, description="Unclustered points in the same volume; for bare counts, the second sample"
    )
    cosmology: str | dict[str, JsonValue] | None = Field(
        None,
        description="Turns redshifts into distances: a name, or a class of astropy and its parameters",
        examples=["Planck18", {"class": "FlatLambdaCDM", "H0": 70, "Om0": 0.3}],
    )
    distance_unit: Literal["Mpc", "Mpc/h"] = Field("Mpc", description="Of comoving distances")


class Spacing(_Settings):
    """Edges by rule."""

    start: float = Field(description="First edge", examples=[1.0])
    stop: float = Field(description="Last edge", examples=[30.0])
    bins: int = Field(ge=1, le=10_000, description="How many", examples=[20])
    log: bool = Field(False, description="Whether the bins grow by equal factors")

    def edges(self) -> tuple[float, ...]:
        """Return the edges."""
        from daskpar.analyses.pair_counts.kernel.rounded import geometric

        make = geometric if self.log else np.linspace
        return tuple(make(self.start, self.stop, self.bins + 1).tolist())

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.start < self.stop or (self.log and self.start <= 0):
            raise ValueError("start must be below stop, and above 0 where bins grow by equal factors")
        return self


Boxes = Annotated[int, Field(ge=1, le=1000)]
Edges = Spacing | tuple[float, ...]


class PairCountsOptions(_Settings):
    """Options of the analysis `pair_counts`."""

    metric: Literal["r", "rp_pi", "s_mu", "theta"] = Field("r", description="What pairs are binned by")
    edges: Edges = Field(
        description="Edges of r, rp, s, or theta in degrees; bins are [lo, hi)",
        examples=[{"start": 1, "stop": 30, "bins": 20, "log": True}],
    )
    pi_edges: Edges | None = Field(None, description="Second axis of rp_pi; below 0 means signed")
    mu_edges: Edges | None = Field(None, description="Second axis of s_mu; below 0 means signed")
    los: Literal["x", "y", "z", "midpoint"] = Field("z", description="Line of sight")
    boxsize: float | tuple[float, float, float] | None = Field(
        None, description="Periodic box, one size or three"
    )
    estimator: Literal["natural", "davis_peebles", "landy_szalay", "hamilton"] | None = Field(
        "landy_szalay", description="Of the correlation function; null: bare counts"
    )
    n_patches: int = Field(0, ge=0, le=10_000, description="Regions that errors come from; 0: no errors")
    patch_grid: tuple[Boxes, Boxes, Boxes] | None = Field(
        None, description="Patches are boxes of a grid along x, y, z, not by k-means", examples=[[4, 4, 1]]
    )
    split_randoms: int = Field(
        1, ge=1, le=1000, description="RR is counted inside so many parts of the randoms only"
    )
    resampling: Literal["jackknife", "bootstrap"] = Field("jackknife", description="How errors are found")
    cross_weight: float | Literal["matched"] = Field(
        1.0, description="Share of the pairs across patches that the jackknife removes"
    )
    n_samples: int = Field(500, ge=2, le=100_000, description="Of the bootstrap")
    seed: int = Field(0, ge=0, description="Of the bootstrap and of the k-means of the patches")

    def binning(self) -> Binning:
        """Return the binning that the options describe."""
        from daskpar.analyses.pair_counts.settings import make_binning

        first, pi, mu = (
            one.edges() if isinstance(one, Spacing) else one
            for one in (self.edges, self.pi_edges, self.mu_edges)
        )
        return make_binning(self.metric, first or (), pi, mu, self.los)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        from daskpar.analyses.pair_counts.settings import check_box, make_box

        try:
            check_box(self.binning(), make_box(self.boxsize))
        except RecipeError as error:
            raise ValueError(str(error)) from error
        return self


@dataclass(frozen=True)
class PairRecord:
    """The catalogs of a run."""

    data: Catalog
    randoms: Catalog | None

    def identity(self) -> list[Any]:
        """Return what says which input it is."""
        return [self.data.identity(), None if self.randoms is None else self.randoms.identity()]


def open_samples(inputs: Mapping[str, Any], where: Where) -> PairRecord:
    """Return the record of the catalogs, from headers and schemas."""
    chosen = PairInputs.model_validate(inputs)
    data = _open(chosen, chosen, where)
    if data is None:
        raise RecipeError("pair_counts needs files, or synthetic points", "give one of the two", key="inputs")
    return PairRecord(data, None if chosen.randoms is None else _open(chosen.randoms, chosen, where))


def _open(source: _Source, chosen: PairInputs, where: Where) -> Catalog | None:
    from daskpar.inputs.catalogs import scan_catalog

    found: Any = source.synthetic if source.files is None else where.resolve(source.files)
    columns, mask = source.columns, getattr(source, "mask", None)
    if mask is not None:
        found, columns = [write_masked(mask, where.scratch)], mask.columns
    if found is None:
        return None
    return scan_catalog(
        found,
        columns,
        cosmology=chosen.cosmology,
        distance_unit=chosen.distance_unit,
        hdu=source.hdu,
        root=where.root,
        scratch=where.scratch,
    )


def cost(record: PairRecord, options: PairCountsOptions) -> dict[str, Any]:
    """Return what a run will cost; how many pairs there are, only the stage of the cells tells."""
    catalogs = [one for one in (record.data, record.randoms) if one is not None]
    rows = [one.rows_estimate for one in catalogs]
    return {
        "points": rows[0],
        "randoms": rows[1] if len(rows) > 1 else 0,
        "pieces": sum(len(one.pieces()) for one in catalogs),
        "read_bytes": sum(table.size for one in catalogs for table in one.tables),
        "ledger_bytes": sum(rows) * (32 + 40 * (len(catalogs) + 1)),
        "task_memory_bytes": min(max(rows), 1 << 20) * 160 + (16 << 20),
    }


def _measured(record: PairRecord, options: PairCountsOptions) -> dict[str, Any]:
    from daskpar.analyses.pair_counts.balance import measured

    return measured(record, options)


def _build(record: PairRecord, options: PairCountsOptions) -> Any:
    from daskpar.analyses.pair_counts.with_dask import build

    return build(record, options)


def _plot(dataset: xr.Dataset, figure: Any) -> None:
    from daskpar.analyses.pair_counts.plot import draw

    draw(dataset, figure)


ANALYSIS = Analysis(
    build=_build,
    options=PairCountsOptions,
    inputs=PairInputs,
    open_inputs=open_samples,
    identity=lambda record: record.identity(),
    cost=cost,
    measured=_measured,
    preview=preview,
    panel="daskpar.dashboard.pairs_panel:pairs_panel",
    plot=_plot,
    outputs=("correlation.ecsv", "correlation.png"),
    by_hand={
        how: f"daskpar.analyses.pair_counts.with_{how}:run"
        for how in ("serial", "threads", "multiprocessing", "mpi4py")
    },
)
