"""ECSV and CSV: a table of all that lies over one dimension, with units, missing values and provenance.

ECSV keeps everything and astropy reads it back as it was. CSV is for other programs: one line of comment
(``pandas.read_csv(path, comment="#")``), array cells spread over columns, missing values empty.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.errors import RecipeError
from daskpar.outputs import record
from daskpar.outputs.columns import Column, columns, table_dimensions, trailing_coordinates

if TYPE_CHECKING:
    import xarray as xr

_CONTENT = "daskpar.content"  # SHA-256 of the lines that follow the header


def write(dataset: xr.Dataset, path: Path, provenance: Mapping[str, Any], suffix: str = ".ecsv") -> None:
    """Write the columns over the dimension with most variables, or the scalars where there is none.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables over one dimension, arrays whose cells are constant in shape included. ``attrs``: ``unit``,
        ``long_name``; ``mask`` names a boolean variable that says where a value is missing.
    path : Path
        The file to fill.
    provenance : mapping
        As `daskpar.provenance.provenance` makes it.
    suffix : str
        ``.ecsv`` or ``.csv``.
    """
    dimension, table = table_of(dataset)
    if suffix == ".csv":
        path.write_bytes(_csv(table, provenance))
        return
    meta: dict[str, Any] = {record.KEY: record.to_short_text(provenance)}
    if dimension is not None and (others := trailing_coordinates(dataset, dimension)):
        meta["coordinates"] = others
    path.write_bytes(_ecsv(table, meta))


def table_of(dataset: xr.Dataset, rows: slice = slice(None)) -> tuple[str | None, list[Column]]:
    """Return the dimension a table shows and its columns; RecipeError where a dataset has neither."""
    dimension = next(iter(table_dimensions(dataset)), None)
    table = columns(dataset, dimension, rows)
    if not table:
        raise RecipeError(
            "the result has no columns for a table", f"it holds {', '.join(map(str, dataset.data_vars))}"
        )
    return dimension, table


def dataset_table(dataset: xr.Dataset) -> Any:
    """Return the columns over the dimension with most variables, or the scalars, as an `astropy.table.Table`.

    Coordinates come first; a column is masked where ``attrs["mask"]`` of its variable names a mask.
    """
    return _table(table_of(dataset)[1])


def _table(table: list[Column]) -> Any:
    from astropy.table import Column as TableColumn
    from astropy.table import MaskedColumn, Table

    made = Table()
    for column in table:
        description = column.description or None
        if column.mask is None:
            made[column.name] = TableColumn(column.values, description=description)
        else:
            mask = column.mask.reshape(-1, *[1] * (column.values.ndim - 1))
            mask = np.broadcast_to(mask, column.values.shape)
            made[column.name] = MaskedColumn(column.values, mask=mask, description=description)
        if column.unit:
            made[column.name].unit = _unit(column.unit)
    return made


def _ecsv(table: list[Column], meta: dict[str, Any]) -> bytes:
    made = _table([replace(column, values=_text_safe(column.values)) for column in table])
    made.meta.update(meta)
    text = io.StringIO()
    made.write(text, format="ascii.ecsv")
    return _sealed(text.getvalue())


def _sealed(text: str) -> bytes:
    """Write the digest of the rows into the header, as the first entry of its ``meta``."""
    header, body = _parts(text.encode("utf-8"))
    seal = f"# - {{{_CONTENT}: {hashlib.sha256(body).hexdigest()}}}\n".encode("ascii")
    above, meta, below = header.partition(b"\n# meta: !!omap\n")
    return above + meta + seal + below + body


def _unit(text: str) -> Any:
    from astropy import units

    return units.Unit(text, format="fits", parse_strict="silent")


def _text_safe(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Escape in text what would break a line or cannot be encoded."""
    if values.dtype.kind != "U":
        return values
    flat = [_line_safe(text) for text in values.reshape(-1).tolist()]
    return np.array(flat, dtype=str).reshape(values.shape)


def _line_safe(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _csv(table: list[Column], provenance: Mapping[str, Any]) -> bytes:
    body = io.StringIO()
    writer = csv.writer(body, lineterminator="\n", quoting=csv.QUOTE_MINIMAL, quotechar='"')
    names, cells = _spread(table)
    writer.writerow(names)
    writer.writerows(zip(*cells, strict=True))
    raw = body.getvalue().encode("utf-8")
    digest = hashlib.sha256(raw).hexdigest()
    return f"# {_CONTENT} {digest} {record.KEY} {record.to_short_text(provenance)}\n".encode("ascii") + raw


def _spread(table: list[Column]) -> tuple[list[str], list[Sequence[Any]]]:
    """Return a name and a list of cells for each plain column, and for each element of an array column."""
    names: list[str] = []
    cells: list[Sequence[Any]] = []
    for column in table:
        parts = column.flat.T if column.labels else [column.values]
        for label, values in zip(column.labels or ("",), parts, strict=True):
            names.append(f"{column.name}_{label}" if label else column.name)
            cells.append(list(_cells(values, column.mask)))
    return names, cells


def _cells(values: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None) -> Iterator[Any]:
    missing = [False] * len(values) if mask is None else mask.tolist()
    for value, gone in zip(_text_safe(values).tolist(), missing, strict=True):
        yield "" if gone else repr(value) if isinstance(value, float | complex) else value


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; ValueError where the file holds none or its lines have changed since."""
    header, body = _parts(path.read_bytes())
    if path.suffix == ".csv":
        words = header.decode("ascii").split(" ", 4)
        if words[:2] != ["#", _CONTENT] or words[3] != record.KEY:
            raise ValueError("no provenance in the first line")
        digest, text = words[2], words[4]
    else:
        meta = _ecsv_meta(header.decode("utf-8"))
        digest, text = meta[_CONTENT], meta[record.KEY]
    if digest != hashlib.sha256(body).hexdigest():
        raise ValueError("the rows are not those that were written")
    return record.from_text(text)


def verify(path: Path) -> None:
    """Compare the rows with the digest in the header; ValueError where they differ."""
    read_provenance(path)


def _parts(raw: bytes) -> tuple[bytes, bytes]:
    """Split a file into the comment lines at its beginning and the rest."""
    end = 0
    while raw.startswith(b"#", end):
        end = raw.find(b"\n", end) + 1 or len(raw)
    return raw[:end], raw[end:]


def _ecsv_meta(header: str) -> dict[str, Any]:
    from astropy.table.meta import get_header_from_yaml

    version, *lines = [line.removeprefix("# ") for line in header.splitlines()]
    if not version.startswith("%ECSV"):
        raise ValueError("not an ECSV file")
    meta: dict[str, Any] = get_header_from_yaml([line for line in lines if line != "---"]).get("meta", {})
    return meta
