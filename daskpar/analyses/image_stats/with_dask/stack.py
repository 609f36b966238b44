"""FITS files as one lazy array, in chunks of row bands of all frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from dask._task_spec import DataNode, Task, TaskRef
from dask.highlevelgraph import HighLevelGraph

from daskpar.analyses.image_stats import partition
from daskpar.analyses.image_stats.alignment import AlignedStack, aligned_rows
from daskpar.analyses.image_stats.calibration import calibrated
from daskpar.inputs.image_read import read_mask_rows
from daskpar.inputs.images import ImageStack, read_band, scan_images
from daskpar.lazy import da, xr

#: Dask names of stacks, and of the records they are read by: by these a stack is known again.
PREFIX, SOURCE_PREFIX = "stack-", "frames-"


def open_stack(
    files: Any,
    hdu: Any = None,
    mask: Any = None,
    dq_bits: int | Sequence[int] | None = None,
    uncertainty: Any = None,
) -> xr.DataArray | xr.Dataset:
    """Describe FITS images as one lazy array; headers are read, pixels are not.

    Parameters
    ----------
    files : str, path or sequence of them
        Names and globs, each with an HDU behind it if wanted: ``"night1/*.fits"``, ``"m31.fits[SCI,2]"``.
    hdu : int, str or (str, int), optional
        HDU where none is written behind a name; by default the first that holds an image.
    mask, uncertainty : HDU or files, optional
        An HDU of each frame's file, or a file for all, or one for each.
    dq_bits : int or sequence of int, optional
        Bits of the mask that count; by default all.

    Returns
    -------
    xarray.DataArray
        (frame, y, x), native byte order, in chunks of row bands of all frames; coordinates path, hdu,
        exposure (s), mid_time (MJD) and filter of each frame, row and column (from 0) of each pixel;
        ``attrs`` unit and wcs_header. With a mask or uncertainty, a Dataset of data, mask and uncertainty.

    Raises
    ------
    daskpar.errors.InputError
        Files are missing, malformed, or differ in shape or dtype.
    """
    record = scan_images(files, hdu, mask, dq_bits, uncertainty)
    data = lazy_plane(record, "data")
    planes = [name for name in ("mask", "uncertainty") if getattr(record, name) is not None]
    if not planes:
        return data
    return xr.Dataset({"data": data, **{name: lazy_plane(record, name) for name in planes}})


def lazy_plane(record: ImageStack, plane: str) -> xr.DataArray:
    """Return one plane of a record as a lazy array in row bands of all frames."""
    identity = record.identity()
    source, name = f"{SOURCE_PREFIX}{identity}", f"{PREFIX}{plane}-{identity}"
    dtype = plane_dtype(record, plane)
    bands = list(row_bands(record, plane))
    graph: dict[Any, Any] = {source: DataNode(source, record)}
    for number, (start, stop) in enumerate(bands):
        key = (name, 0, number, 0)
        graph[key] = Task(key, read_plane, TaskRef(source), plane, start, stop)
    chunks = ((len(record),), tuple(stop - start for start, stop in bands), (record.shape[1],))
    array = da.Array(HighLevelGraph.from_collections(name, graph), name, chunks, dtype=dtype)
    attrs = {"unit": record.unit, "wcs_header": record.wcs_header}
    return xr.DataArray(
        array, frame_coordinates(record) | pixel_coordinates(record), ("frame", "y", "x"), plane, attrs
    )


def read_plane(record: ImageStack, plane: str, start: int, stop: int) -> Any:
    """Read a band of rows of all frames of one plane, native (frames, rows, columns)."""
    if isinstance(record, AlignedStack):
        return np.stack([aligned_rows(record, i, start, stop, plane) for i in range(len(record))])  # type: ignore[arg-type]
    if plane == "mask":
        return read_masks(record, start, stop)
    values = read_band(record, start, stop, plane=plane)  # type: ignore[arg-type]
    return calibrated(record, plane, values, start, stop)


def read_masks(record: ImageStack, start: int, stop: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Read the masks of a band of rows of all frames, True where a pixel is not to be used."""
    return np.stack([read_mask_rows(record, frame, start, stop) for frame in range(len(record))])


def row_bands(record: ImageStack, plane: str = "data") -> list[tuple[int, int]]:
    """Return the row bands in which a plane is read."""
    rows, columns = record.shape
    return partition.row_bands(len(record), rows, columns * plane_dtype(record, plane).itemsize)


def plane_dtype(record: ImageStack, plane: str) -> np.dtype[Any]:
    """Return the dtype in which `read_plane` gives a plane."""
    if plane == "data":
        return record.dtype
    return np.dtype(bool) if plane == "mask" else record.plane(plane).dtype  # type: ignore[arg-type]


def pixel_coordinates(record: ImageStack) -> dict[str, Any]:
    """Return row and column of the pixels, from 0: they tell what part of the frames a slice is."""
    rows, columns = record.shape
    return {"row": ("y", np.arange(rows)), "column": ("x", np.arange(columns))}


def frame_coordinates(record: ImageStack) -> dict[str, Any]:
    """Return path, HDU, exposure, mid-time and filter of each frame."""
    return {
        "path": ("frame", np.asarray(record.paths, np.str_)),
        "hdu": ("frame", np.asarray(record.data.hdu)),
        "exposure": ("frame", np.asarray(record.exposure), {"unit": "s"}),
        "mid_time": (
            "frame",
            np.asarray(record.mid_time),
            {"unit": "d", "description": "MJD (UTC) of mid-exposure"},
        ),
        "filter": ("frame", np.asarray(record.filter, np.str_)),
    }
