"""Which column of a table is what: from the user's mapping, or from the usual names, with units."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from daskpar.errors import InputError, RecipeError
from daskpar.inputs.catalog_record import ROLES, Column, Kind, Table

_KNOWN = ("x", "y", "z", "ra", "dec", "redshift", "distance", "weight")
_NEEDED = {"cartesian": ("x", "y", "z"), "sky": ("ra", "dec")}
_ALIASES = {"z": "redshift", "lon": "ra", "lat": "dec", "longitude": "ra", "latitude": "dec"}


class Schema(NamedTuple):
    """What the columns of a catalog are: its kind, and the name of the column of each role, in order."""

    kind: Kind
    names: dict[str, str]


def choose_columns(tables: Sequence[Table], columns: Mapping[str, str] | None, kind: Kind | None) -> Schema:
    """Decide which column is what; every table must have them.

    Parameters
    ----------
    tables : sequence of Table
        As scanned, with all their columns.
    columns : mapping of str to str, optional
        Names by role: ``x, y, z`` or ``ra, dec`` and, if there are any, ``redshift`` or ``distance``;
        ``weight``. On the sky, ``z`` is the redshift. Without it positions are found by their usual names,
        whatever their case; weights are used only when named here.
    kind : {"cartesian", "sky"}, optional
        Where the names leave it open.

    Raises
    ------
    RecipeError
        A role that does not exist, or roles that do not go together.
    InputError
        A table lacks a column; the message says which it has.
    """
    if columns is None:
        return _by_usual_names(tables[0], kind)
    sky = kind == "sky" or (kind is None and bool({"ra", "dec", "lon", "lat"} & set(columns)))
    found: Kind = "sky" if sky else "cartesian"
    names = {(_ALIASES.get(role, role) if sky else role): str(name) for role, name in columns.items()}
    allowed = [role.strip("[]") for role in ROLES[found]]
    for role in names:
        if role not in allowed:
            kinds = f"on the sky: {', '.join(ROLES['sky'])}; else {', '.join(ROLES['cartesian'])}"
            todo = kinds if role in _KNOWN else advise(role, allowed)
            raise RecipeError(f"there is no role {role!r} for columns", todo, key="columns")
    missing = [role for role in _NEEDED[found] if role not in names]
    if missing:
        raise RecipeError(f"no column is named for {', '.join(missing)}", "name it", key="columns")
    if {"redshift", "distance"} <= set(names):
        raise RecipeError("both redshift and distance are named", "keep one", key="columns")
    return Schema(found, {role: names[role] for role in allowed if role in names})


def _by_usual_names(table: Table, kind: Kind | None) -> Schema:
    has = {column.name.lower(): column.name for column in reversed(table.columns)}
    bare = [column.name for column in table.columns]
    if table.form in ("rows", "memory", "scratch") and bare == [str(k) for k in range(len(bare))]:
        has = dict(zip(("x", "y", "z") if len(bare) == 3 else ("ra", "dec"), bare, strict=False))
        if len(bare) not in (2, 3) or (kind is not None and (kind == "sky") != (len(bare) == 2)):
            what = f"the array has {len(bare)} columns without names"
            raise InputError(what, 'say what they are, as in columns={"x": "0", "y": "1", "z": "2"}')
    space, sky = {"x", "y", "z"} <= set(has), {"ra", "dec"} <= set(has)
    if space and sky and kind is None:
        raise InputError("the table has positions in space and on the sky", "choose with columns=")
    if space and kind != "sky":
        return Schema("cartesian", {role: has[role] for role in ("x", "y", "z")})
    if sky and kind != "cartesian":
        along = {
            role: has[name] for role, name in (("redshift", "redshift"), ("redshift", "z")) if name in has
        }
        if "redshift" in has:
            along = {"redshift": has["redshift"]}
        return Schema("sky", {"ra": has["ra"], "dec": has["dec"], **along})
    raise InputError(
        "no columns are named x, y, z or ra, dec",
        f'say which they are, as in columns={{"x": ...}}; there are {", ".join(bare[:24]) or "none"}',
        key="columns",
    )


def chosen(table: Table, names: Sequence[str]) -> Table:
    """Return a table with the named columns only.

    Raises
    ------
    InputError
        One is missing, or columns that belong together have different lengths.
    """
    known = {column.name: column for column in table.columns}
    for name in names:
        if name not in known:
            what = f"there is no column {name!r} of numbers"
            raise InputError(what, advise(name, known), place=table.place, key="columns")
    columns = tuple(known[name] for name in names)
    if table.form == "memory":
        places = [table.columns.index(column) for column in columns]
        return replace(table, columns=columns, details=table.details[:, places])
    if table.form != "hdf5":
        return replace(table, columns=columns)
    lengths = {column.name: column.offset for column in columns}
    if len(set(lengths.values())) > 1:
        text = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise InputError(f"the columns have different lengths: {text}", "choose columns of one table")
    return replace(table, columns=columns, rows=columns[0].offset)


def advise(word: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, or which there are."""
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, 1)
    return f"did you mean {folded[close[0]]!r}?" if close else f"there are {', '.join(folded.values())}"


def in_units(tables: Sequence[Table], schema: Schema) -> tuple[list[Table], str]:
    """Give every column the factor that turns it into degrees, or into the unit of the first distance.

    Returns
    -------
    list of Table, str
        The tables, and the unit of distances, ``""`` where no column has one.

    Raises
    ------
    InputError
        A unit is unknown, or is not that of an angle or a length.
    """
    roles = list(schema.names)
    lengths = [role for role in roles if role in ("x", "y", "z", "distance")]
    given = [t.columns[roles.index(role)].unit for t in tables for role in lengths]
    unit = next((one for one in given if one), "")
    if unit and not all(given):
        raise InputError(
            "some columns of positions have a unit and some have none", f"write {unit!r} for all"
        )
    found = []
    for table in tables:
        columns = []
        for role, column in zip(roles, table.columns, strict=True):
            target = "deg" if role in ("ra", "dec") else unit if role in lengths else ""
            columns.append(_with_factor(column, target if column.unit else "", table))
        found.append(replace(table, columns=tuple(columns)))
    return found, unit


def _with_factor(column: Column, target: str, table: Table) -> Column:
    if not target or column.unit == target:
        return column
    from astropy import units

    try:
        factor = float(units.Unit(column.unit).to(units.Unit(target)))
    except (ValueError, TypeError) as error:
        what = f"column {column.name!r} is in {column.unit!r}, which is not a unit like {target!r}"
        raise InputError(what, "mend its unit", path=table.path, place=table.place) from error
    return column._replace(factor=factor)
