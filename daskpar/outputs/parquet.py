"""Parquet: a table of any length in batches of rows, with units and provenance in the schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.outputs import record
from daskpar.outputs.columns import Column, columns, trailing_coordinates
from daskpar.outputs.tables import table_of

if TYPE_CHECKING:
    import xarray as xr

BATCH_ROWS = 65536


def write(dataset: xr.Dataset, path: Path, provenance: Mapping[str, Any], suffix: str = ".parquet") -> None:
    """Write the columns over the dimension with most variables, or the scalars where there is none.

    Parameters
    ----------
    dataset : xarray.Dataset
        As for `daskpar.outputs.tables.write`; array columns become lists of fixed length. It is read in
        batches of rows, so that a table may be larger than memory.
    path : Path
        The file to fill.
    provenance : mapping
        Kept in the metadata of the schema, with the values along further dimensions.
    suffix : str
        ``.parquet``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    dimension, first = table_of(dataset, slice(0, BATCH_ROWS))
    metadata = {record.KEY: record.to_text(provenance)}
    if dimension is not None:
        metadata["daskpar.coordinates"] = json.dumps(trailing_coordinates(dataset, dimension))
    schema = pa.schema([_field(column) for column in first], metadata=metadata)
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in _batches(dataset, dimension, first):
            arrays = [_array(column, field.type) for column, field in zip(batch, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(dataset: xr.Dataset, dimension: str | None, first: list[Column]) -> Iterator[list[Column]]:
    yield first
    length = dataset.sizes[dimension] if dimension is not None else 1
    for start in range(BATCH_ROWS, length, BATCH_ROWS):
        yield columns(dataset, dimension, slice(start, start + BATCH_ROWS))


def _field(column: Column) -> Any:
    import pyarrow as pa

    kind = pa.string() if column.values.dtype.kind == "U" else pa.from_numpy_dtype(column.values.dtype)
    for length in reversed(column.values.shape[1:]):
        kind = pa.list_(kind, length)
    notes = {key: text for key, text in (("unit", column.unit), ("description", column.description)) if text}
    return pa.field(column.name, kind, metadata=notes or None)


def _array(column: Column, kind: Any) -> Any:
    import pyarrow as pa

    flat = column.values.reshape(-1)
    cells = [_encodable(text) for text in flat.tolist()] if flat.dtype.kind == "U" else flat
    mask = column.mask
    if column.values.ndim == 1:
        return pa.array(cells, type=kind, mask=mask)
    made = pa.array(cells)
    for length in reversed(column.values.shape[2:]):
        made = pa.FixedSizeListArray.from_arrays(made, length)
    return pa.FixedSizeListArray.from_arrays(
        made, column.values.shape[1], mask=None if mask is None else pa.array(mask)
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_provenance(path: Path) -> dict[str, Any]:
    """Read back what `write` stored; KeyError where the file holds none."""
    import pyarrow.parquet as pq

    metadata = pq.read_schema(path).metadata or {}
    return record.from_text(metadata[record.KEY.encode()].decode("ascii"))


def verify(path: Path) -> None:
    """Read the whole file with its page checksums; OSError where one is wrong."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, page_checksum_verification=True) as opened:
        for _ in opened.iter_batches():
            pass
