"""Columns as a FITS binary table: units, missing values, array cells, text as ASCII."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np

from daskpar.outputs.columns import Column
from daskpar.outputs.fits_stream import write_hdu

_LETTERS = {
    "b1": "L", "u1": "B", "i2": "I", "u2": "I", "i4": "J", "u4": "J", "i8": "K", "u8": "K",
    "f4": "E", "f8": "D", "c8": "C", "c16": "M",
}  # fmt: skip
_WIDER = {"i1": "i2", "f2": "f4", "g": "f8"}


def write_table(stream: BinaryIO, table: list[Column], extension: str) -> None:
    """Append a binary table to a file: astropy lays it out in memory, its bytes go through `write_hdu`.

    Missing values are NaN, empty text, or the TNULL of an integer column; text beyond ASCII is escaped.
    """
    from astropy.io import fits

    hdu = fits.BinTableHDU.from_columns([_fits_column(column) for column in table], name=extension)
    for number, column in enumerate(table, start=1):
        if column.description:
            hdu.header.set(f"TCOMM{number}", _ascii(column.description), after=f"TFORM{number}")
    stored = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stored, output_verify="exception")
    raw = stored.getvalue()
    with fits.open(io.BytesIO(raw)) as opened:
        header, start = opened[1].header.copy(), opened[1].fileinfo()["datLoc"]
    size = header["NAXIS1"] * header["NAXIS2"] + header["PCOUNT"]
    write_hdu(stream, header, [np.frombuffer(raw, dtype=np.uint8, count=size, offset=start)])


def _fits_column(column: Column) -> Any:
    from astropy.io import fits

    values = _storable(column.values)
    null = None
    if column.mask is not None:
        values, null = _with_nulls(values, column.mask)
    cells = int(np.prod(values.shape[1:], dtype=int))
    if values.dtype.kind == "S":
        width = max(1, values.dtype.itemsize)
        form = f"{width}A" if values.ndim == 1 else f"{cells * width}A{width}"
    else:
        form = ("" if values.ndim == 1 else str(cells)) + _LETTERS[values.dtype.str[1:]]
    unsigned = values.dtype.kind == "u" and values.dtype.itemsize > 1
    return fits.Column(
        column.name,
        form,
        unit=column.unit or None,
        null=null,
        bzero=1 << (8 * values.dtype.itemsize - 1) if unsigned else None,
        dim=f"({','.join(map(str, reversed(values.shape[1:])))})" if values.ndim > 2 else None,
        array=values,
    )


def _storable(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if values.dtype.kind == "U":
        return np.char.encode(values, "ascii", "backslashreplace")
    return values.astype(_WIDER.get(values.dtype.str[1:], values.dtype), copy=False)


def _with_nulls(
    values: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]
) -> tuple[np.ndarray[Any, Any], int | None]:
    """Mark what is missing; the number is TNULL. A bool column becomes bytes, an unsigned one int64."""
    if values.dtype.kind in "fcS":
        values = values.copy()
        values[mask] = b"" if values.dtype.kind == "S" else np.nan
        return values, None
    values = values.astype({"b": np.uint8, "u": np.int64}.get(values.dtype.kind, values.dtype))
    limits = np.iinfo(values.dtype)
    null = int(limits.max if values.dtype == np.uint8 else limits.min)
    values[mask] = null
    return values, null


def _ascii(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode("ascii")
