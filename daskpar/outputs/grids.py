"""NetCDF and Zarr: the whole Dataset as it is, chunk by chunk, for xarray to open again."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.outputs import record
from daskpar.outputs.bands import bands
from daskpar.outputs.columns import plain
from daskpar.outputs.names import engine

if TYPE_CHECKING:
    import xarray as xr

# A scalar variable, not an attribute: HDF5 allows attributes of 64 kB only.
VARIABLE = "daskpar_provenance"
_CHUNK_BYTES = 8 * 1024**2


def write(dataset: xr.Dataset, path: Path, provenance: Mapping[str, Any], suffix: str = ".nc") -> None:
    """Write a Dataset with all its variables, coordinates and attributes.

    Parameters
    ----------
    dataset : xarray.Dataset
        May be dask-backed. Chunks are computed and written one after another in this thread: no two ever
        write the same stored chunk.
    path : Path
        The file to fill (``.nc``), or the folder (``.zarr``).
    provenance : mapping
        Kept in the scalar variable ``daskpar_provenance``.
    suffix : str
        ``.nc`` or ``.zarr``.
    """
    storable = _storable(dataset)
    provenance_text = record.to_text(provenance)
    storable[VARIABLE] = ((), np.array(provenance_text, dtype=object))
    encoding = {str(name): _encoding(storable[name], suffix) for name in storable.variables}
    written: Any
    with _failures_as_os_errors(path):
        if suffix == ".nc":
            _require_room(path, storable.nbytes + len(provenance_text))
            chosen: Any = engine(suffix)
            written = storable.to_netcdf(path, engine=chosen, encoding=encoding, compute=False)
        else:
            options: Any = {"zarr_format": 3, "consolidated": False, "safe_chunks": False}
            written = storable.to_zarr(path, mode="w", encoding=encoding, compute=False, **options)
        written.compute(scheduler="synchronous")


def _require_room(path: Path, size: int) -> None:
    """Refuse what cannot fit before it is begun: HDF5 may crash the process where writing fails."""
    status = os.statvfs(path.parent)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if status.f_bavail * status.f_frsize < size:
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} for {size} bytes", str(path))
    if limit not in (-1, resource.RLIM_INFINITY) and limit < size:
        raise OSError(errno.EFBIG, f"{os.strerror(errno.EFBIG)}: {size} bytes", str(path))


@contextlib.contextmanager
def _failures_as_os_errors(written: Path | None = None) -> Iterator[None]:
    """Show failures of the HDF5 libraries, such as a full disk, as what they are."""
    try:
        yield
    except Exception as error:
        if written is not None and written.is_file():
            # HDF5 keeps the file open and flushes it once more when it is collected. On a full disk that
            # fails again, loudly and out of our hands; the room it needs is what has been written in vain.
            os.truncate(written, 0)
        if isinstance(error, RuntimeError):
            raise OSError(f"the storage library failed: {error}") from error
        raise


def _storable(dataset: xr.Dataset) -> xr.Dataset:
    """Return a Dataset whose attributes and texts both formats can hold; ``units`` repeats ``unit`` (CF)."""
    changed = dataset.copy()
    changed.attrs = _plain_attributes(dataset.attrs)
    for name, variable in dataset.variables.items():
        if variable.dtype.kind in "OUST":
            changed[name] = (variable.dims, plain(np.asarray(variable.values)).astype(object))
        changed[name].attrs = _plain_attributes(variable.attrs)
        changed[name].encoding = {}
        if "unit" in variable.attrs and variable.dtype.kind not in "Mm":
            changed[name].attrs.setdefault("units", str(variable.attrs["unit"]))
    return changed


def _plain_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Keep numbers and texts as they are; write anything else as JSON."""
    plain_types = (str, int, float, np.integer, np.floating)
    return {
        str(key): value
        if isinstance(value, plain_types) and not isinstance(value, bool)
        else json.dumps(value, default=str)
        for key, value in attributes.items()
    }


def _encoding(variable: xr.DataArray, suffix: str) -> dict[str, Any]:
    """Store arrays in chunks of whole rows, with checksums."""
    if variable.ndim == 0 or variable.size == 0 or variable.dtype.kind == "O":
        return {}
    row = variable.nbytes // variable.shape[0]
    rows = min(variable.shape[0], max(1, _CHUNK_BYTES // max(1, row)))
    chunks = (rows, *variable.shape[1:])
    if suffix == ".nc":
        return {"chunksizes": chunks, "fletcher32": True}
    from zarr.codecs import ZstdCodec

    return {"chunks": chunks, "compressors": (ZstdCodec(level=1, checksum=True),)}


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; KeyError where it holds none."""
    with _opened(path) as opened:
        return record.from_text(str(opened[VARIABLE].values))


def verify(path: Path) -> None:
    """Read all chunks with their checksums; an error of the storage library where one is wrong."""
    with _opened(path) as opened, _failures_as_os_errors():
        for name in opened.variables:
            for _ in bands(opened[name]) if opened[name].ndim else [opened[name].values]:
                pass


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    import xarray as xr

    options: Any = {"engine": engine(path.suffix), "decode_times": False}
    if path.suffix == ".zarr":
        options["consolidated"] = False
    with xr.open_dataset(path, **options) as opened:
        yield opened
