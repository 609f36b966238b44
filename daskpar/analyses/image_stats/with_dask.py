"""Image statistics as a dask graph of durable blocks.

`combine`: a block is a band of rows of all frames, 16 to 64 MB of input; it opens its files itself. Above
the blocks, one getitem a block and output variable. `frame_stats`: a block is a run of whole frames. The
record of the files is one node of the graph that all blocks refer to.

Tasks: blocks x (1 + output variables). Memory a task: the band as stored, and the kernel's tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from dask._task_spec import DataNode, Task, TaskRef
from dask.delayed import Delayed, delayed
from dask.highlevelgraph import HighLevelGraph

from daskpar.analyses.image_stats import kernel
from daskpar.durable import digest_of, durable
from daskpar.errors import InputError
from daskpar.inputs.images import ImageStack, read_band, read_band_raw, read_frame, scan_images

if TYPE_CHECKING:
    from daskpar.analyses.image_stats import ImageStatsOptions

BLOCK_BYTES = 32 << 20
LEAST_BLOCK_BYTES = 4 << 20
LEAST_BLOCKS = 64

PIXEL_VARIABLES = ("combined", "uncertainty", "count", "rejected_low", "rejected_high")
EXTENSION_NAMES = dict(zip(PIXEL_VARIABLES, ("SCI", "ERR", "COUNT", "REJLOW", "REJHIGH"), strict=True))


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
        (frame, y, x), native byte order, in chunks of row bands of all frames; coordinates path, exposure
        (s), mid_time (MJD) and filter; ``attrs`` unit and wcs_header. With a mask or uncertainty, a Dataset
        of data, mask and uncertainty.

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
    source, name = f"frames-{identity}", f"{_PREFIX}{plane}-{identity}"
    table = record.plane(plane)  # type: ignore[arg-type]
    dtype = np.dtype(bool) if plane == "mask" else table.dtype
    bands = list(row_bands(len(record), record.shape, table.dtype.itemsize))
    graph: dict[Any, Any] = {source: DataNode(source, record)}
    for number, (start, stop) in enumerate(bands):
        key = (name, 0, number, 0)
        graph[key] = Task(key, read_plane, TaskRef(source), plane, start, stop)
    chunks = ((len(record),), tuple(stop - start for start, stop in bands), (record.shape[1],))
    array = da.Array(HighLevelGraph.from_collections(name, graph), name, chunks, dtype=dtype)
    attrs = {"unit": record.unit, "wcs_header": record.wcs_header}
    return xr.DataArray(
        array, dims=("frame", "y", "x"), coords=frame_coordinates(record), attrs=attrs, name=plane
    )


_PREFIX = "stack-"


def read_plane(record: ImageStack, plane: str, start: int, stop: int) -> Any:
    """Read a band of rows of all frames of one plane, native (frames, rows, columns)."""
    if plane == "mask":
        return read_masks(record, start, stop)
    return read_band(record, start, stop, plane=plane)  # type: ignore[arg-type]


def read_masks(record: ImageStack, start: int, stop: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Read the masks of a band of rows of all frames, True where a pixel is not to be used."""
    from daskpar.inputs.image_read import read_mask_rows

    return np.stack([read_mask_rows(record, frame, start, stop) for frame in range(len(record))])


def record_of(stack: xr.DataArray) -> ImageStack | None:
    """Return the record behind an array that is still as `open_stack` made it, else None.

    It is known by its dask name, which any arithmetic changes; attributes would survive arithmetic.
    """
    data = stack.data
    name = getattr(data, "name", "")
    if not name.startswith(_PREFIX + "data-"):
        return None
    node = data.dask.get("frames-" + name.rpartition("-")[2])
    record = node() if callable(node) else None
    return record if isinstance(record, ImageStack) else None


def row_bands(n_frames: int, shape: tuple[int, int], itemsize: int) -> Iterator[tuple[int, int]]:
    """Yield the row bands that are the blocks of `combine`: they follow from the stack's size alone."""
    rows, columns = shape
    total = n_frames * rows * columns * itemsize
    blocks = max(-(-total // BLOCK_BYTES), min(LEAST_BLOCKS, total // LEAST_BLOCK_BYTES), 1)
    height = max(1, -(-rows // blocks))
    for start in range(0, rows, height):
        yield start, min(start + height, rows)


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
    )  # refuses what is out of range, here
    bands, blocks = _combine_blocks(stack, settings)
    dtype = np.dtype(np.float32 if _is_narrow(stack.dtype) else np.float64)
    dtypes = dict.fromkeys(PIXEL_VARIABLES, np.dtype(np.int32)) | {"combined": dtype, "uncertainty": dtype}
    attrs = {key: stack.attrs[key] for key in ("unit", "wcs_header") if stack.attrs.get(key)}
    variables: dict[str, Any] = {}
    for name, kind in dtypes.items():
        array = _banded(blocks, bands, name, kind, stack.shape[2])
        own = {"extname": EXTENSION_NAMES[name]} | (
            attrs if kind == dtype else {"wcs_header": attrs.get("wcs_header", "")}
        )
        variables[name] = (("y", "x"), array, own)
    for name in ("frame_rejected_low", "frame_rejected_high"):
        total = delayed(_sum_in_order, pure=True)(blocks, name)
        variables[name] = (("frame",), da.from_delayed(total, (stack.shape[0],), np.int64))
    coords = {name: coord for name, coord in stack.coords.items() if coord.dims == ("frame",)}
    return xr.Dataset(variables, coords, attrs)


def _is_narrow(dtype: np.dtype[Any]) -> bool:
    return dtype.itemsize <= (4 if dtype.kind == "f" else 2)


def _combine_blocks(
    stack: xr.DataArray, settings: Mapping[str, Any]
) -> tuple[list[tuple[int, int]], list[Delayed]]:
    record = record_of(stack)
    bands = list(row_bands(stack.shape[0], (stack.shape[1], stack.shape[2]), stack.dtype.itemsize))
    if record is not None:
        identity: Any = record.identity()
        source = delayed(record, name=f"frames-{identity}", traverse=False)
        inputs: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            (combine_files, (source, start, stop)) for start, stop in bands
        ]
    else:
        array = _dask_array(stack).rechunk((-1, tuple(stop - start for start, stop in bands), -1))
        identity = array.name
        inputs = [(combine_array, (part,)) for part in array.to_delayed().reshape(-1)]
    return bands, [
        durable(function, *arguments, dict(settings), key=[identity, [start, stop], settings],
                label=f"combine rows {start}:{stop}")
        for (function, arguments), (start, stop) in zip(inputs, bands, strict=True)
    ]  # fmt: skip


def _dask_array(stack: xr.DataArray) -> da.Array:
    if stack.ndim != 3:
        raise InputError(f"the stack has {stack.ndim} dimensions", "give (frame, y, x)")
    data = stack.data
    return data if isinstance(data, da.Array) else da.from_array(data, chunks=data.shape, name=None)


def combine_files(record: ImageStack, start: int, stop: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Combine a band of rows of all frames, read here; of plain frames the kernel swaps the bytes."""
    masks = read_masks(record, start, stop) if record.mask is not None else None
    if record.data.stored is None or len(record.data.formats) > 1:
        return _combined(read_band(record, start, stop), settings, masks=masks)
    form = record.data.formats[0]
    units = {"bscale": form.bscale, "bzero": form.bzero, "blank": form.blank}
    return _combined(read_band_raw(record, start, stop), settings, masks=masks, **units)


def combine_array(frames: np.ndarray[Any, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Combine a band of rows of all frames that the graph hands over."""
    return _combined(np.ascontiguousarray(frames), settings)


def _combined(frames: np.ndarray[Any, Any], settings: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    rule = kernel.rejection(settings["rejection"], **{name: settings[name] for name in _RULE})
    return kernel.combine_band(frames, method=settings["method"], rejection=rule, **more)


_RULE = ("sigma", "maxiters", "center", "scale")


def _banded(
    blocks: Sequence[Delayed],
    bands: Sequence[tuple[int, int]],
    variable: str,
    dtype: np.dtype[Any],
    columns: int,
) -> da.Array:
    """Return one variable of all blocks as an array, a chunk a block."""
    name = f"{variable}-{digest_of([block.key for block in blocks])}"
    graph = {
        (name, number, 0): Task((name, number, 0), _variable, TaskRef(block.key), variable)
        for number, block in enumerate(blocks)
    }
    layers = HighLevelGraph.from_collections(name, graph, dependencies=blocks)
    return da.Array(layers, name, (tuple(stop - start for start, stop in bands), (columns,)), dtype=dtype)


def _variable(partial: Mapping[str, Any], name: str) -> Any:
    return partial[name]


def _sum_in_order(partials: Sequence[Mapping[str, Any]], name: str) -> Any:
    return np.sum([partial[name] for partial in partials], axis=0, dtype=np.int64)


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


def build(record: ImageStack, options: ImageStatsOptions) -> xr.Dataset:
    """Return the lazy result of the analysis: the combined image and the statistics of the frames."""
    stack = lazy_plane(record, "data")
    parts = []
    if options.combine is not None:
        parts.append(combine(stack, **options.combine.model_dump()))
    if options.frame_stats is not None:
        stats = frame_stats(stack, **options.frame_stats.model_dump())
        parts.append(stats.rename({name: f"frame_{name}" for name in stats.data_vars}))
    merged = xr.merge(parts, compat="override", join="override") if parts else xr.Dataset()
    return merged.assign_attrs(
        {"unit": record.unit, "wcs_header": record.wcs_header, "inputs": list(record.paths)}
    )


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
    groups = list(frame_groups(stack.shape[0], stack.shape[1] * stack.shape[2] * stack.dtype.itemsize))
    blocks = _frame_blocks(stack, groups, settings)
    variables = {}
    for name in FRAME_VARIABLES:
        kind = np.dtype(np.int64 if name in ("count", "nan_count") else np.float64)
        tail = ((len(percentiles),),) if name == "percentile" else ()
        array = _grouped(blocks, groups, name, kind, tail)
        variables[name] = (("frame", "q")[: 1 + len(tail)], array)
    coords = {name: coord for name, coord in stack.coords.items() if coord.dims == ("frame",)}
    return xr.Dataset(
        variables, {**coords, "q": np.asarray(percentiles, float)}, {"unit": stack.attrs.get("unit", "")}
    )


FRAME_VARIABLES = (
    "count", "nan_count", "min", "max", "mean", "std", "median", "mad",
    "clipped_mean", "clipped_median", "clipped_std", "percentile",
)  # fmt: skip


def frame_groups(n_frames: int, frame_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of frames that are the blocks of `frame_stats`."""
    total = n_frames * frame_bytes
    blocks = max(-(-total // BLOCK_BYTES), min(LEAST_BLOCKS, total // LEAST_BLOCK_BYTES), 1)
    size = max(1, -(-n_frames // blocks))
    for start in range(0, n_frames, size):
        yield start, min(start + size, n_frames)


def _frame_blocks(
    stack: xr.DataArray, groups: Sequence[tuple[int, int]], settings: Mapping[str, Any]
) -> list[Delayed]:
    record = record_of(stack)
    if record is None:
        array = _dask_array(stack).rechunk((tuple(stop - start for start, stop in groups), -1, -1))
        parts = array.to_delayed().reshape(-1)
        return [
            durable(array_stats, part, dict(settings), key=[array.name, [start, stop], settings],
                    label=f"statistics of frames {start}:{stop}")
            for part, (start, stop) in zip(parts, groups, strict=True)
        ]  # fmt: skip
    source = delayed(record, name=f"frames-{record.identity()}", traverse=False)
    return [
        durable(
            file_stats,
            source,
            start,
            stop,
            dict(settings),
            key=[record.identity(slice(start, stop)), settings],
            label=f"statistics of frames {start}:{stop}",
        )
        for start, stop in groups
    ]


def file_stats(record: ImageStack, start: int, stop: int, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of some frames, read here one after the other."""
    return _stacked([kernel.frame_statistics(read_frame(record, i), **settings) for i in range(start, stop)])


def array_stats(frames: np.ndarray[Any, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistics of frames that the graph hands over."""
    return _stacked([kernel.frame_statistics(np.ascontiguousarray(frame), **settings) for frame in frames])


def _stacked(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: np.stack([np.asarray(row[name]) for row in rows]) for name in rows[0]}


def _grouped(
    blocks: Sequence[Delayed],
    groups: Sequence[tuple[int, int]],
    variable: str,
    dtype: np.dtype[Any],
    tail: Any,
) -> da.Array:
    name = f"{variable}-{digest_of([block.key for block in blocks])}"
    zeros = (0,) * len(tail)
    graph = {
        (name, number, *zeros): Task((name, number, *zeros), _variable, TaskRef(block.key), variable)
        for number, block in enumerate(blocks)
    }
    layers = HighLevelGraph.from_collections(name, graph, dependencies=blocks)
    return da.Array(layers, name, (tuple(stop - start for start, stop in groups), *tail), dtype=dtype)
