"""Statistics of each frame, as a dask graph of durable blocks.

A block is a run of whole frames, read one after the other; memory a task: one frame, and the kernel's copy
of it. Above the blocks, one task an output variable.
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
from daskpar.analyses.image_stats.with_dask.selection import files_behind
from daskpar.analyses.image_stats.with_dask.sources import FileBands, MappedArray
from daskpar.durable import digest_of, durable, merged
from daskpar.errors import InputError


def frame_stats(
    stack: xr.DataArray,
    sigma: float = 3.0,
    maxiters: int | None = 5,
    percentiles: Sequence[float] = (5, 25, 75, 95),
) -> xr.Dataset:
    """Statistics of each frame; lazy.

    Parameters
    ----------
    stack : xarray.DataArray
        (frame, y, x), numpy- or dask-backed. NaN and infinite values are counted, and not used.
    sigma : float
        Clipping distance from the median, in standard deviations (ddof 0).
    maxiters : int or None
        Rounds of clipping; None: until nothing goes.
    percentiles : sequence of float
        Percent; linear interpolation.

    Returns
    -------
    xarray.Dataset
        Over frame, float64: min, max, mean, std (ddof 0), median, mad, clipped_mean, clipped_median,
        clipped_std, and percentile over (frame, q); count and nan_count are int64.
    """
    settings = {"sigma": sigma, "maxiters": maxiters, "percentiles": list(percentiles)}
    groups, blocks = _blocks(stack, settings)
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


def _blocks(stack: xr.DataArray, settings: Mapping[str, Any]) -> tuple[list[tuple[int, int]], list[Delayed]]:
    """Return the runs of frames, and a durable node for each."""
    if stack.ndim != 3:
        raise InputError(f"the stack has {stack.ndim} dimensions", "give (frame, y, x)")
    frames, rows, columns = stack.shape
    groups = list(runs(frames, rows * columns * stack.dtype.itemsize))
    data = stack.data
    files = files_behind(data)
    if files is not None or not isinstance(data, da.Array):
        source: Any = files if files is not None else MappedArray(np.asarray(data), frames)
        shared = delayed(source, name=f"frames-of-{digest_of(source.identity)}", traverse=False)
        calls: list[tuple[Any, ...]] = [
            (source_stats, shared, start, stop, settings) for start, stop in groups
        ]
    else:
        sizes = tuple(stop - start for start, stop in groups)
        parts = data.rechunk((sizes, -1, -1)).to_delayed().reshape(-1)
        calls = [(array_stats, part, settings) for part in parts]

    def identity(start: int, stop: int) -> str:
        # Of a file's statistics nothing depends on the other files of the stack.
        if files is not None:
            return files.take(slice(start, stop)).identity
        return str(getattr(data, "name", None) or source.identity)

    return groups, [
        durable(
            *call,
            key=[identity(start, stop), [start, stop], settings],
            label=f"statistics of frames {start}:{stop}",
        )
        for call, (start, stop) in zip(calls, groups, strict=True)
    ]


def source_stats(
    source: FileBands | MappedArray, start: int, stop: int, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the statistics of some frames, read here one after the other."""
    return _stacked([kernel.frame_statistics(source.read_frame(i), **settings) for i in range(start, stop)])


def array_stats(frames: np.ndarray[Any, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of frames that the graph hands over."""
    return _stacked([kernel.frame_statistics(np.ascontiguousarray(frame), **settings) for frame in frames])


def _stacked(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
