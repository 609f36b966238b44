"""Statistics over a stack of images: each frame's, and each pixel's over the frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from daskpar.analyses.image_stats.preview import preview
from daskpar.analysis import Analysis, Where
from daskpar.errors import RecipeError
from daskpar.inputs.synthetic import SyntheticImages

if TYPE_CHECKING:
    import xarray as xr

    from daskpar.inputs.images import ImageStack

Sigma = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Level = Literal["mean", "median", "clipped_mean", "clipped_median"]
Keyword = Annotated[str, Field(pattern=r"^keyword:[A-Za-z0-9_-]{1,8}$")]
Section = tuple[int, int, int, int]
FilePattern = Annotated[str, Field(min_length=1, max_length=4096)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageInputs(_Settings):
    """Inputs of the analysis `image_stats`."""

    files: FilePattern | tuple[FilePattern, ...] | None = Field(
        None,
        description="Paths or patterns of FITS files, an HDU behind them if wanted: night1/*.fits[SCI,1]",
        examples=["data/M13_*.fits"],
    )
    synthetic: SyntheticImages | None = Field(None, description="Seeded artificial frames with known truth")
    hdu: int | str | None = Field(None, description="HDU where no name says; default: the first image")
    mask: JsonValue = Field(None, description="HDU of each file, or files, where pixels are not to be used")
    dq_bits: int | tuple[int, ...] | None = Field(
        None, description="Bits of the mask that count; default: all"
    )
    uncertainty: JsonValue = Field(
        None, description="HDU of each file, or files, with the standard deviations of the values"
    )
    bias: FilePattern | None = Field(None, description="A frame that is subtracted first")
    dark: FilePattern | None = Field(
        None, description="A frame without bias that is subtracted, scaled by the exposure"
    )
    flat: FilePattern | None = Field(None, description="A frame that is divided by")
    flat_level: Literal["as_is", "median"] = Field(
        "as_is", description="as_is: it is normalised; median: divide it by the median of its finite pixels"
    )
    flat_section: Section | None = Field(
        None, description="Where that is taken: first row, end of rows, first column, end of columns"
    )
    checksum: Literal["ignore", "verify"] = Field("ignore", description="Compare CHECKSUM and DATASUM first")


class FrameStatsOptions(_Settings):
    """Statistics of each frame, without pixels that are masked."""

    sigma: Sigma = Field(3.0, description="Clipping distance from the median, in standard deviations")
    maxiters: int | None = Field(5, ge=1, description="Rounds of clipping; null: until nothing goes")
    percentiles: tuple[Annotated[float, Field(ge=0, le=100)], ...] = Field(
        (5.0, 25.0, 75.0, 95.0), description="Percent"
    )


class CombineOptions(_Settings):
    """One image from all frames."""

    method: Literal["mean", "median", "sum", "min", "max", "std", "var", "count", "percentile", "mad"] = (
        Field("mean", description="What becomes of the values of a pixel")
    )
    rejection: Literal["none", "sigma_clip", "minmax", "percentile", "winsorized", "ccd_noise"] = Field(
        "sigma_clip", description="Which values are left out first"
    )
    sigma: Sigma = Field(3.0, description="Distance of the bounds from the centre, in scales")
    maxiters: int | None = Field(5, ge=1, description="Rounds of rejection; null: until nothing goes")
    center: Literal["median", "mean"] = Field("median", description="Centre of the bounds")
    scale: Literal["std", "mad_std"] = Field("std", description="Unit of the bounds")
    sigma_lower: Sigma | None = Field(None, description="The lower distance, if another")
    sigma_upper: Sigma | None = Field(None, description="The upper distance, if another")
    nlow: int = Field(1, ge=0, description="minmax: lowest values that go")
    nhigh: int = Field(1, ge=0, description="minmax: highest values that go")
    low_fraction: NotNegative = Field(0.2, description="percentile: distance below the median, in medians")
    high_fraction: NotNegative = Field(0.1, description="percentile: distance above the median, in medians")
    read_noise: NotNegative = Field(0.0, description="ccd_noise: electrons")
    gain: Sigma = Field(1.0, description="ccd_noise: electrons a count")
    sensitivity_noise: NotNegative = Field(0.0, description="ccd_noise: fraction of the signal")
    grow: NotNegative = Field(0.0, description="Pixels around a rejected value that go with it, in its frame")
    percentile: float = Field(50.0, ge=0, le=100, description="Percent, for the method percentile")
    weights: Literal["inverse_variance"] | tuple[NotNegative, ...] | None = Field(
        None, description="A number for each frame, or the inverse squares of the uncertainties"
    )
    scaling: Level | Literal["exposure"] | Keyword | tuple[Finite, ...] | None = Field(
        None,
        description="A value becomes (value - zero) * scaling: numbers, or to the level of the first frame, a"
        " statistic or keyword:NAME",
    )
    zero: Level | Keyword | tuple[Finite, ...] | None = Field(
        None, description="Numbers, or what the level of a frame is above that of the first"
    )
    section: Section | None = Field(
        None, description="Where levels are measured: first row, end of rows, first column, end of columns"
    )
    align: Literal["pixels", "wcs_shift", "reproject"] | None = Field(
        None,
        description="Where celestial WCS differ: combine pixel by pixel though they do; shift frames by whole"
        " pixels to the first; or interpolate them there",
    )


class ImageStatsOptions(_Settings):
    """Options of the analysis `image_stats`."""

    frame_stats: FrameStatsOptions | None = Field(
        default_factory=FrameStatsOptions, description="Statistics of each frame; null: none"
    )
    combine: CombineOptions | None = Field(
        default_factory=CombineOptions, description="One image from all frames; null: none"
    )


def open_images(inputs: Mapping[str, Any], where: Where) -> ImageStack:
    """Return the record of the frames, from their headers; synthetic frames are written to scratch first."""
    from daskpar.analyses.image_stats.calibration import NAMES, flat_level, with_calibration
    from daskpar.inputs.images import scan_images
    from daskpar.inputs.synthetic_files import write_synthetic

    chosen = ImageInputs.model_validate(inputs)
    if (chosen.files is None) == (chosen.synthetic is None):
        raise RecipeError("image_stats needs files, or synthetic frames", "give one of the two", key="inputs")
    if chosen.synthetic is not None:
        files, root = write_synthetic(chosen.synthetic, where.scratch / "frames"), where.scratch
    else:
        files, root = where.resolve(chosen.files), where.root
    mask: Any = chosen.mask
    uncertainty: Any = chosen.uncertainty
    checksum = chosen.checksum
    stack = scan_images(files, chosen.hdu, mask, chosen.dq_bits, uncertainty, checksum, root=root)
    names = {name: getattr(chosen, name) for name in NAMES if getattr(chosen, name) is not None}
    calibration = {
        name: scan_images(where.resolve(file), checksum=checksum, root=root) for name, file in names.items()
    }
    level = 1.0
    if chosen.flat_level == "median" or chosen.flat_section is not None:
        if "flat" not in calibration:
            what = "there is no flat to normalise"
            raise RecipeError(what, "name it, or leave this out", key="inputs.flat_level")
        level = flat_level(calibration["flat"], chosen.flat_section)
    return with_calibration(stack, calibration, level)


def warnings(record: ImageStack, options: ImageStatsOptions) -> list[str]:
    """Return what is odd about frames and options: above all a clipping that can never reject anything."""
    found = [str(warning) for warning in record.warnings]
    clip = options.combine
    if clip is not None and clip.rejection == "sigma_clip" and clip.scale == "std":
        n = len(record)
        # One value far from n - 1 equal ones: its distance from mean and median in their standard deviation.
        reach = (n - 1) / math.sqrt(n) if clip.center == "mean" else n / math.sqrt(max(n - 1, 1))
        if n > 1 and reach <= clip.sigma:
            found.append(
                f"with {n} frames no value lies more than {reach:.2f} sigma from the {clip.center}: "
                f"sigma = {clip.sigma:g} rejects nothing"
            )
    return found


# A block of the decoding stage is at most this large, or a frame.
STAGING_BYTES = 64 << 20
# Reference costs, seconds a pixel value on one core: reading from the page cache, and the kernels.
COMBINE_SECONDS, FRAME_SECONDS = 3e-9, 8e-9


def cost(record: ImageStack, options: ImageStatsOptions) -> dict[str, Any]:
    """Return what a run will cost: how files are read, memory of a task, disk, seconds of a core."""
    from daskpar.analyses.image_stats.alignment import aligned
    from daskpar.analyses.image_stats.with_dask.stack import row_bands
    from daskpar.inputs.reading_plan import reading_plan

    rows, columns = record.shape
    frame = rows * columns
    frames = aligned(record, options.combine.align) if options.combine is not None else record
    bands = row_bands(frames)
    height = bands[0][1] - bands[0][0]
    reading = reading_plan(frames, height)
    combines, stats = options.combine is not None, options.frame_stats is not None
    calibration, plain = getattr(record, "calibration", {}), frames is record
    beside = sum(stack.dtype.itemsize for stack in calibration.values())
    wide = 4 if record.dtype.itemsize <= 4 else 8
    pixel = sum(record.plane(name).dtype.itemsize for name in record.planes)
    staged = combines and reading.mode == "staged"
    decoding = max(STAGING_BYTES, pixel * frame) + frame * wide if staged else 0
    return {
        "rows": rows,
        "frames": f"{len(record)} of {rows} x {columns} {record.dtype}",
        "reading": f"{reading.mode}: {reading.reason}" if combines else "direct: whole frames",
        "input_opens": combines * reading.opens
        + stats * len(record) * (1 + (record.mask is not None))
        + _calibration_opens(calibration, len(record), combines, stats, reading.bands if plain else 0),
        "kb_a_read": round(reading.kb_a_read if combines else frame * record.dtype.itemsize / 1e3, 1),
        "read_bytes": (combines + stats) * reading.read_bytes,
        "task_memory_bytes": max(
            combines * 2 * len(record) * height * columns * pixel,
            stats * frame * (3 * wide + beside),
            decoding,
        ),
        "ledger_bytes": combines * frame * (2 * wide + 12)
        + stats * len(record) * 256
        + staged * reading.scratch_bytes,
        "core_seconds": len(record) * frame * (combines * COMBINE_SECONDS + stats * FRAME_SECONDS),
    }


def _calibration_opens(
    calibration: Mapping[str, ImageStack], frames: int, combines: bool, stats: bool, bands: int
) -> int:
    """Return how often bias, dark and flat are opened by one process.

    With each of the bands, 0 where whole frames are calibrated; whole ones once, where they fit into what a
    process keeps, else with each frame.
    """
    from daskpar.analyses.image_stats.calibration import kept

    whole = [frames] if stats else []
    if combines and bands <= 1:
        whole.append(bands or frames)
    times = bands if combines and bands > 1 else 0
    if whole:
        times += 1 if kept(calibration) else sum(whole)
    return len(calibration) * times


def _build(record: ImageStack, options: ImageStatsOptions) -> Any:
    from daskpar.analyses.image_stats.with_dask import build

    return build(record, options)


def _combined(dataset: xr.Dataset) -> xr.Dataset:
    """Select what lies on the pixel grid, and what was rejected of each frame."""
    names = [name for name in dataset.data_vars if "y" in dataset[name].dims]
    rejected = [name for name in dataset.data_vars if str(name).startswith("frame_rejected_")]
    return dataset[[*names, *rejected]]


def _frame_stats(dataset: xr.Dataset) -> xr.Dataset:
    """Select the table over frames."""
    names = {
        name: str(name).removeprefix("frame_") for name in dataset.data_vars if "frame" in dataset[name].dims
    }
    return dataset[[*names]].rename({old: new for old, new in names.items() if old != new})


ANALYSIS = Analysis(
    build=_build,
    options=ImageStatsOptions,
    inputs=ImageInputs,
    open_inputs=open_images,
    identity=lambda record: record.identity(),
    warnings=warnings,
    cost=cost,
    preview=preview,
    panel="daskpar.dashboard.image_panel:image_panel",
    outputs=("combined.fits", "frame_stats.ecsv", "preview.png"),
    by_hand={
        how: f"daskpar.analyses.image_stats.with_{how}:run"
        for how in ("serial", "threads", "prange", "multiprocessing", "mpi4py")
    },
    select={"combined": _combined, "preview": _combined, "frame_stats": _frame_stats},
)
