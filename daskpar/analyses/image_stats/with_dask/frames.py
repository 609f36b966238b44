"""Statistics of each frame, as a dask graph of durable blocks.

A block is a run of whole frames, read one after the other; memory a task: one frame, and the kernel's copy
of it. Above the blocks, one task an output variable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.with_dask.blocks import gathered, runs
from daskpar.analyses.image_stats.with_dask.combining import dask_array
from daskpar.analyses.image_stats.with_dask.stack import record_of
from daskpar.durable import digest_of, durable
from daskpar.inputs.images import ImageStack, read_frame


class FrameWork:
    """What all blocks share: the files, if any, and the settings. In the graph once, opaque to dask."""

    def __init__(self, record: ImageStack | None, settings: Mapping[str, Any]) -> None:
        self.record, self.settings = record, settings


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
    for name in FRAME_VARIABLES:
        kind = np.dtype(np.int64 if name in ("count", "nan_count") else np.float64)
        tail = (len(percentiles),) if name == "percentile" else ()
        unit = {"unit": stack.attrs["unit"]} if kind == np.float64 and stack.attrs.get("unit") else {}
        variables[name] = (("frame", "q")[: 1 + len(tail)], gathered(blocks, groups, name, kind, tail), unit)
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
    array, record = dask_array(stack), record_of(stack)
    n_frames, rows, columns = stack.shape
    groups = list(runs(n_frames, rows * columns * stack.dtype.itemsize))
    shared = FrameWork(record, settings)
    identity = array.name if record is None else record.identity()
    work = delayed(shared, name=f"frame-work-{digest_of([identity, settings])}", traverse=False)
    arguments: list[tuple[Any, ...]]
    if record is None:
        sizes = tuple(stop - start for start, stop in groups)
        parts = array.rechunk((sizes, -1, -1)).to_delayed().reshape(-1)
        arguments = [(array_stats, work, part) for part in parts]
    else:
        arguments = [(file_stats, work, start, stop) for start, stop in groups]
    return groups, [
        durable(
            *call,
            # of a file's statistics nothing depends on the other files of the stack
            key=[
                identity if record is None else record.identity(slice(start, stop)),
                [start, stop],
                settings,
            ],
            label=f"statistics of frames {start}:{stop}",
        )
        for call, (start, stop) in zip(arguments, groups, strict=True)
    ]


def file_stats(work: FrameWork, start: int, stop: int) -> dict[str, Any]:
    """Return the statistics of some frames, read here one after the other."""
    record = work.record
    if record is None:
        raise ValueError("this work has no files")
    return _stacked(
        [kernel.frame_statistics(read_frame(record, i), **work.settings) for i in range(start, stop)]
    )


def array_stats(work: FrameWork, frames: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the statistics of frames that the graph hands over."""
    return _stacked(
        [kernel.frame_statistics(np.ascontiguousarray(frame), **work.settings) for frame in frames]
    )


def _stacked(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}
