"""One image from all frames, as a dask graph of durable blocks.

A block is a band of rows of all frames; it opens its files itself, and the kernel works on the bytes as
stored. The record of the files and the settings are one node of the graph that all blocks refer to; of an
expression on a stack, a block has one task more, which reads and evaluates. Above the blocks, a task for each
4 MB of each output variable. Memory a task: the band as stored, and the kernel's tiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.partition import bands_within, row_bands, row_blocks
from daskpar.analyses.image_stats.with_dask.blocks import gathered
from daskpar.analyses.image_stats.with_dask.expression import bands_of, evaluated_bands
from daskpar.analyses.image_stats.with_dask.levels import known_levels, measured_levels
from daskpar.analyses.image_stats.with_dask.planes import aligned_planes, check, check_alignment, places
from daskpar.analyses.image_stats.with_dask.sky import wcs_header
from daskpar.analyses.image_stats.with_dask.sources import FileBands, Source
from daskpar.analyses.image_stats.with_dask.staging import StagedBands, staging_nodes
from daskpar.durable import collect, digest_of, durable, merged
from daskpar.lazy import da, xr

FLOATS = ("combined", "uncertainty", "uncertainty_propagated")
EXTENSION_NAMES = {
    "combined": "SCI", "uncertainty": "ERR", "count": "COUNT", "rejected_low": "REJLOW",
    "rejected_high": "REJHIGH", "rejected_grown": "REJGROW", "uncertainty_propagated": "ERRPROP",
}  # fmt: skip
FRAME_VARIABLES = ("frame_rejected_low", "frame_rejected_high")
Pieces = Mapping[str, Sequence[Any]]


class Combination:
    """What all blocks share: where planes are found, and the settings. In the graph once, opaque to dask.

    Parameters
    ----------
    sources : mapping of str to Source
        frames, masks, uncertainty and weights, those that blocks read themselves.
    settings : mapping
        Arguments of the kernel.
    bands : sequence of (int, int)
        The row bands of all blocks.
    """

    def __init__(
        self, sources: Mapping[str, Source], settings: Mapping[str, Any], bands: Sequence[tuple[int, int]]
    ) -> None:
        self.sources, self.settings, self.bands = sources, settings, bands


def combine(
    stack: xr.DataArray | xr.Dataset,
    method: str = "mean",
    rejection: str = "sigma_clip",
    sigma: float = 3.0,
    maxiters: int | None = 5,
    center: str = "median",
    scale: str = "std",
    weights: Any = None,
    scaling: Any = None,
    zero: Any = None,
    mask: Any = None,
    uncertainty: Any = None,
    grow: float = 0,
    percentile: float = 50.0,
    align: str | None = None,
    section: Sequence[int] | None = None,
    **parameters: Any,
) -> xr.Dataset:
    """Combine frames to one image, pixel by pixel; lazy.

    Parameters
    ----------
    stack : xarray.DataArray
        (frame, y, x), numpy- or dask-backed. NaN and infinite values are never used. Of a Dataset, as
        `open_stack` makes it, the variables data, mask and uncertainty.
    method : str
        mean, median, sum, min, max, std, var, count, percentile or mad.
    rejection : str
        none, sigma_clip, minmax, percentile, winsorized or ccd_noise.
    sigma : float
        Distance of the bounds from the centre, in units of `scale`; bounds are inclusive.
    maxiters : int or None
        Rounds of rejection; None: until nothing goes.
    center : {"median", "mean"}
        Centre of the bounds.
    scale : {"std", "mad_std"}
        Standard deviation (ddof 0), or 1.4826 median absolute deviations.
    weights : array_like or "inverse_variance", optional
        For mean and sum: (frame,), (y, x) or (frame, y, x); values of weight 0 are not used. Or the inverse
        squares of `uncertainty`.
    scaling, zero : array_like (frame,) or str, optional
        A value becomes (value - zero) * scaling before anything else. A statistic (mean, median,
        clipped_mean, clipped_median; of `frame_stats`) brings frames to the level of the first: as scaling
        its level over the frame's, as zero the difference of the levels. So does "keyword:NAME", a level
        that stands in the headers. Scaling may be "exposure".
    mask : array_like of bool, optional
        (frame, y, x) or (y, x); True where a value must not be used.
    uncertainty : array_like, optional
        Standard deviations of the values, (frame,), (y, x) or (frame, y, x), carried to the result.
    grow : float
        Values within so many pixels of a rejected one in the same frame go too.
    percentile : float
        Percent, for the method percentile.
    align : {"pixels", "wcs_shift", "reproject"}, optional
        Where the celestial WCS of frames from files differ: combine pixel by pixel all the same; or shift
        frames by whole pixels to the first one; or interpolate them there (the package reproject).
    section : (int, int, int, int), optional
        Part of the frames that these statistics are of, without masked pixels: first row, end of rows, first
        column, end of columns.
    **parameters
        Of the other rejections: sigma_lower, sigma_upper, nlow, nhigh, low_fraction, high_fraction,
        read_noise, gain, sensitivity_noise.

    Returns
    -------
    xarray.Dataset
        Over (y, x): combined (float32 for floats of 32 bits and integers of up to 16, else float64),
        uncertainty (standard deviation with ddof 1 of the values used over the root of their count, times
        sqrt(pi/2) for the median), count, rejected_low, rejected_high (int32), with `grow` rejected_grown,
        with `uncertainty` uncertainty_propagated; over frame: frame_rejected_low and frame_rejected_high
        (int64). Equal to `astropy.stats.sigma_clip` wherever no value lies within 32 ulp of a bound.

    Raises
    ------
    daskpar.errors.RecipeError
        An option is unknown or out of range, or two do not go together.
    daskpar.errors.InputError
        Shapes or dtypes do not fit; the celestial WCS of frames differ by more than 0.2 pixel.
    """
    if isinstance(stack, xr.Dataset):
        mask = stack.get("mask") if mask is None else mask
        uncertainty = stack.get("uncertainty") if uncertainty is None else uncertainty
        stack = stack["data"]
    return combined(
        stack,
        {"frames": stack, "masks": mask, "uncertainty": uncertainty, "weights": weights},
        {
            "method": method, "rejection": rejection, "sigma": sigma, "maxiters": maxiters, "center": center,
            "scale": scale, "grow": grow, "percentile": percentile, **parameters,
            "scaling": scaling, "zero": zero, "section": section,
        },
        align,
    )  # fmt: skip


def combined(
    stack: xr.DataArray,
    planes: Mapping[str, Any],
    settings: Mapping[str, Any],
    align: str | None = None,
    parts: Sequence[Any] | None = None,
) -> xr.Dataset:
    """Return the lazy result of `combine`.

    Parameters
    ----------
    stack : xarray.DataArray
        What is combined.
    planes : mapping
        frames, masks, uncertainty and weights; None where not given.
    settings : mapping
        Arguments of the kernel.
    align : str, optional
        As in `combine`.
    parts : sequence of mappings, optional
        What an earlier stage decoded of the files behind the stack, in the bands of `row_bands`.
    """
    planes = {name: plane for name, plane in planes.items() if plane is not None}
    stack, planes = aligned_planes(stack, planes, align)
    sources, arrays, settings = places(stack, planes, dict(settings))
    check(stack, planes, settings)
    settings = known_levels(stack, settings)
    levels = measured_levels(stack, settings, planes.get("masks"))
    check_alignment(stack, sources.get("frames"), align)
    bands, blocks = _blocks(stack, sources, arrays, settings, parts, levels)
    names = ["combined", "uncertainty", "count", "rejected_low", "rejected_high"]
    names += ["rejected_grown"] if settings["grow"] else []
    names += ["uncertainty_propagated"] if "uncertainty" in planes else []
    return _dataset(stack, names, bands, blocks)


def _dataset(
    stack: xr.DataArray, names: Sequence[str], bands: Sequence[tuple[int, int]], blocks: Sequence[Delayed]
) -> xr.Dataset:
    narrow = stack.dtype.itemsize <= (4 if stack.dtype.kind == "f" else 2)
    result = np.dtype(np.float32 if narrow else np.float64)
    sky = {"wcs_header": header} if (header := wcs_header(stack)) else {}
    unit = {"unit": stack.attrs["unit"]} if stack.attrs.get("unit") else {}
    variables: dict[str, Any] = {}
    nodes = merged(blocks)
    for name in names:
        dtype = result if name in FLOATS else np.dtype(np.int32)
        array = gathered(nodes, bands, name, dtype, (stack.shape[2],))
        attrs = {"extname": EXTENSION_NAMES[name], **sky, **(unit if name in FLOATS else {})}
        variables[name] = (("y", "x"), array, attrs)
    for name in FRAME_VARIABLES:
        total = collect(_sum_in_order, nodes, name)
        variables[name] = (("frame",), da.from_delayed(total, (stack.shape[0],), np.int64))
    coords = {name: coord for name, coord in stack.coords.items() if coord.dims == ("frame",)}
    return xr.Dataset(variables, coords, {**sky, **unit})


def _blocks(
    stack: xr.DataArray,
    sources: Mapping[str, Source],
    arrays: Mapping[str, da.Array],
    settings: Mapping[str, Any],
    parts: Sequence[Any] | None,
    levels: Delayed | None,
) -> tuple[list[tuple[int, int]], list[Delayed]]:
    """Return the rows of blocks, and a durable node for each."""
    frames, rows, columns = stack.shape
    row_bytes = columns * stack.dtype.itemsize
    bands = bands_of(arrays["frames"]) if "frames" in arrays else row_bands(frames, rows, row_bytes)
    identity = {name: source.identity for name, source in sources.items()}
    identity |= {name: str(array.name) for name, array in arrays.items()}
    description = [identity, digest_of(settings)]
    work = _shared(Combination(sources, settings, bands), digest_of(description), parts)
    pieces = {name: evaluated_bands(array, bands) for name, array in arrays.items()}
    halo = math.ceil(settings["grow"])
    # What the graph hands over would be held for all bands of a block together.
    spans = bands if arrays else row_blocks(bands, frames * row_bytes)
    blocks = []
    for start, stop in spans:
        mine = {
            name: _overlapping(all_of_it, bands, start - halo, stop + halo)
            for name, all_of_it in pieces.items()
        }
        key, label = [description, [start, stop]], f"combine rows {start}:{stop}"
        blocks.append(durable(combine_rows, work, start, stop, mine, levels, key=key, label=label))
    return spans, blocks


def _shared(work: Combination, name: str, parts: Sequence[Any] | None) -> Delayed:
    """Return the node that all blocks refer to; frames that cannot be sliced are decoded before it."""
    files = work.sources.get("frames")
    if parts is not None:
        return delayed(staged(work, parts), name=f"combination-{name}", traverse=False)
    shared = delayed(work, name=f"combination-{name}", traverse=False)
    if not isinstance(files, FileBands) or files.record.sliceable:
        return shared
    nodes = staging_nodes(files, work.bands, durably=False)
    return delayed(staged, pure=False)(shared, nodes, dask_key_name=f"staged-combination-{name}")


def staged(work: Combination, parts: Sequence[Any]) -> Combination:
    """Return a combination whose files are read from what was decoded of them."""
    frames = work.sources["frames"]
    sources = {
        name: StagedBands(source, work.bands, parts)
        if isinstance(source, FileBands) and source.same_files(frames)
        else source
        for name, source in work.sources.items()
    }
    return Combination(sources, work.settings, work.bands)


def _overlapping(parts: Sequence[Any], bands: Sequence[tuple[int, int]], start: int, stop: int) -> list[Any]:
    return [part for part, (low, high) in zip(parts, bands, strict=True) if low < stop and high > start]


def combine_rows(
    work: Combination, start: int, stop: int, pieces: Pieces, levels: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Combine a block of rows of all frames, one band after the other.

    Parameters
    ----------
    work : Combination
        What all blocks share.
    start, stop : int
        The rows.
    pieces : mapping of str to sequence of arrays
        Planes that the graph hands over, in whole bands.
    levels : mapping, optional
        Scales and zero levels that were measured.

    Returns
    -------
    dict
        As `kernel.combine_band`; numbers of values of a pixel in as few bytes as the number of frames needs.
    """
    settings = {**work.settings, **(levels or {})}
    del settings["section"]
    bands = bands_within(work.bands, start, stop)
    return kernel.joined_bands([_combined_band(work, settings, *band, pieces) for band in bands])


def _combined_band(
    work: Combination, settings: dict[str, Any], start: int, stop: int, pieces: Pieces
) -> dict[str, Any]:
    halo = math.ceil(settings["grow"])
    rows = work.bands[-1][1]
    low, high = max(0, start - halo), min(rows, stop + halo)
    first = max([band for band, _ in work.bands if band <= low])
    planes = {name: _joined(parts, low - first, high - first) for name, parts in pieces.items()}
    frames = planes.pop("frames", None)
    units: dict[str, Any] = {}
    for name, source in work.sources.items():
        if name != "frames":
            planes[name] = source.read(low, high)
        elif isinstance(source, FileBands):
            frames, units = source.read_stored(low, high)
        else:
            frames = source.read(low, high)
    settings = {**settings, **planes, **units}
    if settings.get("weights") == "inverse_variance":
        with np.errstate(divide="ignore"):
            settings["weights"] = 1.0 / np.square(np.asarray(settings["uncertainty"], np.float64))
    if "masks" in settings:
        settings["masks"] = np.asarray(settings["masks"]) != 0
    found = kernel.combine_band(np.asarray(frames), halo=(start - low, high - stop), **settings)
    small = np.min_scalar_type(len(frames))  # what is stored has to reach a disk
    return {name: plane.astype(small) if plane.dtype == np.int32 else plane for name, plane in found.items()}


def _joined(parts: Sequence[Any], low: int, high: int) -> Any:
    return (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))[:, low:high]


def _sum_in_order(partials: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.sum([partial[name] for partial in partials], axis=0, dtype=np.int64)
