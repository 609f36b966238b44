"""The finished result of a run on disk: one `.npy` file an array and one `dataset.json`.

Saved in one pass, a band of the leading dimension at a time, so memory does not depend on the size of the
result; the result hash is taken in the same pass. Opened lazily: an array is read when, and where, it is
asked for.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.optimization import cull
from numpy.lib import format as npy

from daskpar.atomic import replacing_folder
from daskpar.errors import AnalysisError

BAND_BYTES = 16 << 20  # two are held: one is computed while the caller is at the other


def save(dataset: xr.Dataset, folder: Path) -> str:
    """Write a Dataset, lazy or not, and return its result hash.

    Returns
    -------
    str
        SHA-256 over the data variables in order of their names: name, dims, shape, little-endian dtype,
        bytes, with one NaN and +0.0. Coordinates and attributes hold paths and times, and do not enter.
    """
    whole = hashlib.sha256()
    order = list(map(str, dataset.variables))
    layout: dict[str, Any] = {"attrs": plain(dataset.attrs), "order": order, "variables": {}, "coords": []}
    with replacing_folder(folder) as temporary:
        for number, name in enumerate(sorted(map(str, dataset.variables))):
            variable = dataset.variables[name]
            file = f"{number:04d}.npy"
            digest = _save_array(variable, temporary / file)
            layout["variables"][name] = {
                "file": file, "dims": list(map(str, variable.dims)), "attrs": plain(variable.attrs),
                "chunks": _leading_chunks(variable), "sha256": digest,
            }  # fmt: skip
            if name in dataset.coords:
                layout["coords"].append(name)
            else:
                whole.update(f"{name} {variable.dims} {variable.shape} {digest}\n".encode())
        layout["result_hash"] = whole.hexdigest()
        (temporary / "dataset.json").write_text(json.dumps(layout, indent=1))
    return whole.hexdigest()


def result_hash(dataset: xr.Dataset) -> str:
    """Return what `save` would return for a Dataset, and write nothing."""
    whole = hashlib.sha256()
    for name in sorted(map(str, dataset.data_vars)):
        variable = dataset.variables[name]
        dtype = _storable(variable.dtype)
        digest = hashlib.sha256(f"{dtype.str} {variable.shape}".encode())
        for band in bands(variable.data):
            data = np.ascontiguousarray(band, dtype).reshape(-1)
            digest.update(memoryview(_canonical(data).view(np.uint8)))  # type: ignore[arg-type]
        whole.update(f"{name} {variable.dims} {variable.shape} {digest.hexdigest()}\n".encode())
    return whole.hexdigest()


def open_saved(folder: Path) -> xr.Dataset:
    """Open a saved Dataset lazily: dask arrays that read bands of the files."""
    layout = json.loads((folder / "dataset.json").read_text())
    variables = {
        name: xr.Variable(entry["dims"], _lazy(folder / entry["file"], entry), entry["attrs"])
        for name, entry in ((name, layout["variables"][name]) for name in layout["order"])
    }
    coords = {name: variables.pop(name) for name in layout["coords"]}
    return xr.Dataset(variables, {n: v.compute() for n, v in coords.items()}, layout["attrs"])


def saved_hash(folder: Path) -> str:
    """Return the result hash that was saved with a Dataset."""
    return str(json.loads((folder / "dataset.json").read_text())["result_hash"])


def unreadable(folder: Path) -> str:
    """Say which file of a saved Dataset is missing, cut or not what it should be, from its first bytes."""
    try:
        entries = json.loads((folder / "dataset.json").read_text())["variables"]
        files = [str(entry["file"]) for entry in entries.values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "dataset.json is damaged"
    for name in files:
        try:
            with open(folder / name, "rb") as file:
                npy.read_magic(file)
                shape, _, dtype = npy.read_array_header_1_0(file)
                whole = file.tell() + math.prod(shape) * dtype.itemsize == os.fstat(file.fileno()).st_size
        except (OSError, ValueError):
            whole = False
        if not whole:
            return f"{name} is damaged"
    return ""


def changed_arrays(folder: Path) -> list[str]:
    """Read a saved Dataset from end to end; return a line for each array that is not as it was saved."""
    try:
        layout = json.loads((folder / "dataset.json").read_text())
        entries = layout["variables"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"dataset.json cannot be read: {error}"]
    found, whole = [], hashlib.sha256()
    for name, entry in sorted(entries.items()):
        try:
            array = np.load(folder / entry["file"], mmap_mode="r")
            digest = _digest_of(array)
        except (OSError, ValueError) as error:
            found.append(f"{name} cannot be read: {error}")
            continue
        if digest != entry["sha256"]:
            found.append(f"{name} does not match its checksum")
        if name not in layout["coords"]:
            whole.update(f"{name} {tuple(entry['dims'])} {array.shape} {digest}\n".encode())
    if not found and whole.hexdigest() != layout["result_hash"]:
        found.append("dataset.json does not match the arrays")
    return found


def _digest_of(array: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    rows = max(1, BAND_BYTES * array.shape[0] // max(1, array.nbytes)) if array.ndim else 1
    pieces = (array[i : i + rows] for i in range(0, array.shape[0], rows)) if array.ndim else [array]
    for piece in pieces:
        data = _canonical(np.ascontiguousarray(piece).reshape(-1))
        digest.update(memoryview(data.view(np.uint8)))  # type: ignore[arg-type]
    return digest.hexdigest()


def bands(data: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Yield an array in C order, a band of its leading dimension at a time.

    The next band is computed in another thread while the caller is at this one.
    """
    if not dask.is_dask_collection(data):
        yield np.asarray(data)
        return
    chunks = _Chunks(data)
    groups = list(_groups(data)) if data.ndim else [[0]]
    with ThreadPoolExecutor(1) as ahead:
        following = ahead.submit(chunks.computed, groups[0])
        for number in range(len(groups)):
            band = following.result()
            if number + 1 < len(groups):
                following = ahead.submit(chunks.computed, groups[number + 1])
            yield band


def whole(data: Any) -> np.ndarray[Any, Any]:
    """Return an array in memory: its chunks are computed by a thread a core, each into its place."""
    if not dask.is_dask_collection(data) or not data.ndim:
        return next(bands(data))
    chunks, found = _Chunks(data), np.empty(data.shape, data.dtype)
    edges = np.cumsum([0, *data.chunks[0]]).tolist()

    def fill(number: int) -> None:
        found[edges[number] : edges[number + 1]] = chunks.computed([number])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(len(edges) - 1)):
            pass
    return found


class _Chunks:
    """The chunks of a dask array, to be computed some at a time in the thread that asks."""

    def __init__(self, data: Any) -> None:
        self.ndim, self.graph = data.ndim, dict(data.__dask_graph__())
        self.keys = data.__dask_keys__() if data.ndim else [data.__dask_keys__()]

    def computed(self, group: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return neighbours along the leading dimension as one array."""
        wanted = [self.keys[i] for i in group]
        flat = list(dask.core.flatten(wanted))
        values: Any = dask.get(cull(self.graph, flat)[0], wanted if self.ndim else flat)
        if len(flat) > 1:
            return np.asarray(da.core.concatenate3(values))
        for _ in range(self.ndim or 1):
            (values,) = values
        return np.asarray(values)


def _groups(data: Any) -> Iterator[list[int]]:
    """Yield runs of leading chunks that together hold about `BAND_BYTES`."""
    row = data.dtype.itemsize * int(np.prod(data.shape[1:], dtype=np.int64))
    group: list[int] = []
    held = 0
    for index, rows in enumerate(data.chunks[0]):
        if group and held + rows * row > BAND_BYTES:
            yield group
            group, held = [], 0
        group.append(index)
        held += rows * row
    if group:
        yield group


def _save_array(variable: xr.Variable, path: Path) -> str:
    dtype = _storable(variable.dtype)
    digest = hashlib.sha256(f"{dtype.str} {variable.shape}".encode())
    with open(path, "wb") as file:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": variable.shape}
        npy.write_array_header_1_0(file, header)
        for band in bands(variable.data):
            data = np.ascontiguousarray(band, dtype).reshape(-1)
            file.write(memoryview(data.view(np.uint8)))  # type: ignore[arg-type]
            digest.update(memoryview(_canonical(data).view(np.uint8)))  # type: ignore[arg-type]
    return digest.hexdigest()


def _storable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.hasobject:
        raise AnalysisError(
            f"the result holds an array of {dtype}", "use numbers, booleans, dates or fixed-width strings"
        )
    return dtype.newbyteorder("<")


def _canonical(data: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the array with one NaN and +0.0 only, so that equal results have equal bytes."""
    if data.dtype.kind not in "fc":
        return data
    parts = data.view(f"<f{data.dtype.itemsize // 2}") if data.dtype.kind == "c" else data
    return np.where(np.isnan(parts), np.array(np.nan, parts.dtype), parts + parts.dtype.type(0))


def _leading_chunks(variable: xr.Variable) -> list[int]:
    if not variable.ndim or not variable.size:
        return list(variable.shape[:1])
    rows = max(1, BAND_BYTES * variable.shape[0] // max(1, variable.nbytes))
    whole, rest = divmod(variable.shape[0], rows)
    return [rows] * whole + ([rest] if rest else [])


def _lazy(path: Path, entry: dict[str, Any]) -> Any:
    head = np.load(path, mmap_mode="r")
    if not head.ndim or not head.size:
        return np.array(head)
    name = f"read-{entry['sha256'][:16]}-{path.parent.parent.name}-{path.stem}"
    edges = np.cumsum([0, *entry["chunks"]]).tolist()
    tail = (0,) * (head.ndim - 1)
    graph = {(name, i, *tail): (_read, str(path), a, b) for i, (a, b) in enumerate(itertools.pairwise(edges))}
    chunks = (tuple(entry["chunks"]), *((n,) for n in head.shape[1:]))
    return da.Array(graph, name, chunks, dtype=head.dtype)


def _read(path: str, start: int, stop: int) -> Any:
    return np.array(np.load(path, mmap_mode="r")[start:stop])


def plain(value: Any) -> Any:
    """Return attributes as JSON values; numpy scalars and arrays become numbers and lists."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value
