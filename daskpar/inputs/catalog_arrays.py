"""Catalogs in memory: arrays, mappings of arrays, astropy Tables. Large ones go to a file, once."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daskpar.atomic import replacing
from daskpar.errors import InputError
from daskpar.inputs.catalog_record import Column, Table
from daskpar.inputs.catalog_rows import elements

#: Above this, rows are written to scratch and never travel with the graph.
INLINE_BYTES = 1 << 20
_STRIP = 1 << 16


def is_in_memory(source: Any) -> bool:
    """Whether a source of points is data, not a name of files."""
    return isinstance(source, np.ndarray | Mapping) or hasattr(source, "colnames")


def scan_arrays(
    source: Any, columns: Mapping[str, str] | None, scratch: str | os.PathLike[str] | None
) -> Table:
    """Describe points in memory; the caller's arrays are read, and not changed.

    Parameters
    ----------
    source : array (n, 2 or 3), structured array, mapping of str to array (n,), or astropy Table
        Quantities and columns keep their units.
    columns : mapping of str to str, optional
        As in `scan_catalog`; only these are kept.
    scratch : path, optional
        Folder for rows above 1 MB; by default one that this process removes when it ends.

    Raises
    ------
    InputError
        Columns of different lengths, or that are not one number a row.
    """
    wanted = None if columns is None else set(columns.values())
    found = {
        name: values for name, values in _named(source) if wanted is None or name in wanted
    }  # fmt: skip
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name}: {length}" for name, length in list(lengths.items())[:8])
        raise InputError(f"the columns have different lengths: {text}", "give one value a row in each")
    rows = next(iter(lengths.values()), 0)
    units = tuple(Column(name, "<f8", _unit(values)) for name, values in found.items())
    strips = functools.partial(_strips, list(found.values()), rows)
    digest = hashlib.blake2b(repr([tuple(c) for c in units]).encode(), digest_size=20)
    for strip in strips():
        digest.update(strip)
    name = digest.hexdigest()
    if rows * len(found) * 8 <= INLINE_BYTES:
        data = np.concatenate([np.empty((0, len(found))), *strips()])
        return Table("", "memory", units, name, rows, details=data)
    path = Path(scratch if scratch is not None else _folder()).absolute() / f"catalog-{name}.bin"
    return _written(path, units, name, rows, strips())


def _named(source: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(source, Mapping) or hasattr(source, "colnames"):
        names = list(source) if isinstance(source, Mapping) else list(source.colnames)
        yield from (
            (str(name), _one_column(str(name), source[name])) for name in names if _numeric(source[name])
        )
    elif source.dtype.names is not None:
        for name in source.dtype.names:
            field = source[name].reshape(len(source), -1)
            if field.dtype.kind in "iuf":
                yield from ((found, field[:, k]) for found, k in elements(name, field.shape[1]))
    elif source.ndim != 2 or source.dtype.kind not in "iuf":
        what = f"the array is {source.dtype} of shape {source.shape}"
        raise InputError(what, "give numbers of shape (n, 3) in space, or (n, 2) on the sky")
    else:
        yield from ((str(k), source[:, k]) for k in range(source.shape[1]))


def _numeric(values: Any) -> bool:
    return np.asanyarray(values).dtype.kind in "iuf"


def _one_column(name: str, values: Any) -> Any:
    array = values if hasattr(values, "unit") else np.ma.asanyarray(values)
    if array.ndim != 1:
        raise InputError(f"column {name!r} has the shape {array.shape}", "give one number a row")
    return array


def _unit(values: Any) -> str:
    unit = getattr(values, "unit", None)
    return "" if unit is None else str(unit.to_string())


def _strips(columns: list[Any], rows: int) -> Iterator[Any]:
    """Yield the rows as float64 (rows, columns), some at a time; masked values are NaN."""
    for start in range(0, rows, _STRIP):
        parts = [column[start : start + _STRIP] for column in columns]
        strip = np.empty((min(_STRIP, rows - start), len(columns)))
        for k, part in enumerate(parts):
            strip[:, k] = np.ma.filled(np.ma.asanyarray(getattr(part, "value", part)).astype("<f8"), np.nan)
            mask = getattr(part, "mask", None)
            if mask is not None:
                strip[np.broadcast_to(np.asarray(mask), strip.shape[:1]), k] = np.nan
        yield strip


def _written(path: Path, columns: tuple[Column, ...], name: str, rows: int, strips: Iterator[Any]) -> Table:
    stride = 8 * len(columns)
    if not path.is_file() or path.stat().st_size != rows * stride:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, size=rows * stride) as temporary, open(temporary, "wb") as file:
            for strip in strips:
                file.write(strip.data)
    placed = tuple(column._replace(offset=8 * k) for k, column in enumerate(columns))
    status = path.stat()
    return Table(
        str(path), "scratch", placed, name, rows, status.st_size, status.st_mtime_ns, stride=stride
    )  # fmt: skip


@functools.cache
def _scratch() -> Any:
    return tempfile.TemporaryDirectory(prefix="daskpar-catalogs-")


def _folder() -> str:
    return str(_scratch().name)
