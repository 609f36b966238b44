"""Scanning one file: from its headers to one row of the record. Reads header blocks, never pixels."""

from __future__ import annotations

import hashlib
import math
import os
from typing import NamedTuple

from daskpar.errors import Fault, InputError
from daskpar.inputs.file_access import OpenFile, check_inflation, is_gzip, opened, reader
from daskpar.inputs.fits_checksum import verify_checksums
from daskpar.inputs.fits_file import Hdu, Selector, axes, find, place
from daskpar.inputs.fits_header import Header, ReadAt
from daskpar.inputs.image_files import Source
from daskpar.inputs.image_meta import FrameMeta, frame_meta, wcs_cards
from daskpar.inputs.image_record import Storage
from daskpar.inputs.pixel_format import STORED, PixelFormat

NO_PADDING = "the padding at the end of the file is missing"
STRAY_BLANK = "BLANK is ignored: it is no integer, or the image is of floats"
NO_CHECKSUM = "neither CHECKSUM nor DATASUM is there to be verified"
NO_META = "values that make no sense count as unknown"


class Scanned(NamedTuple):
    """What one file says: a row of the record, before rows are compared."""

    source: Source
    size: int
    mtime_ns: int
    digest: bytes
    hdu: int
    offset: int
    format: PixelFormat
    storage: Storage
    shape: tuple[int, int]
    meta: FrameMeta
    wcs: bytes
    warnings: tuple[str, ...]


def scan_file(source: Source, root: str, wanted: Selector | None, verify: bool = False) -> Scanned | Fault:
    """Read the headers of one file.

    Parameters
    ----------
    source : Source
        The file, with the HDU written behind its name.
    root : str
        Folder that relative paths start from.
    wanted : Selector or None
        The HDU where none is written behind the name; None takes the first that holds an image.
    verify : bool
        Read the data too, and compare CHECKSUM and DATASUM.

    Returns
    -------
    Scanned or Fault
        A fault is returned, not raised, so that all files are looked at before the first five are shown.
    """
    wanted = wanted if source.selector is None else source.selector
    path = os.path.join(root, source.path)
    try:
        with opened(path) as file:
            zipped = is_gzip(file)
            with reader(file, zipped) as read_at:
                return _scan(source, file, zipped, read_at, wanted, verify)
    except InputError as error:
        fault = error.faults[0]
        return Fault(fault.what, fault.todo, path, fault.place, fault.key)
    except OSError as error:
        return Fault(f"it cannot be read: {error.strerror}", "look at the file system", path)


def _scan(
    source: Source, file: OpenFile, zipped: bool, read_at: ReadAt, wanted: Selector | None, verify: bool
) -> Scanned:
    hdu, primary = find(read_at, None if zipped else file.size, wanted)
    try:
        row = _row(source, file, hdu, primary, zipped)
        if verify and not verify_checksums(read_at, hdu):
            row = row._replace(warnings=(*row.warnings, NO_CHECKSUM))
        return row
    except InputError as error:
        fault = error.faults[0]
        raise InputError(fault.what, fault.todo, place=place(hdu.number), key=fault.key) from None


def _row(source: Source, file: OpenFile, hdu: Hdu, primary: Header, zipped: bool) -> Scanned:
    warnings: list[str] = []
    shape = _shape(hdu)
    form = _format(hdu, warnings)
    _check_length(file, hdu, shape, form, zipped, warnings)
    meta = frame_meta(hdu.header, primary)
    warnings += [f"{key}: {NO_META}" for key in meta.unreadable]
    digest = hashlib.blake2b(primary.raw, digest_size=16)
    if hdu.number:
        digest.update(hdu.header.raw)
    storage: Storage = "tiled" if hdu.kind == "tiled" else "gzip" if zipped else "plain"
    if storage == "tiled" and zipped:
        raise InputError("a tile-compressed image inside a gzip file", "gunzip it: it is compressed already")
    return Scanned(
        source, file.size, file.mtime_ns, digest.digest(), hdu.number, hdu.data_start, form, storage,
        shape, meta, wcs_cards(hdu.header), tuple(warnings),
    )  # fmt: skip


def _shape(hdu: Hdu) -> tuple[int, int]:
    """Return (rows, columns); further axes may only have length 1."""
    shape = axes(hdu.header, "Z") if hdu.kind == "tiled" else hdu.shape
    if len(shape) < 2:
        raise InputError(f"the image has {len(shape)} axis", "frames have two axes", key="NAXIS")
    if any(length != 1 for length in shape[:-2]):
        text = " x ".join(map(str, reversed(shape)))
        todo = "split it: a frame has two axes, further ones of length 1"
        raise InputError(f"the image is a cube of {text}", todo, key="NAXIS3")
    if not shape[-1] * shape[-2]:
        raise InputError("the image has no pixels", "remove the file from the list", key="NAXIS1")
    return shape[-2], shape[-1]


def _format(hdu: Hdu, warnings: list[str]) -> PixelFormat:
    header, tiled = hdu.header, hdu.kind == "tiled"
    bitpix = header.get("ZBITPIX" if tiled else "BITPIX")
    if not isinstance(bitpix, int) or bitpix not in STORED:
        raise InputError(f"ZBITPIX = {bitpix}", f"FITS allows {', '.join(map(str, STORED))}", key="ZBITPIX")
    scale, zero = _number(header, "BSCALE", 1.0), _number(header, "BZERO", 0.0)
    blank = header.get("BLANK")
    if blank is None and tiled:
        blank = header.get("ZBLANK")
    if blank is not None and (bitpix < 0 or isinstance(blank, bool) or not isinstance(blank, int)):
        if not tiled:
            warnings.append(STRAY_BLANK)
        blank = None
    return PixelFormat(bitpix, scale, zero, blank)


def _number(header: Header, key: str, default: float) -> float:
    value = header.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{key} is {value!r}, not a number", "mend the header", key=key)
    return float(value)


def _check_length(
    file: OpenFile, hdu: Hdu, shape: tuple[int, int], form: PixelFormat, zipped: bool, warnings: list[str]
) -> None:
    if zipped or hdu.kind == "tiled":
        decoded = shape[0] * shape[1] * abs(form.bitpix) // 8
        check_inflation(decoded + (hdu.data_start if zipped else 0), file.size)
    if zipped:
        return
    there = file.size - hdu.data_start
    if there < hdu.data_bytes:
        what = f"the data are cut off: {hdu.data_bytes} bytes by the header, {max(there, 0)} in the file"
        raise InputError(what, "fetch the file again")
    if file.size < hdu.next_start:
        warnings.append(NO_PADDING)
