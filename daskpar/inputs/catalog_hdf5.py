"""HDF5 files: datasets of one length as the columns of a table. Needs the package h5py."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from daskpar.errors import InputError
from daskpar.inputs.catalog_record import Column, Floats, Table
from daskpar.inputs.catalog_rows import elements
from daskpar.inputs.file_access import OpenFile, library_errors


def scan_hdf5(file: OpenFile, path: str) -> Table:
    """Describe an HDF5 file: each dataset (n,) of numbers, or element of one (n, k), is a column.

    Its name is the path inside the file, ``galaxies/POS[0]``; its unit the attribute ``unit`` or ``units``.
    Datasets of different lengths may lie side by side: only those that have a role must agree.

    Raises
    ------
    InputError
        h5py is missing, or this is no HDF5 file.
    """
    columns: list[Column] = []
    digest = hashlib.blake2b(digest_size=16)

    def visit(name: str, item: Any) -> None:
        shape = getattr(item, "shape", None)
        if not shape or len(shape) > 2 or item.dtype.kind not in "iuf":
            return
        unit = item.attrs.get("unit", item.attrs.get("units", ""))
        unit = unit.decode() if isinstance(unit, bytes) else str(unit)
        digest.update(repr((name, item.dtype.str, shape, unit)).encode())
        # The length stands in `offset` until the columns are chosen; see `catalog_schema.chosen`.
        columns.extend(
            Column(found, item.dtype.str, unit, offset=shape[0])
            for found, _ in elements(name, shape[1] if len(shape) == 2 else 1)
        )

    with _opened(file) as source:
        source.visititems(visit)
    return Table(path, "hdf5", tuple(columns), digest.hexdigest(), -1, file.size, file.mtime_ns)


@contextmanager
def _opened(file: OpenFile) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise InputError("reading HDF5 needs the package h5py", "install it: pip install h5py") from None
    with os.fdopen(os.dup(file.fd), "rb") as stream:
        with library_errors("this is no HDF5 file"):
            source = h5py.File(stream, "r")
        with source, library_errors("this HDF5 file is damaged"):
            yield source


def read_hdf5(file: OpenFile, table: Table, start: int, stop: int) -> tuple[list[Floats], list[Any]]:
    """Read rows ``start`` to ``stop`` of each column as float64; HDF5 has no missing values."""
    with _opened(file) as source:
        values = [_column(source, column.name, start, stop) for column in table.columns]
    return values, [None] * len(values)


def _column(source: Any, name: str, start: int, stop: int) -> Floats:
    path, _, element = name.removesuffix("]").partition("[") if name.endswith("]") else (name, "", "")
    dataset = source[path]
    if dataset.ndim == 2:
        return np.asarray(dataset[start:stop, int(element or 0)], np.float64)
    return np.asarray(dataset[start:stop], np.float64)
