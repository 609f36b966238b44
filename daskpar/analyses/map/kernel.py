"""One function over a block of items: call, collect the rows as columns, merge columns in item order.

Plain numpy, no dask: the same functions serve every version of the analysis.

A partial holds the rows of some items. ``index`` (n,) int64 are their places in the list of items, ``error``
(n,) str what each raised or ``""``. A column `c` is ``value:c`` (m, ...) for the m rows that have it,
``rows:c`` (m,) int64 their places in this partial, and ``unit:c``, a FITS unit string, if it has a unit.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
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
        strings, booleans, quantities or arrays of a fixed shape. A coroutine function (``async def``) is
        awaited, one item after the other.
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
    if inspect.iscoroutinefunction(function):
        return asyncio.run(awaited_partial(function, items, index, on_error, retries))
    return _partial((_row(function, item, retries) for item in items), items, index, on_error)


async def awaited_partial(
    function: Callable[[Any], Awaitable[Any]],
    items: Sequence[Any],
    index: Sequence[int],
    on_error: str = "raise",
    retries: int = 0,
) -> dict[str, Array]:
    """Do what `partial` does with a coroutine function, in an event loop that others use meanwhile."""
    found = []
    for item in items:
        found.append(await _awaited_row(function, item, retries))
        if found[-1][1] is not None and on_error == "raise":
            break
    return _partial(found, items, index, on_error)


def _partial(
    found: Iterable[tuple[dict[str, Any], Exception | None]],
    items: Sequence[Any],
    index: Sequence[int],
    on_error: str,
) -> dict[str, Array]:
    rows, errors = [], []
    for item, (row, error) in zip(items, found, strict=False):  # they end early where one raised
        if error is not None and on_error == "raise":
            if isinstance(error, DaskparError):
                raise error
            raise AnalysisError(
                f"item {describe(item)} raised {_summary(error)}",
                "mend the function, or keep failures as rows with on_error: record",
            ) from error
        rows.append(row)
        errors.append("" if error is None else _summary(error))
    _refuse_reserved(rows, items, ("item", "error") if on_error == "record" else ("item",))
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
            return _as_row(value), None
    return {}, None


async def _awaited_row(
    function: Callable[[Any], Awaitable[Any]], item: Any, retries: int
) -> tuple[dict[str, Any], Exception | None]:
    for attempt in range(retries + 1):
        try:
            value = await function(item)
        except Exception as error:
            if attempt == retries:
                return {}, error
        else:
            return _as_row(value), None
    return {}, None


def _as_row(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"value": value}


def _summary(error: Exception) -> str:
    """Return the error in one line, with the place in the user's code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if f.filename != __file__] or frames
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def describe(item: Any) -> str:
    """Return an item as it is shown in tables and messages."""
    return item if isinstance(item, str) else repr(item)


def _refuse_reserved(rows: Sequence[Mapping[str, Any]], items: Sequence[Any], names: Sequence[str]) -> None:
    for row, item in zip(rows, items, strict=True):
        for name in names:
            if name in row:
                raise AnalysisError(
                    f"item {describe(item)} has a column {name!r}, which the table has itself",
                    "return it under another name",
                )


def _columns(rows: Sequence[Mapping[str, Any]], items: Sequence[Any]) -> dict[str, Array]:
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Array] = {}
    for name in names:
        having = [i for i, row in enumerate(rows) if name in row and row[name] is not None]
        if not having:
            continue
        chosen = [items[i] for i in having]
        unit, values = _without_unit([rows[i][name] for i in having], name, chosen)
        found[f"value:{name}"] = _stacked(values, name, chosen)
        found[f"rows:{name}"] = np.asarray(having, np.int64)
        if unit:
            found[f"unit:{name}"] = np.asarray(unit)
    return found


def _without_unit(values: list[Any], name: str, items: list[Any]) -> tuple[str, list[Any]]:
    units, known = [], {}  # a function mostly gives the same object each time; to spell a unit takes long
    for value in values:
        one = value.unit if hasattr(value, "to_value") else None
        if id(one) not in known:
            known[id(one)] = one, "" if one is None else one.to_string("fits")
        units.append(known[id(one)][1])
    for unit, item in zip(units, items, strict=True):
        if unit != units[0]:
            raise _mixed(name, f"in {units[0]!r}", items[0], f"in {unit!r}", item)
    return units[0], [value.value if hasattr(value, "to_value") else value for value in values]


def _stacked(values: list[Any], name: str, items: list[Any]) -> Array:
    arrays = [_array(value, name, item) for value, item in zip(values, items, strict=True)]
    for array, item in zip(arrays, items, strict=True):
        if not _alike(array, arrays[0]):
            raise _mixed(name, _kind(arrays[0]), items[0], _kind(array), item)
    return np.stack(arrays)


def _array(value: Any, name: str, item: Any) -> Array:
    try:
        array = np.asarray(value)
    except ValueError:  # a list of lists of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "biufcSUmM":
        raise AnalysisError(
            f"column {name!r} of item {describe(item)} is of type {type(value).__name__}",
            "return numbers, strings, booleans, quantities or arrays of a fixed shape",
        )
    return array


def _alike(one: Array, other: Array) -> bool:
    """Whether two values may stand in one column: numbers and booleans mix, other kinds do not."""
    kinds = {"n" if array.dtype.kind in "biufc" else array.dtype.kind for array in (one, other)}
    return one.shape == other.shape and len(kinds) == 1


def _mixed(name: str, first: str, item: Any, second: str, other: Any) -> AnalysisError:
    return AnalysisError(
        f"column {name!r} is {first} for item {describe(item)} and {second} for item {describe(other)}",
        "return the same kind of value, in the same unit, for every item",
    )


def _kind(array: Array) -> str:
    return f"{array.dtype} of shape {array.shape}" if array.ndim else str(array.dtype)


def merge(partials: Iterable[Partial], items: Sequence[Any]) -> tuple[dict[str, Column], Array]:
    """Return the columns of all items in item order, and the messages of those that failed.

    Later partials replace the rows of earlier ones, as when failed items are tried again.

    Parameters
    ----------
    partials : iterable of partial
        All of them, in order.
    items : sequence
        All items, as they are to be called in messages.

    Returns
    -------
    columns : dict of str to Column
    error : str array (n,)
        ``""`` where the function succeeded.

    Raises
    ------
    daskpar.errors.AnalysisError
        The values of a column are of different kinds or units.
    """
    parts = list(partials)
    errors = np.zeros(len(items), f"U{max([1, *(part['error'].dtype.itemsize // 4 for part in parts)])}")
    for part in parts:
        errors[part["index"]] = part["error"]
    names = dict.fromkeys(key[6:] for part in parts for key in part if key.startswith("value:"))
    return {name: _merged(name, parts, items) for name in names}, errors


def _merged(name: str, parts: Sequence[Partial], items: Sequence[Any]) -> Column:
    having = [part for part in parts if f"value:{name}" in part]
    arrays = [part[f"value:{name}"] for part in having]
    places = [part["index"][part[f"rows:{name}"]] for part in having]
    units = [str(part[f"unit:{name}"]) if f"unit:{name}" in part else "" for part in having]
    for array, unit, place in zip(arrays, units, places, strict=True):
        here, first = items[int(place[0])], items[int(places[0][0])]
        if not _alike(array[0], arrays[0][0]):
            raise _mixed(name, _kind(arrays[0][0]), first, _kind(array[0]), here)
        if unit != units[0]:
            raise _mixed(name, f"in {units[0]!r}", first, f"in {unit!r}", here)
    dtype = np.result_type(*arrays)
    shape = (len(items), *arrays[0].shape[1:])
    values = np.full(shape, np.nan if dtype.kind in "fc" else np.zeros((), dtype), dtype)
    missing = np.ones(len(items), bool)
    for array, place in zip(arrays, places, strict=True):
        values[place] = array
        missing[place] = False
    return Column(values, missing, units[0])
