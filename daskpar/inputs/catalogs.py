"""Catalogs of points: describe files, tables and arrays from their headers, then read them piece by piece.

    sources -> `scan_catalog` -> `Catalog` (frozen, small) -> `read_piece` for each of its `pieces`

Nothing here knows dask: a task gets the record and a piece, opens the file itself and closes it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from daskpar.errors import Fault, InputError, RecipeError
from daskpar.inputs.catalog_arrays import is_in_memory, scan_arrays
from daskpar.inputs.catalog_check import check_values
from daskpar.inputs.catalog_hdf5 import read_hdf5, scan_hdf5
from daskpar.inputs.catalog_parquet import read_parquet, scan_parquet
from daskpar.inputs.catalog_record import Catalog, Floats, Kind, Piece, Table
from daskpar.inputs.catalog_rows import read_rows, scan_fits, scan_npy
from daskpar.inputs.catalog_schema import choose_columns, chosen, in_units
from daskpar.inputs.catalog_sky import load_cosmology, positions
from daskpar.inputs.catalog_text import line_of, read_text, scan_text
from daskpar.inputs.file_access import OpenFile, opened
from daskpar.inputs.image_files import Source, expand, first_five, parse_selector
from daskpar.inputs.reading_time import timed
from daskpar.inputs.synthetic_catalogs import SyntheticCatalog, column_names, generate, scan_synthetic

__all__ = ["Catalog", "CatalogPart", "Piece", "open_catalog", "read_piece", "scan_catalog"]

_SUFFIXES: dict[str, Callable[[OpenFile, str], Table]] = {
    ".parquet": scan_parquet,
    ".pq": scan_parquet,
    ".csv": scan_text,
    ".ecsv": scan_text,
    ".hdf5": scan_hdf5,
    ".h5": scan_hdf5,
    ".npy": scan_npy,
}
_READERS = {
    "rows": read_rows,
    "scratch": read_rows,
    "parquet": read_parquet,
    "text": read_text,
    "hdf5": read_hdf5,
}


class CatalogPart(NamedTuple):
    """Some points of a catalog: positions float64 (n, 3), and weights float64 (n,) or None."""

    positions: Floats
    weights: Floats | None


def open_catalog(
    files: Any,
    columns: Mapping[str, str] | None = None,
    cosmology: Any = None,
    *,
    kind: Kind | None = None,
    distance_unit: str = "Mpc",
) -> Catalog:
    """Describe a catalog of points; lazy: headers and schemas are read, rows are not.

    Parameters
    ----------
    files : str, path, sequence of them, arrays or table
        FITS tables (``gal.fits[CAT]``), Parquet, ECSV, CSV, HDF5, ``.npy``, with patterns; or an array (n, 3)
        in space or (n, 2) in degrees, a structured array, a mapping of arrays, an astropy Table.
    columns : mapping of str to str, optional
        Names of the columns by role: ``x, y, z``, or ``ra, dec`` and perhaps ``redshift`` or ``distance``;
        ``weight``. By default positions are found by these names, whatever their case, and there are no
        weights. An element of a vector column is ``"POS[0]"``.
    cosmology : astropy.cosmology.Cosmology, str or mapping, optional
        Turns redshifts into comoving distances: an object, ``"Planck18"``,
        ``{"class": "FlatLambdaCDM", "H0": 70, "Om0": 0.3}``.
    kind : {"cartesian", "sky"}, optional
        Where the columns leave it open.
    distance_unit : {"Mpc", "Mpc/h"}
        Of comoving distances.

    Returns
    -------
    Catalog
        Accepted wherever a sample is. Angles are in degrees unless their column has another unit.

    Raises
    ------
    daskpar.errors.InputError
        Files are missing or malformed, or lack a column. Values are checked when they are read.
    """
    return scan_catalog(files, columns, kind, cosmology, distance_unit=distance_unit)


def scan_catalog(
    source: Any,
    columns: Mapping[str, str] | None = None,
    kind: Kind | None = None,
    cosmology: Any = None,
    *,
    distance_unit: str = "Mpc",
    hdu: Any = None,
    root: str | os.PathLike[str] | None = None,
    scratch: str | os.PathLike[str] | None = None,
) -> Catalog:
    """Describe a catalog from headers; `open_catalog`, with what only a run needs.

    Parameters
    ----------
    source, columns, kind, cosmology, distance_unit
        As `open_catalog`; `source` may be a `SyntheticCatalog`, too.
    hdu : int, str or (str, int), optional
        HDU of FITS files where none is written behind a name; by default the first binary table.
    root : path, optional
        Folder that relative names start from; by default the current one.
    scratch : path, optional
        Folder for arrays above 1 MB.
    """
    if distance_unit not in ("Mpc", "Mpc/h"):
        raise RecipeError(
            f"the unit of distances is {distance_unit!r}", "choose Mpc or Mpc/h", key="distance_unit"
        )
    folder = os.path.abspath(root if root is not None else ".")
    if isinstance(source, SyntheticCatalog):
        tables = [scan_synthetic(source)]
    elif is_in_memory(source):
        tables = [scan_arrays(source, columns, scratch)]
    else:
        tables = _scan_files(source, folder, hdu)
    schema = choose_columns(tables, columns, kind)
    tables = [_with_columns(table, folder, list(schema.names.values())) for table in tables]
    tables, unit = in_units(tables, schema)
    if all(table.rows == 0 or (table.rows is None and table.size <= table.start) for table in tables):
        raise InputError("the catalog has no rows", "give one with at least one point", path=tables[0].path)
    world = load_cosmology(cosmology) if cosmology is not None and "redshift" in schema.names else None
    if "redshift" in schema.names:
        unit = distance_unit
        if world is None:
            todo = 'give one, as in cosmology="Planck18", or name the columns without redshift'
            raise RecipeError("redshifts need a cosmology", todo, key="cosmology")
    return Catalog(folder, schema.kind, tuple(schema.names), tuple(tables), unit, world)


def _scan_files(files: Any, folder: str, hdu: Any) -> list[Table]:
    wanted = None if hdu is None else parse_selector(hdu)
    tables: list[Table] = []
    faults: list[Fault] = []
    for source in expand(files, folder):
        path = os.path.join(folder, source.path)
        try:
            with opened(path) as file:
                tables.append(_scan_file(file, source, wanted))
        except InputError as error:
            faults += [Fault(f.what, f.todo, path, f.place, f.key) for f in error.faults]
        except OSError as error:
            faults.append(Fault(f"it cannot be read: {error.strerror}", "look at the file system", path))
    if faults:
        raise InputError(faults=first_five(faults))
    return tables


def _scan_file(file: OpenFile, source: Source, wanted: Any) -> Table:
    if file.size == 0:
        raise InputError("the file is empty", "fetch it again or remove it from the list")
    scan = _SUFFIXES.get(os.path.splitext(source.path)[1].lower())
    if scan is not None:
        return scan(file, source.path)
    return scan_fits(file, source.path, wanted if source.selector is None else source.selector)


def _with_columns(table: Table, folder: str, names: list[str]) -> Table:
    try:
        return chosen(table, names)
    except InputError as error:
        path = os.path.join(folder, table.path) if table.path else ""
        faults = [Fault(f.what, f.todo, f.path or path, f.place, f.key) for f in error.faults]
        raise InputError(faults=faults) from None


@timed
def read_piece(catalog: Catalog, piece: Piece) -> CatalogPart:
    """Read some points, check them, and place them in space.

    Parameters
    ----------
    catalog : Catalog
        The record.
    piece : Piece
        One of ``catalog.pieces()``, or any other rows of one table.

    Returns
    -------
    CatalogPart
        Positions in the unit of the catalog, or on the unit sphere.

    Raises
    ------
    InputError
        The file changed since it was scanned, cannot be read, or holds values that no catalog may hold; with
        the first five rows.
    """
    table = catalog.tables[piece.table]
    if table.form in _IN_MEMORY:
        columns = _IN_MEMORY[table.form](table, piece.start, piece.stop)
        return _part(catalog, piece, columns, [None] * len(columns), _row_name(piece.start))
    with unchanged(catalog, piece.table) as file:
        columns, missing = _READERS[table.form](file, table, piece.start, piece.stop)
        name = _line_name(file, piece.start) if table.form == "text" else _row_name(piece.start)
        return _part(catalog, piece, columns, missing, name)


def _part(
    catalog: Catalog, piece: Piece, columns: list[Floats], missing: list[Any], row: Callable[[int], str]
) -> CatalogPart:
    table = catalog.tables[piece.table]
    values = {
        role: column if known.factor == 1.0 else column * known.factor
        for role, column, known in zip(catalog.roles, columns, table.columns, strict=True)
    }
    check_values(
        values,
        dict(zip(catalog.roles, missing, strict=True)),
        {role: column.name for role, column in zip(catalog.roles, table.columns, strict=True)},
        row,
        path=catalog.path(piece.table),
        place=table.place,
    )
    weights = np.ascontiguousarray(values["weight"]) if "weight" in values else None
    return CatalogPart(positions(values, catalog.cosmology, catalog.unit), weights)


def _memory_rows(table: Table, start: int, stop: int) -> list[Floats]:
    return [table.details[start:stop, k] for k in range(len(table.columns))]


def _synthetic_rows(table: Table, start: int, stop: int) -> list[Floats]:
    made = dict(zip(column_names(table.details), generate(table.details, start, stop), strict=True))
    return [made[column.name] for column in table.columns]


_IN_MEMORY = {"memory": _memory_rows, "synthetic": _synthetic_rows}


def _row_name(start: int) -> Callable[[int], str]:
    return lambda number: f"row {start + number}"


def _line_name(file: OpenFile, start: int) -> Callable[[int], str]:
    first: list[int] = []

    def name(number: int) -> str:
        if not first:
            begin = os.pread(file.fd, 1, start - 1) if start else b"\n"
            first.append(line_of(file, start) + (begin != b"\n"))
        return f"line {first[0] + number}"

    return name


@contextmanager
def unchanged(catalog: Catalog, number: int) -> Iterator[OpenFile]:
    """Open the file of a table, and make sure before and after that it is the file that was scanned.

    Raises
    ------
    InputError
        Naming the file: where it changed in length or modification time, vanished, or cannot be read.
    """
    table, path = catalog.tables[number], catalog.path(number)
    try:
        with opened(path) as file:
            _compare(table, file.size, file.mtime_ns)
            yield file
            status = os.fstat(file.fd)
            _compare(table, status.st_size, status.st_mtime_ns)
    except InputError as error:
        faults = [Fault(f.what, f.todo, path, f.place or table.place, f.key) for f in error.faults]
        raise InputError(faults=faults) from None
    except OSError as error:
        raise InputError(
            f"it cannot be read: {error.strerror}", "look at the file system", path=path
        ) from None


def _compare(table: Table, size: int, mtime_ns: int) -> None:
    if (size, mtime_ns) != (table.size, table.mtime_ns):
        raise InputError(
            "the file changed since it was scanned",
            "start again when it is complete; results of the old file are not mixed with the new",
        )
