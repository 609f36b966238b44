"""Statistics of each frame, as a dask graph of durable blocks.

A block is a run of whole frames, read one after the other; memory a task: one frame, and the kernel's copy
of it. Above the blocks, one task an output variable. Of an expression, two tasks a row band before the
blocks, and as much scratch as its values take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.partition import frame_blocks
from daskpar.analyses.image_stats.with_dask.blocks import gathered
from daskpar.analyses.image_stats.with_dask.expression import bands_of, evaluated_bands
from daskpar.analyses.image_stats.with_dask.selection import files_behind
from daskpar.analyses.image_stats.with_dask.sources import FileBands, MappedArray, scratch_folder
from daskpar.analyses.image_stats.with_dask.staging import ScratchPart
from daskpar.durable import digest_of, durable, merged
from daskpar.errors import InputError
from daskpar.lazy import da, xr


def frame_stats(
    stack: xr.DataArray | xr.Dataset,
    sigma: float = 3.0,
    maxiters: int | None = 5,
    percentiles: Sequence[float] = (5, 25, 75, 95),
    mask: Any = None,
) -> xr.Dataset:
    """Statistics of each frame; lazy.

    Parameters
    ----------
    stack : xarray.DataArray
        (frame, y, x), numpy- or dask-backed. NaN and infinite values are counted, and not used. Of a
        Dataset, as `open_stack` makes it, the variables data and mask.
    sigma : float
        Clipping distance from the median, in standard deviations (ddof 0).
    maxiters : int or None
        Rounds of clipping; None: until nothing goes.
    percentiles : sequence of float
        Percent; linear interpolation.
    mask : array_like of bool, optional
        (frame, y, x) or (y, x); where it is True, values count as NaN.

    Returns
    -------
    xarray.Dataset
        Over frame, float64: min, max, mean, std (ddof 0), median, mad, clipped_mean, clipped_median,
        clipped_std, and percentile over (frame, q); count and nan_count are int64.
    """
    if isinstance(stack, xr.Dataset):
        mask = stack.get("mask") if mask is None else mask
        stack = stack["data"]
    settings = {"sigma": sigma, "maxiters": maxiters, "percentiles": list(percentiles)}
    groups, blocks = _blocks(stack, settings, mask)
    variables: dict[str, Any] = {}
    nodes = merged(blocks)
    for name in FRAME_VARIABLES:
        kind = np.dtype(np.int64 if name in ("count", "nan_count") else np.float64)
        tail = (len(percentiles),) if name == "percentile" else ()
        unit = {"unit": stack.attrs["unit"]} if kind == np.float64 and stack.attrs.get("unit") else {}
        variables[name] = (("frame", "q")[: 1 + len(tail)], gathered(nodes, groups, name, kind, tail), unit)
    coords = {name: coord for name, coord in stack.coords.items() if coord.dims == ("frame",)}
    return xr.Dataset(variables, {**coords, "q": np.asarray(percentiles, float)})


FRAME_VARIABLES = (
    "count",
    "nan_count",
    "min",
    "max",
    "mean",
    "std",
    "median",
    "mad",
    "clipped_mean",
    "clipped_median",
    "clipped_std",
    "percentile",
)


def _blocks(
    stack: xr.DataArray, settings: Mapping[str, Any], mask: Any = None
) -> tuple[list[tuple[int, int]], list[Delayed]]:
    """Return the runs of frames, and a durable node for each."""
    if stack.ndim != 3:
        raise InputError(f"the stack has {stack.ndim} dimensions", "give (frame, y, x)")
    frames, rows, columns = stack.shape
    groups = frame_blocks(frames, rows * columns * stack.dtype.itemsize)
    source, masks = _place(stack.data, stack.shape), _place(mask, stack.shape, "mask")
    if isinstance(source, da.Array) or isinstance(masks, da.Array):
        data = stack.data if masks is None else da.where(_dask(mask), np.nan, _dask(stack))
        shared, name = band_files(data), str(data.name)
        masks = None
    else:
        name = source.identity + (f" {masks.identity}" if masks is not None else "")
        shared = delayed((source, masks), name=f"frames-of-{digest_of(name)}", traverse=False)

    def identity(start: int, stop: int) -> str:
        # Of a file's statistics nothing depends on the other files of the stack.
        if isinstance(source, FileBands) and (masks is None or isinstance(masks, FileBands)):
            parts = [one.take(slice(start, stop)).identity for one in (source, masks) if one is not None]
            return " ".join(parts)
        return name

    return groups, [
        durable(
            frame_block, shared, start, stop, settings,
            key=[identity(start, stop), [start, stop], settings],
            label=f"statistics of frames {start}:{stop}",
        )
        for start, stop in groups
    ]  # fmt: skip


def _place(plane: Any, shape: tuple[int, ...], name: str = "stack") -> Any:
    """Return where frames are read from; of an expression, the dask array."""
    if plane is None:
        return None
    data = plane.data if isinstance(plane, xr.DataArray) else plane
    data = data if isinstance(data, da.Array) else np.asarray(data)
    if data.shape not in (shape, shape[1:]):
        raise InputError(f"{name} has the shape {data.shape}", f"give {shape}", key=name)
    if isinstance(data, np.ndarray):
        return MappedArray(data, shape[0])
    return files if (files := files_behind(data)) is not None else data


def _dask(plane: Any) -> da.Array:
    data = plane.data if isinstance(plane, xr.DataArray) else plane
    return data if isinstance(data, da.Array) else da.from_array(np.asarray(data), chunks=-1)


def band_files(array: da.Array) -> Delayed:
    """Return a task that gives a source of whole frames of an expression.

    It is evaluated by row bands, as its files are read, and each band is written to scratch, from where the
    frames are put together: no pixels travel between workers.
    """
    bands = bands_of(array)
    folder = str(scratch_folder())
    write = delayed(band_to_scratch, name=f"write-{array.name}", pure=False, traverse=False)
    parts = [
        write(piece, folder, dask_key_name=f"band-to-scratch-{array.name}-{number}")
        for number, piece in enumerate(evaluated_bands(array, bands))
    ]
    return delayed(BandFiles, pure=False)(parts, dask_key_name=f"bands-of-{array.name}")


def band_to_scratch(band: Any, folder: str) -> ScratchPart:
    """Write a band of an expression to scratch."""
    return ScratchPart(Path(folder) / f"{uuid4().hex}.band", {"band": np.asarray(band)})


class BandFiles:
    """Frames whose row bands lie on scratch."""

    def __init__(self, parts: Sequence[Mapping[str, Any]]) -> None:
        self.parts = parts

    def read_frame(self, frame: int) -> Any:
        """Return one frame."""
        return np.concatenate([part["band"][frame] for part in self.parts])


def frame_block(shared: Any, start: int, stop: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of some frames, read here one after the other."""
    source, masks = shared if isinstance(shared, tuple) else (shared, None)
    rows = []
    for frame in range(start, stop):
        image = np.ascontiguousarray(source.read_frame(frame))
        mask = None if masks is None else np.asarray(masks.read_frame(frame)) != 0
        rows.append(kernel.frame_statistics(image, **settings, mask=mask, overwrite_input=True))
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
