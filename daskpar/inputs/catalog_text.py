"""ECSV and CSV files: names and units from the first lines, values from runs of whole lines."""

from __future__ import annotations

import csv
import hashlib
import io
import os
from typing import Any, NamedTuple

import numpy as np

from daskpar.errors import InputError
from daskpar.inputs.catalog_record import Column, Floats, Table
from daskpar.inputs.file_access import OpenFile

_HEAD = 1 << 20
_LINE = 1 << 16


class TextForm(NamedTuple):
    """How the lines of a text file are cut: delimiter, and the names of all columns in order."""

    delimiter: str
    names: tuple[str, ...]


def scan_text(file: OpenFile, path: str) -> Table:
    """Describe an ECSV or CSV file from its first lines. How many rows it has, only reading tells.

    Raises
    ------
    InputError
        There is no line of names, or the ECSV header is malformed.
    """
    head = os.pread(file.fd, _HEAD, 0)
    comments, offset = [], 0
    while head.startswith(b"#", offset) or head[offset : offset + 1] in (b"\n", b"\r"):
        end = _line_end(head, offset)
        comments.append(head[offset:end].decode("utf-8", "replace").strip())
        offset = end
    end = _line_end(head, offset)
    line = head[offset:end].decode("utf-8", "replace").strip("\r\n")
    delimiter, units, typed = _ecsv(comments)
    names = tuple(next(csv.reader([line], delimiter=delimiter or _delimiter(line)), []))
    if not line.strip() or len(set(names)) != len(names):
        raise InputError("there is no line with a name for each column", "write one above the values")
    columns = tuple(Column(n, "text", units.get(n, "")) for n in names if n not in typed or typed[n])
    digest = hashlib.blake2b(head[:end], digest_size=16).hexdigest()
    form = TextForm(delimiter or _delimiter(line), names)
    return Table(path, "text", columns, digest, None, file.size, file.mtime_ns, start=end, details=form)


def _line_end(head: bytes, offset: int) -> int:
    end = head.find(b"\n", offset)
    if end < 0 and len(head) == _HEAD:
        raise InputError("the header of the file is longer than 1 MiB", "is this a CSV or ECSV file?")
    return len(head) if end < 0 else end + 1


def _delimiter(line: str) -> str:
    return next((one for one in (",", ";", "\t") if one in line), " ")


def _ecsv(comments: list[str]) -> tuple[str, dict[str, str], dict[str, bool]]:
    """Return the delimiter of an ECSV header, units, and which columns hold numbers; empty for plain CSV."""
    if not any(line.startswith("# %ECSV") for line in comments):
        return "", {}, {}
    from astropy.table import meta

    try:
        header = meta.get_header_from_yaml([line[2:] for line in comments if not line.startswith("# %")])
        columns = header["datatype"]
        typed = {c["name"]: str(c["datatype"]).startswith(("float", "int", "uint")) for c in columns}
        return header.get("delimiter", " "), {c["name"]: str(c.get("unit", "")) for c in columns}, typed
    except (meta.YamlParseError, KeyError, TypeError) as error:
        raise InputError(f"the ECSV header is malformed: {error}", "write it with astropy") from None


def read_text(file: OpenFile, table: Table, start: int, stop: int) -> tuple[list[Floats], list[Any]]:
    """Read the lines that begin in bytes ``start`` to ``stop`` as float64, and where values are missing."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    form: TextForm = table.details
    begin, end = _next_line(file, table, start), _next_line(file, table, stop)
    text = os.pread(file.fd, end - begin, begin)
    if not text.strip():
        return [np.empty(0) for _ in table.columns], [None] * len(table.columns)
    wanted = [column.name for column in table.columns]
    try:
        read = arrow.read_csv(
            io.BytesIO(text),
            arrow.ReadOptions(use_threads=False, column_names=list(form.names)),
            arrow.ParseOptions(delimiter=form.delimiter),
            arrow.ConvertOptions(
                include_columns=wanted,
                column_types=dict.fromkeys(wanted, pa.float64()),
                null_values=["", "--"],
            ),
        )
    except pa.ArrowInvalid as error:
        place = f"near line {line_of(file, begin)}"
        raise InputError(f"the lines cannot be read: {error}", "mend them", place=f"[{place}]") from None
    chunks = [read.column(name).combine_chunks() for name in wanted]
    missing = [chunk.is_null().to_numpy(zero_copy_only=False) for chunk in chunks]
    return [np.array(chunk.to_numpy(zero_copy_only=False)) for chunk in chunks], missing


def _next_line(file: OpenFile, table: Table, offset: int) -> int:
    """Return where the first line begins that begins at or behind an offset."""
    at = offset
    while table.start < at < file.size:
        found = os.pread(file.fd, _LINE, at - 1).find(b"\n")
        if found >= 0:
            return at + found
        at += _LINE
    return min(max(at, table.start), file.size)


def line_of(file: OpenFile, offset: int) -> int:
    """Return the number, from 1, of the line that begins at an offset; reads all before it."""
    lines = 1
    for at in range(0, offset, _HEAD):
        lines += os.pread(file.fd, min(_HEAD, offset - at), at).count(b"\n")
    return lines
