"""Which variables of a Dataset make a table, and their values as plain columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

IMAGE_DIMENSIONS = ("y", "x")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
        Name of the variable.
    values : ndarray (n, ...)
        Bool, integer, float or ``str`` (dtype U); times as ISO 8601 text.
    mask : bool ndarray (n,), optional
        True where the value is missing.
    unit, description : str
        A FITS unit string and a sentence; empty where there is none.
    labels : tuple of str
        What stands for each element of an array column, flattened; empty for plain columns.
    """

    name: str
    values: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any] | None = None
    unit: str = ""
    description: str = ""
    labels: tuple[str, ...] = ()

    @property
    def flat(self) -> np.ndarray[Any, Any]:
        """The values as (n, k), k = 1 for plain columns."""
        return self.values.reshape(len(self.values), int(np.prod(self.values.shape[1:], dtype=int)))


def is_image(variable: xr.DataArray) -> bool:
    """Tell an image from an array column: it lies over (..., y, x), or names its own FITS extension."""
    over_pixels = tuple(map(str, variable.dims[-2:])) == IMAGE_DIMENSIONS
    return over_pixels or (variable.ndim >= 2 and "extname" in variable.attrs)


def images(dataset: xr.Dataset) -> list[xr.DataArray]:
    """Return the images of a Dataset, the main one first: with ``extname`` SCI, else named ``combined``."""
    found = [dataset[name] for name in dataset.data_vars if is_image(dataset[name])]
    named = [image for image in found if image.attrs.get("extname") == "SCI"]
    named += [image for image in found if image.name == "combined" and "extname" not in image.attrs]
    return sorted(found, key=lambda image: image.name != named[0].name) if named else found


def table_dimensions(dataset: xr.Dataset) -> list[str]:
    """Return the dimensions that have plain columns, those with most data variables first."""
    weights: dict[str, tuple[int, int]] = {}
    for name, variable in dataset.variables.items():
        if variable.ndim == 1 and variable.dims[0] not in IMAGE_DIMENSIONS:
            data, coordinates = weights.get(str(variable.dims[0]), (0, 0))
            is_data = name in dataset.data_vars
            weights[str(variable.dims[0])] = (data + is_data, coordinates + (not is_data))
    return sorted(weights, key=lambda name: weights[name], reverse=True)


def column_names(dataset: xr.Dataset, dimension: str | None) -> list[str]:
    """Return the variables that are columns over `dimension`, coordinates first; None asks for the scalars.

    Variables that only mask another (its ``attrs["mask"]``) are left out.
    """
    masks = {variable.attrs.get("mask") for variable in dataset.variables.values()}
    names = []
    for name in [*dataset.coords, *dataset.data_vars]:
        variable = dataset[name]
        fits = variable.ndim == 0 if dimension is None else _belongs(variable, dimension, dataset)
        if fits and name not in masks:
            names.append(str(name))
    own = [name for name in names if name == dimension]
    return own + [name for name in names if name != dimension]


def _belongs(variable: xr.DataArray, dimension: str, dataset: xr.Dataset) -> bool:
    if dimension not in variable.dims or is_image(variable):
        return False
    # A table column (n, k) belongs to one table only: that of its first dimension that has one.
    return variable.ndim == 1 or next(d for d in _owners(variable, dataset)) == dimension


def _owners(variable: xr.DataArray, dataset: xr.Dataset) -> list[str]:
    with_data = [d for d in table_dimensions(dataset) if _has_data(dataset, d)]
    owners = [str(d) for d in variable.dims if d in with_data]
    return owners or [str(d) for d in variable.dims]


def _has_data(dataset: xr.Dataset, dimension: str) -> bool:
    return any(dataset[name].dims == (dimension,) for name in dataset.data_vars)


def columns(dataset: xr.Dataset, dimension: str | None, rows: slice = slice(None)) -> list[Column]:
    """Read the columns over one dimension; with None the scalars, as a table of one row."""
    part = dataset[column_names(dataset, dimension)]
    masks = {
        n: v.attrs["mask"] for n, v in part.variables.items() if v.attrs.get("mask") in dataset.variables
    }
    part = dataset[[*part.data_vars, *part.coords, *masks.values()]]
    part = part.expand_dims("row") if dimension is None else part.isel({dimension: rows})
    first = "row" if dimension is None else dimension
    part = part.compute(scheduler="synchronous")
    return [_column(part, name, first, masks.get(name)) for name in column_names(dataset, dimension)]


def _column(dataset: xr.Dataset, name: str, dimension: str, mask: str | None) -> Column:
    variable = dataset[name]
    if dimension not in variable.dims:  # a scalar coordinate stays one through expand_dims
        variable = variable.expand_dims(dimension)
    variable = variable.transpose(dimension, ...)
    return Column(
        name,
        plain(variable.values),
        None if mask is None else np.asarray(dataset[mask].values, dtype=bool).reshape(-1),
        str(variable.attrs.get("unit", "")),
        str(variable.attrs.get("long_name", "")),
        _labels(variable),
    )


def _labels(variable: xr.DataArray) -> tuple[str, ...]:
    """Name the elements of an array column by the coordinates of its further dimensions, else by number."""
    labels = [""]
    for dimension, size in zip(variable.dims[1:], variable.shape[1:], strict=True):
        known = variable.coords.get(dimension)
        values = range(size) if known is None else known.values.tolist()
        labels = [f"{one}_{_short(value)}" for one in labels for value in values]
    return tuple(label[1:] for label in labels) if variable.ndim > 1 else ()


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def plain(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return values as bool, integer, float or text in native byte order.

    Times become ISO 8601 text, durations seconds, missing text the empty string.
    """
    match values.dtype.kind:
        case "M":
            return np.where(np.isnat(values), "", np.datetime_as_string(values)).astype(str)
        case "m":
            return np.asarray(values / np.timedelta64(1, "s"), dtype=np.float64)
        case "S":
            return np.char.decode(values, "utf-8", "backslashreplace")
        case "b" | "i" | "u" | "f" | "c":
            return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))
        case _:
            texts = ["" if _is_missing(value) else str(value) for value in values.reshape(-1).tolist()]
            return np.array(texts, dtype=str).reshape(values.shape)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)


def trailing_coordinates(dataset: xr.Dataset, dimension: str) -> dict[str, list[Any]]:
    """Return the values along the further dimensions of array columns, which a flat table would lose."""
    names = column_names(dataset, dimension)
    others = {str(d) for name in names for d in dataset[name].dims if d != dimension}
    return {name: plain(dataset[name].values).tolist() for name in sorted(others) if name in dataset.coords}
