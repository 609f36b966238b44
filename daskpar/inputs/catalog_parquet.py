"""Parquet files: the schema from the footer, rows from the row groups that hold them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from daskpar.inputs.catalog_record import Column, Floats, Table
from daskpar.inputs.file_access import OpenFile, library_errors

_BATCH = 1 << 16


def scan_parquet(file: OpenFile, path: str) -> Table:
    """Describe a Parquet file; only its footer is read.

    Units are those that astropy and daskpar write: the key ``unit`` of a column's metadata.

    Raises
    ------
    InputError
        It is no Parquet file, or damaged.
    """
    import pyarrow as pa

    with _opened(file) as parquet:
        schema, metadata = parquet.schema_arrow, parquet.metadata
    columns = []
    for field in schema:
        if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
            unit = (field.metadata or {}).get(b"unit", b"").decode("utf-8", "replace")
            columns.append(Column(field.name, str(field.type), unit))
    text = f"{schema} {metadata.num_rows} {metadata.serialized_size}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return Table(path, "parquet", tuple(columns), digest, metadata.num_rows, file.size, file.mtime_ns)


@contextmanager
def _opened(file: OpenFile) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with os.fdopen(os.dup(file.fd), "rb") as stream:
        with library_errors("this is no Parquet file"):
            parquet = pq.ParquetFile(stream, pre_buffer=False)
        with parquet, library_errors("the rows cannot be read", "write the file again"):
            yield parquet


def read_parquet(file: OpenFile, table: Table, start: int, stop: int) -> tuple[list[Floats], list[Any]]:
    """Read rows ``start`` to ``stop`` of each column as float64, and where values are missing."""
    names = [column.name for column in table.columns]
    values = [np.empty(stop - start) for _ in names]
    missing: list[Any] = [np.zeros(stop - start, bool) for _ in names]
    with _opened(file) as parquet:
        groups, first = _groups(parquet.metadata, start, stop)
        for batch in parquet.iter_batches(_BATCH, groups, columns=names, use_threads=False):
            low, high = max(start, first), min(stop, first + batch.num_rows)
            if low < high:
                part = batch.slice(low - first, high - low)
                for i, name in enumerate(names):
                    array = part.column(name)
                    missing[i][low - start : high - start] = array.is_null().to_numpy(zero_copy_only=False)
                    values[i][low - start : high - start] = array.to_numpy(zero_copy_only=False)
            first += batch.num_rows
    return values, missing


def _groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """Return the row groups that hold some rows, and the number of their first row."""
    ends = np.cumsum([0, *(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))])
    groups = [i for i in range(metadata.num_row_groups) if ends[i] < stop and ends[i + 1] > start]
    return groups, int(ends[groups[0]]) if groups else 0
