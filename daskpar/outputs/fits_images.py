"""FITS: an extension for each image, a table for each further dimension, the provenance as the last table.

``SCI, ERR, COUNT, REJLOW, REJHIGH`` are the extensions of a combined image; the primary HDU holds what all of
them share.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.errors import RecipeError
from daskpar.outputs import record
from daskpar.outputs.bands import bands
from daskpar.outputs.columns import Column, columns, images, table_dimensions
from daskpar.outputs.fits_header import extension_header, primary_header
from daskpar.outputs.fits_stream import sums_to_ones, write_hdu
from daskpar.outputs.fits_table import write_table

if TYPE_CHECKING:
    import xarray as xr

EXTENSION_NAMES = {
    "combined": "SCI",
    "uncertainty": "ERR",
    "count": "COUNT",
    "rejected_low": "REJLOW",
    "rejected_high": "REJHIGH",
}
PROVENANCE = "PROVENANCE"
_PIECE = 1 << 17  # elements


def write(dataset: xr.Dataset, path: Path, provenance: Mapping[str, Any], suffix: str = ".fits") -> None:
    """Write images, tables, scalars and provenance of a Dataset as a FITS file.

    Parameters
    ----------
    dataset : xarray.Dataset
        Images over (..., y, x), or any array with an ``attrs["extname"]``, become extensions, written band by
        band; variables over one other dimension a table named after it; scalars a table ``SCALARS`` of a row.
        ``attrs["unit"]`` and ``attrs["wcs_header"]`` enter the headers.
    path : Path
        The file to fill.
    provenance : mapping
        As `daskpar.provenance.provenance` makes it.
    """
    with open(path, "wb") as stream:
        write_hdu(stream, primary_header(dataset, provenance))
        for extension, variable in _extensions(dataset):
            header, offset = extension_header(variable, extension, dataset.attrs)
            write_hdu(stream, header, (to_disk(piece, offset) for piece in _pieces(variable)))
        for extension, table in _tables(dataset):
            write_table(stream, table, extension)
        rows = record.to_rows(provenance)
        keys, texts = (np.array([row[i] for row in rows] or [""]) for i in (0, 1))
        write_table(stream, [Column("key", keys), Column("json", texts)], PROVENANCE)


def _extensions(dataset: xr.Dataset) -> list[tuple[str, xr.DataArray]]:
    """Name the images: SCI first. Names are those that variables ask for, else their own in capitals."""
    found = images(dataset)
    names = [str(image.attrs.get("extname") or EXTENSION_NAMES.get(str(image.name), "")) for image in found]
    if found and "SCI" not in names and not names[0]:
        names[0] = "SCI"
    named = [(name or str(image.name).upper(), image) for name, image in zip(names, found, strict=True)]
    repeated = {name for name, _ in named if [other for other, _ in named].count(name) > 1}
    if repeated:
        raise RecipeError(f"two images would be called {min(repeated)}", "give them other extname attributes")
    return named


def _pieces(variable: xr.DataArray) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the elements in order, a cache-sized piece at a time: swapping and summing then cost little."""
    for band in bands(variable):
        flat = np.ascontiguousarray(band).reshape(-1)
        for start in range(0, flat.size, _PIECE):
            yield flat[start : start + _PIECE]


def _tables(dataset: xr.Dataset) -> Iterator[tuple[str, list[Column]]]:
    for dimension in table_dimensions(dataset):
        yield dimension.upper(), columns(dataset, dimension)
    scalars = columns(dataset, None)
    if scalars:
        yield "SCALARS", scalars


def to_disk(values: np.ndarray[Any, Any], offset: int) -> np.ndarray[Any, Any]:
    """Return values as FITS stores them: big-endian, unsigned integers (signed bytes) shifted by `offset`."""
    stored: np.ndarray[Any, Any]
    kind, size = values.dtype.kind, values.dtype.itemsize
    if kind == "b":
        stored = values.view(np.uint8)
    elif offset:  # shifting by half the range flips the highest bit
        bits = np.ascontiguousarray(values).view(f"u{size}")
        stored = np.bitwise_xor(bits, 1 << (8 * size - 1), dtype=bits.dtype).astype(f">u{size}")
    else:
        stored = values.astype(
            ">f4" if values.dtype == np.float16 else values.dtype.newbyteorder(">"), copy=False
        )
    return stored


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; KeyError where the file holds none, ValueError where it is damaged."""
    with _opened(path) as opened:
        _check_sum(path, opened[PROVENANCE])
        table = opened[PROVENANCE].data
        return record.from_rows([(str(row["key"]), str(row["json"])) for row in table])


def verify(path: Path) -> None:
    """Read the whole file, HDU by HDU, and compare it with its checksums.

    Raises
    ------
    ValueError
        Names the extension that is not as it was written.
    """
    with _opened(path) as opened:
        for hdu in opened:
            _check_sum(path, hdu)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what astropy only warns about, `_check_sum` refuses
        with fits.open(path, memmap=False) as opened:
            yield opened


def _check_sum(path: Path, hdu: Any) -> None:
    place = hdu.fileinfo()
    end = place["datLoc"] + place["datSpan"]
    if "CHECKSUM" not in hdu.header or not sums_to_ones(path, place["hdrLoc"], end):
        raise ValueError(f"extension {hdu.name} does not match its checksum")
