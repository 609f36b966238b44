"""Where the blocks of a combination find their pixels: descriptions, a few numbers each, never the data.

Each source has a `shape` (frame, y, x), a `dtype`, an `identity` for keys, and ``read(start, stop)``: a band
of rows of all frames, native. `FileBands` opens the files itself; `MappedArray` maps an array of the caller's
that was written to scratch; `StagedBands`, in `staging`, reads what was decoded before.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.image_stats.alignment import AlignedStack, aligned_rows
from daskpar.analyses.image_stats.calibration import CalibratedStack, calibrated
from daskpar.analyses.image_stats.with_dask.stack import plane_dtype, read_plane
from daskpar.inputs.images import ImageStack, read_band_raw, read_mask_rows, read_rows

#: Arrays up to this size travel in the graph; larger ones are written to scratch once.
LARGEST_IN_GRAPH = 1 << 20
Array = NDArray[Any]


class Source(Protocol):
    """What a block needs of a plane."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    identity: str

    def read(self, start: int, stop: int) -> Array:
        """Return a band of rows of all frames, native, (frames, stop - start, columns)."""


class FileBands:
    """A plane of a stack of files, or a box cut out of it.

    Parameters
    ----------
    record : ImageStack
        The frames, taken already.
    plane : {"data", "mask", "uncertainty"}
        Which of their images.
    rows, columns : range, optional
        The box; steps of 1. By default all.
    """

    def __init__(
        self, record: ImageStack, plane: str = "data", rows: range | None = None, columns: range | None = None
    ) -> None:
        height, width = record.shape
        self.record, self.plane = record, plane
        self.rows, self.columns = rows or range(height), columns or range(width)
        self.shape = (len(record), len(self.rows), len(self.columns))
        self.dtype = plane_dtype(record, plane)
        box = f"{plane} {self.rows.start}:{self.rows.stop} {self.columns.start}:{self.columns.stop}"
        self.identity = f"{record.identity()} {box}"

    def read(self, start: int, stop: int) -> Array:
        """Return a band of rows of all frames, native."""
        first = self.rows.start
        return self._cut(read_plane(self.record, self.plane, first + start, first + stop))

    def read_stored(self, start: int, stop: int) -> tuple[Array, dict[str, Any]]:
        """Return a band as stored, and the scaling of its numbers; native where frames differ in form."""
        table = self.record.data
        as_they_are = self.plane == "data" and not isinstance(self.record, CalibratedStack | AlignedStack)
        if not as_they_are or table.stored is None or len(table.formats) > 1:
            return self.read(start, stop), {}
        form, first = table.formats[0], self.rows.start
        raw = read_band_raw(self.record, first + start, first + stop)
        return self._cut(raw), {"bscale": form.bscale, "bzero": form.bzero, "blank": form.blank}

    def same_files(self, other: Any) -> bool:
        """Whether another source is a plane of the same frames, cut in the same way."""
        return (
            isinstance(other, FileBands)
            and (self.rows, self.columns) == (other.rows, other.columns)
            and self.record.identity() == other.record.identity()
        )

    def take(self, frames: slice) -> FileBands:
        """Return the box of some of the frames."""
        return FileBands(self.record.take(frames), self.plane, self.rows, self.columns)

    def read_frame(self, frame: int) -> Array:
        """Return one frame of the box, native."""
        first, last = self.rows.start, self.rows.stop
        if isinstance(self.record, AlignedStack):
            return self._cut(aligned_rows(self.record, frame, first, last, self.plane))  # type: ignore[arg-type]
        if self.plane == "mask":
            return self._cut(read_mask_rows(self.record, frame, first, last))
        rows = read_rows(self.record, frame, first, last, plane=self.plane)  # type: ignore[arg-type]
        one = self.record.take(slice(frame, frame + 1))
        return self._cut(calibrated(one, self.plane, rows[np.newaxis], first, last)[0])

    def _cut(self, rows: Array) -> Array:
        whole = len(self.columns) == self.record.shape[1]
        return rows if whole else rows[..., self.columns.start : self.columns.stop]


class MappedArray:
    """An array of the caller's, (frame, y, x), or (y, x) for all frames; on disk unless it is small."""

    def __init__(self, array: Array, frames: int) -> None:
        self.shape = (frames, array.shape[-2], array.shape[-1])
        self.dtype = array.dtype
        self.identity = content_digest(array)
        self.array = array if array.nbytes <= LARGEST_IN_GRAPH else None
        self.path = None if self.array is not None else to_scratch(array, self.identity)

    def read(self, start: int, stop: int) -> Array:
        """Return a band of rows of all frames."""
        array: Any = self.array if self.path is None else from_scratch(self.path)
        return np.broadcast_to(array[..., start:stop, :], (self.shape[0], stop - start, self.shape[2]))

    def read_frame(self, frame: int) -> Array:
        """Return one frame, a copy."""
        array: Any = self.array if self.path is None else from_scratch(self.path)
        return np.array(array[frame] if array.ndim == 3 else array, order="C")


def content_digest(array: Array) -> str:
    """Return a digest of dtype, shape and values."""
    digest = hashlib.blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=20)
    for part in array if array.ndim == 3 else [array]:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def to_scratch(array: Array, digest: str) -> str:
    """Write an array to scratch, once, and return its path."""
    path = scratch_folder() / f"{digest}.npy"
    if not path.exists():
        temporary = path.with_suffix(".part")
        with open(temporary, "wb") as file:
            np.save(file, array)
        os.replace(temporary, path)
    return str(path)


def from_scratch(path: str) -> Array:
    """Map an array that `to_scratch` wrote."""
    mapped: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


@lru_cache(maxsize=1)
def scratch_folder() -> Path:
    """Return the folder for arrays of this process; it is removed when the process ends.

    It lies in ``DASKPAR_SCRATCH``, which all workers must see, or in the system's temporary folder.
    """
    folder = tempfile.mkdtemp(prefix="daskpar-arrays-", dir=os.environ.get("DASKPAR_SCRATCH"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
