"""Image stacks on disk: scan the headers of many FITS files once, then read row bands of them.

    files -> `scan_images` -> `ImageStack` (frozen, small) -> `read_rows`, `read_band`, `read_frame`

Nothing here knows dask: a task gets the record and a band, opens the files itself and closes them again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

from daskpar.errors import Fault, InputError
from daskpar.inputs.fits_file import Selector
from daskpar.inputs.image_files import Files, Source, expand, first_five, parse_selector
from daskpar.inputs.image_planes import PlaneFiles, flag_bits, plane_sources
from daskpar.inputs.image_read import (
    read_band,
    read_band_raw,
    read_frame,
    read_mask_rows,
    read_rows,
    read_rows_raw,
)
from daskpar.inputs.image_record import ImageStack, InputWarning, Plane
from daskpar.inputs.image_scan import Scanned, scan_file
from daskpar.inputs.image_table import check_alike, check_shape, make_plane, make_stack, make_warnings
from daskpar.inputs.image_wcs import check_aligned, wcs_shifts
from daskpar.inputs.pixel_format import PixelFormat
from daskpar.inputs.reading_plan import ReadingPlan, reading_plan

__all__ = [
    "ImageStack",
    "InputWarning",
    "PixelFormat",
    "Plane",
    "ReadingPlan",
    "check_aligned",
    "read_band",
    "read_band_raw",
    "read_frame",
    "read_mask_rows",
    "read_rows",
    "read_rows_raw",
    "reading_plan",
    "scan_images",
    "wcs_shifts",
]

#: Files that are timed first, and the seconds a file above which several threads pay.
_PROBE = 64
_SLOW = 0.0005


def scan_images(
    files: Files,
    hdu: int | str | tuple[str, int] | None = None,
    mask: PlaneFiles | None = None,
    dq_bits: int | Sequence[int] | None = None,
    uncertainty: PlaneFiles | None = None,
    checksum: Literal["ignore", "verify"] = "ignore",
    *,
    root: str | os.PathLike[str] | None = None,
    threads: int = 8,
) -> ImageStack:
    """Describe a stack of FITS images from their headers; no pixel is read.

    Parameters
    ----------
    files : str, path or sequence of them
        Names and globs, each with an HDU behind it if wanted: ``night1/*.fits``, ``m31.fits[SCI,2]``. The
        frames are in the order written, within a glob in natural order (``m2`` before ``m10``).
    hdu : int, str or (str, int), optional
        HDU where none is written behind a name: a number, EXTNAME, or EXTNAME and EXTVER. By default the
        first that holds an image.
    mask, uncertainty : HDU or files, optional
        An HDU of each frame's own file (``"DQ"``, 3, ``("DQ", 2)``), or one file for all frames, or one for
        each. Masks are true where a pixel must not be used; uncertainties are standard deviations.
    dq_bits : int or sequence of int, optional
        Flag values of the mask that count, as a sum or one by one (powers of two). By default all.
    checksum : {"ignore", "verify"}
        ``verify`` reads all data once, here, and compares CHECKSUM and DATASUM.
    root : path, optional
        Folder that relative names start from; by default the current one.
    threads : int
        Files looked at a time where they answer slowly, as on network file systems.

    Returns
    -------
    ImageStack
        Frozen; keeps no file open.

    Raises
    ------
    InputError
        Where files are missing, malformed or cut off, or frames differ in shape or dtype; all files are
        looked at, the first five offenders are shown.
    """
    if checksum not in ("ignore", "verify"):
        raise InputError(f"{checksum!r} is neither ignore nor verify", "choose one", key="checksum")
    folder = os.path.abspath(root if root is not None else ".")
    sources = expand(files, folder)
    wanted = None if hdu is None else parse_selector(hdu)
    verify = checksum == "verify"
    bits = flag_bits(dq_bits)
    if bits and mask is None:
        raise InputError("bits are chosen, but no mask", "name it, as in mask='DQ'", key="dq_bits")
    rows = scan_sources(sources, folder, wanted, threads, verify)
    check_alike(rows, folder)
    seen = list(rows)

    def plane(name: str, where: PlaneFiles | None, *, integers: bool) -> Plane | None:
        if where is None:
            return None
        places = plane_sources(where, sources, wanted, folder, name)
        found = scan_sources(places, folder, None, threads, verify)
        check_shape(found, rows[0].shape, folder, name, integers=integers)
        seen.extend(found)
        return make_plane(found)

    return replace(
        make_stack(rows, folder),
        mask=plane("mask", mask, integers=bits > 0),
        uncertainty=plane("uncertainty", uncertainty, integers=False),
        dq_bits=bits,
        warnings=make_warnings(rows, seen),
    )


def scan_sources(
    sources: Sequence[Source], root: str, wanted: Selector | None, threads: int, verify: bool
) -> list[Scanned]:
    """Scan files, in order; each different one once.

    Raises
    ------
    InputError
        With the first five faults, after all files were looked at.
    """

    def scan(source: Source) -> Scanned | Fault:
        return scan_file(source, root, wanted, verify)

    unique = list(dict.fromkeys(sources))
    begin = time.perf_counter()
    first = 1 if verify else _PROBE
    found = [scan(source) for source in unique[:first]]
    # On a local disk the interpreter is the limit, and threads would only hinder each other.
    if time.perf_counter() - begin < _SLOW * len(found):
        found += map(scan, unique[first:])
    else:
        with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
            found += pool.map(scan, unique[first:])
    faults = [row for row in found if isinstance(row, Fault)]
    if faults:
        raise InputError(faults=first_five(faults))
    rows = {source: row for source, row in zip(unique, found, strict=True) if isinstance(row, Scanned)}
    return [rows[source] for source in sources]
