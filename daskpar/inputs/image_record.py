"""The frozen record of a stack of frames: all that is known before a pixel is read.

Files become a table here, once; graphs, keys, plans and readers only look things up in it. It holds no open
file and no array of pixels, and pickles to a few MB for ten thousand frames.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.inputs.pixel_format import PixelFormat

#: How the pixels lie in the file: as they are, inside a gzip stream, or as a tile-compressed table.
Storage = Literal["plain", "gzip", "tiled"]
PlaneName = Literal["data", "mask", "uncertainty"]


class InputWarning(NamedTuple):
    """Something odd but harmless: what, in how many files, and the first five of them."""

    what: str
    files: int
    paths: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.files > len(self.paths) else ""
        return f"{self.what} ({self.files}: {', '.join(self.paths)}{more})"


@dataclass(frozen=True, eq=False)
class Plane:
    """One image of every frame, the data say, or the masks: where it lies and how it is stored.

    Attributes
    ----------
    paths : tuple of str
        File of each frame, relative to the root of the record where it lies below it.
    size, mtime_ns : int64 arrays (n,)
        Length and modification time of the files when they were scanned.
    digest : uint8 array (n, 16)
        BLAKE2b of the headers (primary and of this HDU).
    hdu : int32 array (n,)
        Number of the HDU.
    offset : int64 array (n,)
        Where its data begin in the (inflated) file.
    formats : tuple of PixelFormat
        The different stored forms; `format` (uint32 array (n,)) holds the number of each frame's.
    storage : tuple of str
        ``plain``, ``gzip`` or ``tiled``, of each frame.
    dtype : numpy dtype
        Native dtype of the pixel values, the same for all frames.
    """

    paths: tuple[str, ...]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    digest: NDArray[np.uint8]
    hdu: NDArray[np.int32]
    offset: NDArray[np.int64]
    formats: tuple[PixelFormat, ...]
    format: NDArray[np.uint32]
    storage: tuple[Storage, ...]
    dtype: np.dtype[Any]

    @property
    def sliceable(self) -> bool:
        """Whether row bands of all frames can be read without decoding whole frames."""
        return all(storage == "plain" for storage in self.storage)

    @property
    def stored(self) -> np.dtype[Any] | None:
        """The big-endian dtype in all files; None where it differs or a file is compressed."""
        kinds = {form.stored for form in self.formats}
        return kinds.pop() if len(kinds) == 1 and self.sliceable else None

    @cached_property
    def frame_identities(self) -> NDArray[np.uint8]:
        """A digest of path, size, mtime, header and HDU of each frame, uint8 (n, 16)."""
        rows = np.empty((len(self.paths), 16), np.uint8)
        columns = (self.size.tolist(), self.mtime_ns.tolist(), self.hdu.tolist(), self.digest)
        for i, (path, size, mtime, hdu, header) in enumerate(zip(self.paths, *columns, strict=True)):
            text = os.fsencode(path) + b"\0%d\0%d\0%d\0" % (size, mtime, hdu) + header.tobytes()
            rows[i] = np.frombuffer(hashlib.blake2b(text, digest_size=16).digest(), np.uint8)
        return rows

    def take(self, frames: slice) -> Plane:
        """Return the plane of some of the frames."""
        arrays = ("paths", "size", "mtime_ns", "digest", "hdu", "offset", "format", "storage")
        return replace(self, **{name: getattr(self, name)[frames] for name in arrays})

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key != "frame_identities"}


@dataclass(frozen=True, eq=False)
class ImageStack:
    """A stack of equal-sized frames, as scanned: the frozen record that everything else looks things up in.

    Attributes
    ----------
    root : str
        Absolute folder that relative paths start from.
    shape : (int, int)
        Rows and columns of every frame (numpy order: NAXIS2, NAXIS1).
    data : Plane
        Where the frames lie.
    exposure, mid_time : float64 arrays (n,)
        Seconds; MJD (UTC) of mid-exposure. NaN where the header does not say.
    filter : tuple of str
        ``""`` where the header does not say.
    unit : str
        BUNIT, a FITS unit string, where all frames agree; else ``""``.
    wcs_header : str
        Celestial WCS cards of the first frame, 80 characters each; ``""`` where it has none.
    wcs_texts : tuple of bytes
        The different celestial WCS of the frames, without comments; `wcs` (uint32 array (n,)) holds
        the number of each frame's.
    mask, uncertainty : Plane or None
        The same for masks and uncertainties, where asked.
    dq_bits : int
        Masked is where ``mask & dq_bits`` is not 0; 0 stands for "where the mask is not 0".
    warnings : tuple of InputWarning
        Odd but harmless things, counted.
    """

    root: str
    shape: tuple[int, int]
    data: Plane
    exposure: NDArray[np.float64]
    mid_time: NDArray[np.float64]
    filter: tuple[str, ...]
    unit: str
    wcs_header: str
    wcs_texts: tuple[bytes, ...]
    wcs: NDArray[np.uint32]
    mask: Plane | None = None
    uncertainty: Plane | None = None
    dq_bits: int = 0
    warnings: tuple[InputWarning, ...] = ()

    def __len__(self) -> int:
        return len(self.data.paths)

    def __repr__(self) -> str:
        return f"<ImageStack: {len(self)} frames of {self.shape[0]} x {self.shape[1]} {self.dtype}>"

    def __dask_tokenize__(self) -> str:
        return self.identity()

    @property
    def paths(self) -> tuple[str, ...]:
        """File of each frame, relative to the root where it lies below it."""
        return self.data.paths

    @property
    def dtype(self) -> np.dtype[Any]:
        """Native dtype of the pixel values."""
        return self.data.dtype

    @property
    def planes(self) -> tuple[PlaneName, ...]:
        """Names of the planes that the stack has."""
        names: tuple[PlaneName, ...] = ("data", "mask", "uncertainty")
        return tuple(name for name in names if getattr(self, name) is not None)

    @property
    def sliceable(self) -> bool:
        """Whether row bands of every plane can be read without decoding whole frames."""
        return all(self.plane(name).sliceable for name in self.planes)

    def plane(self, name: PlaneName = "data") -> Plane:
        """Return one plane of the record.

        Raises
        ------
        KeyError
            Where the stack was scanned without it.
        """
        found: Plane | None = getattr(self, name)
        if found is None:
            raise KeyError(f"the stack was scanned without {name}=")
        return found

    def path(self, frame: int, plane: PlaneName = "data") -> str:
        """Return the full path of the file of a frame."""
        return os.path.join(self.root, self.plane(plane).paths[frame])

    def identity(self, frames: slice = slice(None)) -> str:
        """Return the digest of some frames that belongs into keys.

        It covers the paths relative to the root, sizes, modification times, headers and HDUs of data, masks
        and uncertainties, and `dq_bits`; not the root, so that a moved folder keeps its results.
        """
        digest = hashlib.blake2b(b"%d" % self.dq_bits, digest_size=20)
        for name in ("data", "mask", "uncertainty"):
            plane: Plane | None = getattr(self, name)
            digest.update(name.encode() if plane is not None else b"-")
            if plane is not None:
                digest.update(plane.frame_identities[frames].tobytes())
        return digest.hexdigest()

    def take(self, frames: slice) -> ImageStack:
        """Return the record of some of the frames; the warnings stay with the whole."""
        mask, uncertainty = (p.take(frames) if p else None for p in (self.mask, self.uncertainty))
        arrays = ("exposure", "mid_time", "filter", "wcs")
        parts = {name: getattr(self, name)[frames] for name in arrays}
        data = self.data.take(frames)
        return replace(self, data=data, mask=mask, uncertainty=uncertainty, warnings=(), **parts)
