"""One function over a block of items: call, collect the rows as columns, merge columns in item order.

Plain numpy, no dask: the same functions serve every version of the analysis.

A partial holds the rows of some items. ``index`` (n,) int64 are their places in the list of items, ``error``
(n,) str what each raised or ``""``. A column `c` is ``value:c`` (m, ...) for the m rows that have it,
``rows:c`` (m,) int64 their places in this partial, and ``unit:c``, a FITS unit string, if it has a unit.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import AnalysisError, DaskparError

Array = NDArray[Any]
Partial = Mapping[str, Array]


@dataclass(frozen=True)
class Column:
    """One column of the merged table.

    Attributes
    ----------
    values : array (n, ...)
        A row an item; NaN, zero or ``""`` where there is none.
    missing : bool array (n,)
        Where there is none.
    unit : str
        FITS unit string, or ``""``.
    """

    values: Array
    missing: NDArray[np.bool_]
    unit: str = ""


def partial(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    index: Sequence[int],
    on_error: str = "raise",
    retries: int = 0,
) -> dict[str, Array]:
    """Call `function` on each item and return the rows as a partial.

    Parameters
    ----------
    function : callable
        Returns a dict of columns, or one value, which becomes the column ``value``. Values are numbers,
        strings, booleans, quantities or arrays of a fixed shape.
    items : sequence
        What it is called with.
    index : sequence of int
        The places of these items in the whole list.
    on_error : {"raise", "record"}
        Whether a failure ends the block, or becomes a row with its message in ``error``.
    retries : int
        How often a failed item is tried again at once.

    Raises
    ------
    daskpar.errors.AnalysisError
        The function failed and `on_error` is ``"raise"``, or it returned something that is no row.
    """
    rows, errors = [], []
    for item in items:
        row, error = _row(function, item, retries)
        if error is not None and on_error == "raise":
            if isinstance(error, DaskparError):
                raise error
            raise AnalysisError(
                f"item {describe(item)} raised {_summary(error)}",
                "mend the function, or keep failures as rows with on_error: record",
            ) from error
        rows.append(row)
        errors.append("" if error is None else _summary(error))
    columns = _columns(rows, items)
    return {"index": np.asarray(index, np.int64), "error": np.asarray(errors, np.str_), **columns}


def _row(function: Callable[[Any], Any], item: Any, retries: int) -> tuple[dict[str, Any], Exception | None]:
    for attempt in range(retries + 1):
        try:
            value = function(item)
        except Exception as error:
            if attempt == retries:
                return {}, error
        else:
            return (dict(value) if isinstance(value, Mapping) else {"value": value}), None
    return {}, None


def _summary(error: Exception) -> str:
    """Return the error in one line, with the place in the user's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__] or frames
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def describe(item: Any) -> str:
    """Return an item as it is shown in tables and messages."""
    return item if isinstance(item, str) else repr(item)


def _columns(rows: Sequence[Mapping[str, Any]], items: Sequence[Any]) -> dict[str, Array]:
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Array] = {}
    for name in names:
        having = [i for i, row in enumerate(rows) if name in row and row[name] is not None]
        if not having:
            continue
        unit, values = _without_unit([rows[i][name] for i in having])
        found[f"value:{name}"] = _stacked(values, name, [items[i] for i in having])
        found[f"rows:{name}"] = np.asarray(having, np.int64)
        if unit:
            found[f"unit:{name}"] = np.asarray(unit)
    return found


def _without_unit(values: list[Any]) -> tuple[str, list[Any]]:
    unit = getattr(values[0], "unit", None)
    if unit is None or not hasattr(values[0], "to_value"):
        return "", values
    return unit.to_string("fits"), [value.to_value(unit) for value in values]


def _stacked(values: list[Any], name: str, items: list[Any]) -> Array:
    arrays = [np.asarray(value) for value in values]
    for array, item in zip(arrays, items, strict=True):
        if array.dtype.kind not in "biufcSUmM":
            raise AnalysisError(
                f"column {name!r} of item {describe(item)} is of type {type(values[0]).__name__}",
                "return numbers, strings, booleans, quantities or arrays of a fixed shape",
            )
        if array.shape != arrays[0].shape or (array.dtype.kind in "SU") != (arrays[0].dtype.kind in "SU"):
            raise AnalysisError(
                f"column {name!r} is {_kind(arrays[0])} for item {describe(items[0])} "
                f"and {_kind(array)} for item {describe(item)}",
                "return the same kind of value for every item",
            )
    return np.stack(arrays)


def _kind(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}" if array.ndim else str(array.dtype)


def merge(partials: Iterable[Partial], n_items: int) -> tuple[dict[str, Column], Array]:
    """Return the columns of all items in item order, and the messages of those that failed.

    Later partials replace the rows of earlier ones, as when failed items are tried again.

    Returns
    -------
    columns : dict of str to Column
    error : str array (n_items,)
        ``""`` where the function succeeded.
    """
    parts = list(partials)
    errors = np.zeros(n_items, f"U{max([1, *(part['error'].dtype.itemsize // 4 for part in parts)])}")
    for part in parts:
        errors[part["index"]] = part["error"]
    names = dict.fromkeys(key[6:] for part in parts for key in part if key.startswith("value:"))
    return {name: _merged(name, parts, n_items) for name in names}, errors


def _merged(name: str, parts: Sequence[Partial], n_items: int) -> Column:
    having = [part for part in parts if f"value:{name}" in part]
    arrays = [part[f"value:{name}"] for part in having]
    first = arrays[0]
    for array in arrays:
        if array.shape[1:] != first.shape[1:] or (array.dtype.kind in "SU") != (first.dtype.kind in "SU"):
            raise AnalysisError(
                f"column {name!r} is {_kind(first[0])} in some rows and {_kind(array[0])} in others",
                "return the same kind of value for every item",
            )
    dtype = np.result_type(*arrays)
    values = np.full(
        (n_items, *first.shape[1:]), np.nan if dtype.kind in "fc" else np.zeros((), dtype), dtype
    )
    missing = np.ones(n_items, bool)
    for part, array in zip(having, arrays, strict=True):
        places = part["index"][part[f"rows:{name}"]]
        values[places] = array
        missing[places] = False
    return Column(values, missing, _unit(name, having))


def _unit(name: str, parts: Sequence[Partial]) -> str:
    units = {str(part[f"unit:{name}"]) if f"unit:{name}" in part else "" for part in parts}
    if len(units) > 1:
        raise AnalysisError(
            f"column {name!r} has the units {', '.join(sorted(map(repr, units)))}",
            "return the same unit for every item",
        )
    return units.pop()
