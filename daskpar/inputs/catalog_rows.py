"""Tables of rows of fixed width: FITS binary tables and ``.npy`` files, read by offset."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from daskpar.errors import InputError
from daskpar.inputs.catalog_record import Column, Floats, Table
from daskpar.inputs.file_access import OpenFile, is_gzip, library_errors, read_exactly, reader
from daskpar.inputs.fits_file import Hdu, Selector, find, place
from daskpar.inputs.fits_header import Header, Value

_TFORM = re.compile(r"(\d*)([A-Z])")
#: Bytes of an element of each type of FITS (4.0, table 18); X is in bits.
_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_DTYPES = {"B": "|u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}
#: Bytes of rows that are held as stored while they are converted.
_STRIP = 4 << 20


def scan_fits(file: OpenFile, path: str, wanted: Selector | None) -> Table:
    """Describe a binary table; only headers are read.

    Raises
    ------
    InputError
        There is no such table, it is compressed, cut off, or its header is malformed.
    """
    if is_gzip(file):
        raise InputError("this table is gzipped, and rows of it cannot be reached", "gunzip it first")
    with reader(file, zipped=False) as read_at:
        hdu, _ = find(read_at, file.size, wanted, ("BINTABLE",), "a binary table")
        return _fits_table(file, path, hdu)


def _fits_table(file: OpenFile, path: str, hdu: Hdu) -> Table:
    where = place(hdu.number)
    if len(hdu.shape) != 2:
        what = f"the table has {len(hdu.shape)} axes; FITS tables have two"
        raise InputError(what, "mend the header", place=where, key="NAXIS")
    rows, stride = hdu.shape
    if file.size < hdu.data_start + rows * stride:
        there = max(0, file.size - hdu.data_start)
        what = f"the rows are cut off: {rows * stride} bytes by the header, {there} in the file"
        raise InputError(what, "fetch the file again", place=where)
    try:
        columns = tuple(_fits_columns(hdu.header, stride))
    except InputError as error:
        fault = error.faults[0]
        raise InputError(fault.what, fault.todo, place=where, key=fault.key) from None
    digest = hashlib.blake2b(hdu.header.raw, digest_size=16).hexdigest()
    return Table(
        path, "rows", columns, digest, rows, file.size, file.mtime_ns, where, hdu.data_start, stride
    )  # fmt: skip


def _fits_columns(header: Header, stride: int) -> Iterator[Column]:
    offset = 0
    count = header.get("TFIELDS")
    if not isinstance(count, int) or not 0 <= count <= 999:
        raise InputError(f"TFIELDS is {count!r}", "FITS allows 0 to 999", key="TFIELDS")
    for number in range(1, count + 1):
        match = _TFORM.match(str(header.get(f"TFORM{number}") or "").strip())
        if not match or (match[2] != "X" and match[2] not in _BYTES):
            raise InputError(f"TFORM{number} is no column format", "mend the header", key=f"TFORM{number}")
        repeat = int(match[1] or 1)
        width = -(-repeat // 8) if match[2] == "X" else repeat * _BYTES[match[2]]
        if match[2] in _DTYPES:
            yield from _fits_elements(header, number, match[2], repeat, offset)
        offset += width
    if offset != stride:
        raise InputError(f"the columns are {offset} bytes wide, a row {stride}", "mend it", key="NAXIS1")


def _fits_elements(header: Header, number: int, code: str, repeat: int, offset: int) -> Iterator[Column]:
    name = str(header.get(f"TTYPE{number}") or f"col{number}").strip()
    unit = str(header.get(f"TUNIT{number}") or "").strip()
    scale = _number(header.get(f"TSCAL{number}"), 1.0, f"TSCAL{number}")
    zero = _number(header.get(f"TZERO{number}"), 0.0, f"TZERO{number}")
    null = header.get(f"TNULL{number}")
    blank = null if isinstance(null, int) and code not in "ED" else None
    dtype = np.dtype(_DTYPES[code])
    for name_of, k in elements(name, repeat):
        yield Column(name_of, dtype.str, unit, offset + k * dtype.itemsize, scale, zero, blank)


def _number(value: Value | None, default: float, key: str) -> float:
    if value is None:
        return default
    if isinstance(value, bool | str) or not np.isfinite(value):
        raise InputError(f"{key} is {value!r}, not a number", "mend the header", key=key)
    return float(value)


def elements(name: str, repeat: int) -> Iterator[tuple[str, int]]:
    """Yield the names of the elements of a column: ``X``, or ``POS[0]``, ``POS[1]``, ... of a vector."""
    if repeat == 1:
        yield name, 0
    elif repeat <= 64:
        yield from ((f"{name}[{k}]", k) for k in range(repeat))


def scan_npy(file: OpenFile, path: str) -> Table:
    """Describe an array in a ``.npy`` file; only its header is read. Pickled objects are never loaded.

    A structured array has columns by name. Columns of an array (n, k) are ``"0"``, ``"1"``, ...

    Raises
    ------
    InputError
        It is no such file, it is cut off, or its array has another form.
    """
    with reader(file, zipped=False) as read_at:
        head = read_at(0, 1 << 16)
    stream = io.BytesIO(head)
    with library_errors("this is no .npy file", "write it with numpy.save"):
        version = np.lib.format.read_magic(stream)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(stream)
    columns = tuple(_npy_columns(shape, fortran, dtype))
    rows, stride = shape[0], dtype.itemsize * (shape[1] if len(shape) == 2 else 1)
    if file.size < stream.tell() + rows * stride:
        raise InputError(f"{rows} rows of {stride} bytes do not fit into the file", "fetch the file again")
    digest = hashlib.blake2b(head[: stream.tell()], digest_size=16).hexdigest()
    return Table(
        path, "rows", columns, digest, rows, file.size, file.mtime_ns, start=stream.tell(), stride=stride
    )


def _npy_columns(shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]) -> Iterator[Column]:
    if dtype.names is None:
        if len(shape) != 2 or (fortran and min(shape) > 1) or dtype.kind not in "iuf":
            what = f"the array is {dtype} of shape {shape}{' in Fortran order' if fortran else ''}"
            raise InputError(what, "save numbers of shape (n, k) in C order, or a structured array")
        yield from (Column(str(k), dtype.str, offset=k * dtype.itemsize) for k in range(shape[1]))
        return
    if len(shape) != 1:
        raise InputError(f"the structured array has the shape {shape}", "save one of shape (n,)")
    for name in dtype.names:
        field, offset = dtype.fields[name][:2]  # type: ignore[index]
        base = field.base
        if base.kind in "iuf":
            for name_of, k in elements(name, int(np.prod(field.shape, dtype=int))):
                yield Column(name_of, base.str, offset=offset + k * base.itemsize)


def read_rows(file: OpenFile, table: Table, start: int, stop: int) -> tuple[list[Floats], list[Any]]:
    """Read rows ``start`` to ``stop`` of each column as float64, and where values are missing (or None)."""
    view = np.dtype(
        {
            "names": [str(i) for i in range(len(table.columns))],
            "formats": [column.dtype for column in table.columns],
            "offsets": [column.offset for column in table.columns],
            "itemsize": table.stride,
        }
    )
    values = [np.empty(stop - start) for _ in table.columns]
    missing: list[Any] = [None if c.null is None else np.zeros(stop - start, bool) for c in table.columns]
    step = max(1, _STRIP // max(1, table.stride))
    buffer = np.empty(min(step, stop - start) * table.stride, np.uint8)
    for at in range(start, stop, step):
        end = min(at + step, stop)
        strip = buffer[: (end - at) * table.stride]
        if read_exactly(file.fd, strip.data, table.start + at * table.stride) < strip.size:
            raise InputError("the rows end too early", "fetch the file again")
        rows = strip.view(view)
        for i, column in enumerate(table.columns):
            out = values[i][at - start : end - start]
            out[...] = rows[str(i)]
            if column.null is not None:
                missing[i][at - start : end - start] = rows[str(i)] == column.null
            if column.scale != 1.0 or column.zero != 0.0:
                out *= column.scale
                out += column.zero
    return values, missing
