"""One image from all frames, as a dask graph of durable blocks.

A block is a band of rows of all frames; it opens its files itself, and the kernel works on the bytes as
stored. The record of the files and the settings are one node of the graph that all blocks refer to. Above
the blocks, a task for each 4 MB of each output variable. Memory a task: the band as stored, and the kernel's
tiles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.with_dask.blocks import gathered, runs
from daskpar.analyses.image_stats.with_dask.stack import read_masks, record_of
from daskpar.durable import digest_of, durable
from daskpar.errors import InputError
from daskpar.inputs.images import ImageStack, read_band, read_band_raw

PIXEL_VARIABLES = ("combined", "uncertainty", "count", "rejected_low", "rejected_high")
EXTENSION_NAMES = dict(zip(PIXEL_VARIABLES, ("SCI", "ERR", "COUNT", "REJLOW", "REJHIGH"), strict=True))
_RULE = ("sigma", "maxiters", "center", "scale")


class Combination:
    """What all blocks share: the files, if any, and the settings. In the graph once, opaque to dask."""

    def __init__(self, record: ImageStack | None, settings: Mapping[str, Any]) -> None:
        self.record, self.settings = record, settings


def combine(
    stack: xr.DataArray,
    method: str = "mean",
    rejection: str = "sigma_clip",
    sigma: float = 3.0,
    maxiters: int | None = 5,
    center: str = "median",
    scale: str = "std",
) -> xr.Dataset:
    """Combine frames to one image, pixel by pixel; lazy.

    Parameters
    ----------
    stack : xarray.DataArray
        (frame, y, x), numpy- or dask-backed. NaN is never used.
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

    Returns
    -------
    xarray.Dataset
        Over (y, x): combined (float32 for floats of 32 bits and integers of up to 16, else float64),
        uncertainty (standard deviation with ddof 1 of the values used over the root of their count, times
        sqrt(pi/2) for the median), count, rejected_low, rejected_high (int32); over frame:
        frame_rejected_low and frame_rejected_high (int64). Equal to `astropy.stats.sigma_clip` wherever no
        value lies within 32 ulp of a bound.
    """
    settings: dict[str, Any] = {
        "method": method,
        "rejection": rejection,
        "sigma": sigma,
        "maxiters": maxiters,
        "center": center,
        "scale": scale,
    }
    kernel.rejection(
        rejection, **{name: settings[name] for name in _RULE}
    )  # refuses wrong values here, not later
    bands, blocks = _blocks(stack, settings)
    dtype = np.dtype(np.float32 if _is_narrow(stack.dtype) else np.float64)
    dtypes = dict.fromkeys(PIXEL_VARIABLES, np.dtype(np.int32)) | {"combined": dtype, "uncertainty": dtype}
    variables: dict[str, Any] = {}
    for name, kind in dtypes.items():
        array = gathered(blocks, bands, name, kind, (stack.shape[2],))
        variables[name] = (("y", "x"), array, _attributes(stack, name, with_unit=kind == dtype))
    for name in ("frame_rejected_low", "frame_rejected_high"):
        total = delayed(_sum_in_order, pure=True)(blocks, name)
        variables[name] = (("frame",), da.from_delayed(total, (stack.shape[0],), np.int64))
    coords = {name: coord for name, coord in stack.coords.items() if coord.dims == ("frame",)}
    return xr.Dataset(variables, coords, {key: stack.attrs[key] for key in _KEPT if stack.attrs.get(key)})


_KEPT = ("unit", "wcs_header")


def _attributes(stack: xr.DataArray, variable: str, with_unit: bool) -> dict[str, Any]:
    kept = _KEPT if with_unit else _KEPT[1:]
    return {"extname": EXTENSION_NAMES[variable]} | {k: stack.attrs[k] for k in kept if stack.attrs.get(k)}


def _is_narrow(dtype: np.dtype[Any]) -> bool:
    return bool(dtype.itemsize <= (4 if dtype.kind == "f" else 2))


def _blocks(stack: xr.DataArray, settings: Mapping[str, Any]) -> tuple[list[tuple[int, int]], list[Delayed]]:
    """Return the row bands, and a durable node for each."""
    array, record = dask_array(stack), record_of(stack)
    n_frames, rows, columns = stack.shape
    bands = list(runs(rows, n_frames * columns * stack.dtype.itemsize))
    identity = array.name if record is None else record.identity()
    shared = Combination(record, settings)
    work = delayed(shared, name=f"combination-{digest_of([identity, settings])}", traverse=False)
    arguments: list[tuple[Any, ...]]
    if record is None:
        heights = tuple(stop - start for start, stop in bands)
        parts = array.rechunk((-1, heights, -1)).to_delayed().reshape(-1)
        arguments = [(combine_array, work, part) for part in parts]
    else:
        arguments = [(combine_files, work, start, stop) for start, stop in bands]
    return bands, [
        durable(*call, key=[identity, [start, stop], settings], label=f"combine rows {start}:{stop}")
        for call, (start, stop) in zip(arguments, bands, strict=True)
    ]


def dask_array(stack: xr.DataArray) -> da.Array:
    """Return the data of a stack as a dask array, whatever they are.

    Raises
    ------
    daskpar.errors.InputError
        They have not three dimensions.
    """
    if stack.ndim != 3:
        raise InputError(f"the stack has {stack.ndim} dimensions", "give (frame, y, x)")
    data = stack.data
    return data if isinstance(data, da.Array) else da.from_array(data, chunks=data.shape)


def combine_files(work: Combination, start: int, stop: int) -> dict[str, Any]:
    """Combine a band of rows of all frames, read here; of plain frames the kernel swaps the bytes."""
    record = work.record
    if record is None:
        raise ValueError("this combination has no files")
    masks = read_masks(record, start, stop) if record.mask is not None else None
    if record.data.stored is None or len(record.data.formats) > 1:
        return _combined(read_band(record, start, stop), work.settings, masks=masks)
    form = record.data.formats[0]
    units = {"bscale": form.bscale, "bzero": form.bzero, "blank": form.blank}
    return _combined(read_band_raw(record, start, stop), work.settings, masks=masks, **units)


def combine_array(work: Combination, frames: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Combine a band of rows of all frames that the graph hands over."""
    return _combined(np.ascontiguousarray(frames), work.settings)


def _combined(frames: np.ndarray[Any, Any], settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    rule = kernel.rejection(settings["rejection"], **{name: settings[name] for name in _RULE})
    return kernel.combine_band(frames, method=settings["method"], rejection=rule, **more)


def _sum_in_order(partials: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.sum([partial[name] for partial in partials], axis=0, dtype=np.int64)
