"""What is known about a catalog without reading its rows: files, columns, units, and which input it is."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["cartesian", "sky"]

#: Roles of columns by kind; those in brackets may be missing.
ROLES = {
    "cartesian": ("x", "y", "z", "[weight]"),
    "sky": ("ra", "dec", "[redshift]", "[distance]", "[weight]"),
}
#: Bytes of values that one task reads, as float64.
PIECE_BYTES = 16 << 20


class Column(NamedTuple):
    """A column of numbers: ``stored * scale + zero``, and where it lies in a row of fixed width.

    ``null`` is the stored integer that stands for a missing value; ``factor`` turns values into the units of
    the catalog.
    """

    name: str
    dtype: str = "<f8"
    unit: str = ""
    offset: int = 0
    scale: float = 1.0
    zero: float = 0.0
    null: int | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Table:
    """A table in a file, or some rows in memory, as they were scanned.

    Attributes
    ----------
    path : str
        Relative to the root of the catalog where it lies below it; ``""`` for rows in memory.
    form : {"rows", "parquet", "text", "hdf5", "memory", "synthetic"}
        How it is read: ``rows`` are rows of fixed width (FITS binary tables, ``.npy``).
    columns : tuple of Column
        While scanning all columns of numbers; in a `Catalog` those that have a role, in its order.
    digest : str
        Of the header or schema; for rows in memory, of all bytes.
    rows : int or None
        None where only reading would tell (text).
    size, mtime_ns : int
        Length and modification time of the file.
    place : str
        HDU, in brackets.
    start, stride : int
        Where the first row begins, and the bytes of a row; for text, where the lines of values begin.
    details : object
        What else the format needs: the delimiter and names of a text file, arrays in memory, a description.
    """

    path: str
    form: str
    columns: tuple[Column, ...]
    digest: str
    rows: int | None
    size: int = 0
    mtime_ns: int = 0
    place: str = ""
    start: int = 0
    stride: int = 0
    details: Any = None

    @property
    def identity(self) -> list[Any]:
        """What says which rows these are, for keys; content decides where it is known."""
        place = (
            [] if self.form in ("memory", "synthetic", "scratch") else [self.path, self.size, self.mtime_ns]
        )
        return [self.form, self.digest, *place, self.place, [list(column) for column in self.columns]]


class Piece(NamedTuple):
    """What one task reads of a catalog: rows, or bytes of a text file, ``start`` to ``stop`` of a table."""

    table: int
    start: int
    stop: int


@dataclass(frozen=True)
class Catalog:
    """Points in space or on the sky, described but not read. Frozen, small, picklable; keeps no file open.

    Attributes
    ----------
    root : str
        Folder that relative paths start from; not part of the identity.
    kind : {"cartesian", "sky"}
        What its columns hold.
    roles : tuple of str
        What each column of the tables is: x, y, z, ra, dec, redshift, distance, weight.
    tables : tuple of Table
        The files, in order.
    unit : str
        Of the positions, a FITS unit string; ``""`` if unknown, and on the unit sphere.
    cosmology : astropy.cosmology.Cosmology, optional
        Turns redshifts into comoving distances, in `unit`.
    """

    root: str
    kind: Kind
    roles: tuple[str, ...]
    tables: tuple[Table, ...]
    unit: str = ""
    cosmology: Any = None

    def __repr__(self) -> str:
        rows = "an unknown number of" if self.rows is None else f"{self.rows:,}"
        return f"<Catalog: {rows} rows of {', '.join(self.roles)} in {len(self.tables)} table(s)>"

    def __dask_tokenize__(self) -> str:
        return self.identity()

    @property
    def rows(self) -> int | None:
        """Number of points; None where only reading would tell."""
        counts = [table.rows for table in self.tables]
        return None if None in counts else sum(count for count in counts if count is not None)

    @property
    def rows_estimate(self) -> int:
        """Number of points; for text files about."""
        return sum(
            (table.size - table.start) // (12 * max(1, len(table.columns)))
            if table.rows is None
            else table.rows
            for table in self.tables
        )

    @property
    def weighted(self) -> bool:
        """Whether points have weights."""
        return "weight" in self.roles

    @property
    def angular(self) -> bool:
        """Whether points are directions only, on the unit sphere."""
        return self.kind == "sky" and not {"redshift", "distance"} & set(self.roles)

    def directions(self) -> Catalog:
        """Return the same points on the sky without their distances."""
        kept = [i for i, role in enumerate(self.roles) if role not in ("redshift", "distance")]
        tables = tuple(
            replace(
                table,
                columns=tuple(table.columns[i] for i in kept),
                details=table.details[:, kept] if table.form == "memory" else table.details,
            )
            for table in self.tables
        )
        roles = tuple(self.roles[i] for i in kept)
        return replace(self, roles=roles, tables=tables, unit="", cosmology=None)

    def path(self, table: int) -> str:
        """Return the full path of a table's file."""
        return os.path.join(self.root, self.tables[table].path) if self.tables[table].path else ""

    def identity(self) -> str:
        """Return the digest that belongs into keys: files, columns, units and cosmology, not the root."""
        described = [self.kind, self.roles, self.unit, cosmology_identity(self.cosmology)]
        described.append([table.identity for table in self.tables])
        return hashlib.blake2b(repr(described).encode(), digest_size=20).hexdigest()

    def pieces(self, bytes_a_piece: int = PIECE_BYTES) -> tuple[Piece, ...]:
        """Divide the catalog into what single tasks read; it follows from the catalog alone."""
        found: list[Piece] = []
        for number, table in enumerate(self.tables):
            first, last, a_row = 0, table.rows, 8 * len(table.columns)
            if last is None:
                first, last, a_row = table.start, table.size, 1
            step = max(1, bytes_a_piece // a_row)
            found += [Piece(number, at, min(at + step, last)) for at in range(first, last, step)]
        return tuple(found)


def cosmology_identity(cosmology: Any) -> list[Any]:
    """Return what decides distances: the class of a cosmology and its parameters, not its name."""
    if cosmology is None:
        return []
    values = []
    for name, value in sorted(cosmology.parameters.items()):
        unit = str(getattr(value, "unit", ""))
        numbers = getattr(value, "value", value)
        plain = None if numbers is None else np.atleast_1d(np.asarray(numbers, float)).tolist()
        values.append([name, plain, unit])
    return [f"{type(cosmology).__module__}.{type(cosmology).__qualname__}", values]
