"""ECSV and CSV: a table of all that lies over one dimension, with units, missing values and provenance.

ECSV keeps everything and astropy reads it back as it was. CSV is for other programs: one line of comment
(``pandas.read_csv(path, comment="#")``), array cells spread over columns, missing values empty.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
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


def table_of(dataset: xr.Dataset) -> tuple[str | None, list[Column]]:
    """Return the dimension a table shows and its columns; RecipeError where a dataset has neither."""
    dimension = next(iter(table_dimensions(dataset)), None)
    table = columns(dataset, dimension)
    if not table:
        raise RecipeError(
            "the result has no columns for a table", f"it holds {', '.join(map(str, dataset.data_vars))}"
        )
    return dimension, table


def _ecsv(table: list[Column], meta: dict[str, Any]) -> bytes:
    from astropy.table import Column as TableColumn
    from astropy.table import MaskedColumn, Table

    made = Table(meta=meta)
    for column in table:
        unit, description = column.unit or None, column.description or None
        if column.mask is None:
            cells = TableColumn(_text_safe(column.values), description=description)
        else:
            mask = np.broadcast_to(
                column.mask.reshape(-1, *[1] * (column.values.ndim - 1)), column.values.shape
            )
            cells = MaskedColumn(_text_safe(column.values), mask=mask, description=description)
        made[column.name] = cells
        if unit:
            made[column.name].unit = _unit(unit)
    text = io.StringIO()
    made.write(text, format="ascii.ecsv")
    return _sealed(text.getvalue())


def _sealed(text: str) -> bytes:
    """Write the digest of the lines below the header into the header."""
    lines = text.splitlines(keepends=True)
    end = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    body = "".join(lines[end:]).encode()
    place = next(i for i, line in enumerate(lines) if line.startswith("# meta:"))
    seal = f"# - {{{_CONTENT}: {hashlib.sha256(body).hexdigest()}}}\n"
    return "".join([*lines[: place + 1], seal, *lines[place + 1 : end]]).encode() + body


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
        parts = column.values.reshape(len(column.values), -1).T if column.labels else [column.values]
        for label, values in zip(column.labels or ("",), parts, strict=True):
            names.append(f"{column.name}_{label}" if label else column.name)
            cells.append(list(_cells(values, column.mask)))
    return names, cells


def _cells(values: np.ndarray[Any, Any], mask: np.ndarray[Any, Any] | None) -> Iterator[Any]:
    missing = [False] * len(values) if mask is None else mask.tolist()
    for value, gone in zip(_text_safe(values).tolist(), missing, strict=True):
        yield "" if gone else repr(value) if isinstance(value, float | complex) else value


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; ValueError where the file holds none."""
    with path.open(encoding="utf-8") as lines:
        first = lines.readline()
        if path.suffix == ".csv":
            if not first.startswith(f"# {_CONTENT}"):
                raise ValueError("no provenance in the first line")
            return record.from_text(first.partition(f"{record.KEY} ")[2])
        header = [line for line in _header_lines(first, lines)]
    from astropy.table.meta import get_header_from_yaml

    meta = get_header_from_yaml(header).get("meta", {})
    return record.from_text(meta[record.KEY])


def _header_lines(first: str, lines: Iterator[str]) -> Iterator[str]:
    if not first.startswith("# %ECSV"):
        raise ValueError("not an ECSV file")
    for line in lines:
        if not line.startswith("#"):
            return
        if line.rstrip("\n") != "# ---":
            yield line.removeprefix("# ").rstrip("\n")
