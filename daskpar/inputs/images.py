"""Image stacks on disk: scan the headers of many FITS files once, then read row bands of them.

    files -> `scan_images` -> `ImageStack` (frozen, small, picklable) -> `read_rows`, `read_band`, `read_frame`

Nothing here knows dask: a task gets the record and a band, opens the files itself and closes them again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from daskpar.errors import Fault, InputError
from daskpar.inputs.fits_file import Selector
from daskpar.inputs.image_files import Files, Source, expand, first_five, parse_selector
from daskpar.inputs.image_meta import without_comments
from daskpar.inputs.image_read import read_band, read_band_raw, read_frame, read_rows, read_rows_raw
from daskpar.inputs.image_record import ImageStack, InputWarning, Plane
from daskpar.inputs.image_scan import Scanned, scan_file
from daskpar.inputs.pixel_format import PixelFormat

__all__ = [
    "ImageStack",
    "InputWarning",
    "PixelFormat",
    "Plane",
    "read_band",
    "read_band_raw",
    "read_frame",
    "read_rows",
    "read_rows_raw",
    "scan_images",
]


def scan_images(
    files: Files,
    hdu: int | str | tuple[str, int] | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
    threads: int = 8,
) -> ImageStack:
    """Describe a stack of FITS images from their headers; no pixel is read.

    Parameters
    ----------
    files : str, path or sequence of them
        Names and globs, each with an HDU behind it if wanted: ``night1/*.fits``, ``m31.fits[SCI,2]``. The
        frames are in the order written, within a glob in natural order.
    hdu : int, str or (str, int), optional
        HDU where none is written behind a name: a number, EXTNAME, or EXTNAME and EXTVER. By default the first
        that holds an image.
    root : path, optional
        Folder that relative names start from; by default the current one.
    threads : int
        Headers read at a time; more than one helps on network file systems.

    Returns
    -------
    ImageStack
        Frozen; keeps no file open.

    Raises
    ------
    InputError
        Where files are missing, malformed or cut off, or frames differ in shape or dtype; all files are looked
        at, the first five offenders are shown.
    """
    folder = os.path.abspath(root if root is not None else ".")
    sources = expand(files, folder)
    wanted = None if hdu is None else parse_selector(hdu)
    rows = scan_sources(sources, folder, wanted, threads)
    _check_alike(rows, folder)
    return _record(rows, folder)


def scan_sources(sources: Sequence[Source], root: str, wanted: Selector | None, threads: int) -> list[Scanned]:
    """Scan files, in order.

    Raises
    ------
    InputError
        With the first five faults, after all files were looked at.
    """

    def some(part: Sequence[Source]) -> list[Scanned | Fault]:
        return [scan_file(source, root, wanted) for source in part]

    parts = [sources[i : i + 64] for i in range(0, len(sources), 64)]
    with ThreadPoolExecutor(max_workers=max(1, min(threads, len(parts)))) as pool:
        found = [row for part in pool.map(some, parts) for row in part]
    faults = [row for row in found if isinstance(row, Fault)]
    if faults:
        raise InputError(faults=first_five(faults))
    return [row for row in found if isinstance(row, Scanned)]


def _check_alike(rows: Sequence[Scanned], root: str) -> None:
    """Refuse frames that differ from most in shape or in the dtype of their pixel values."""
    kinds = [(row.shape, row.format.dtype) for row in rows]
    (usual, count), *others = Counter(kinds).most_common()
    if not others:
        return
    todo = f"{count} of {len(rows)} frames are {_kind(*usual)}; combine equal frames only"
    faults = [
        Fault(f"the frame is {_kind(*kind)}", todo, os.path.join(root, row.source.path), f"[{row.hdu}]")
        for row, kind in zip(rows, kinds, strict=True)
        if kind != usual
    ]
    raise InputError(faults=first_five(faults))


def _kind(shape: tuple[int, int], dtype: np.dtype[Any]) -> str:
    return f"{shape[1]} x {shape[0]} {dtype}"


def _record(rows: Sequence[Scanned], root: str) -> ImageStack:
    texts: dict[bytes, int] = {}
    wcs = [texts.setdefault(without_comments(row.wcs), len(texts)) for row in rows]
    units = {row.meta.unit for row in rows}
    filters: dict[str, str] = {}
    return ImageStack(
        root=root,
        shape=rows[0].shape,
        data=_plane(rows),
        exposure=_frozen([row.meta.exposure for row in rows], np.float64),
        mid_time=_frozen([row.meta.mid_time for row in rows], np.float64),
        # Equal strings are shared: a pickle then holds each filter once.
        filter=tuple(filters.setdefault(row.meta.filter, row.meta.filter) for row in rows),
        unit=units.pop() if len(units) == 1 else "",
        wcs_header=rows[0].wcs.decode("latin-1"),
        wcs_texts=tuple(texts),
        wcs=_frozen(wcs, np.uint32),
        warnings=_warnings(rows),
    )


def _plane(rows: Sequence[Scanned]) -> Plane:
    forms: dict[PixelFormat, int] = {}
    digests = b"".join(row.digest for row in rows)
    return Plane(
        paths=tuple(row.source.path for row in rows),
        size=_frozen([row.size for row in rows], np.int64),
        mtime_ns=_frozen([row.mtime_ns for row in rows], np.int64),
        digest=np.frombuffer(digests, np.uint8).reshape(len(rows), 16),
        hdu=_frozen([row.hdu for row in rows], np.int32),
        offset=_frozen([row.offset for row in rows], np.int64),
        format=_frozen([forms.setdefault(row.format, len(forms)) for row in rows], np.uint16),
        formats=tuple(forms),
        storage=tuple(row.storage for row in rows),
        dtype=rows[0].format.dtype,
    )


def _frozen(values: Sequence[Any], dtype: Any) -> Any:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array


def _warnings(rows: Sequence[Scanned]) -> tuple[InputWarning, ...]:
    found: dict[str, list[str]] = {}
    for row in rows:
        for what in row.warnings:
            found.setdefault(what, []).append(row.source.path)
    units = Counter(row.meta.unit or "none" for row in rows)
    if len(units) > 1:
        text = ", ".join(f"{unit} in {count}" for unit, count in units.most_common(5))
        first = next(row.source.path for row in rows if (row.meta.unit or "none") != units.most_common(1)[0][0])
        found[f"BUNIT differs between frames: {text}"] = [first]
    return tuple(InputWarning(what, len(paths), tuple(paths[:5])) for what, paths in found.items())
