"""Columns as small line plots that share their abscissa, and scalars as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.outputs.columns import Column, columns, table_dimensions

if TYPE_CHECKING:
    import xarray as xr

MOST_PANELS = 12
_MOST_LINES = 8
_ERROR_NAMES = ("{}_error", "{}_uncertainty", "{}_std", "{}_standard_error")


def draw(dataset: xr.Dataset, figure: Any) -> None:
    """Draw the numeric columns over the dimension with most variables, a panel each, with their errors."""
    dimension = table_dimensions(dataset)[0]
    table = {column.name: column for column in columns(dataset, dimension)}
    numeric = {name: c for name, c in table.items() if c.values.dtype.kind in "buif"}
    shown = [name for name in numeric if name not in dataset.coords and not _is_error(name, numeric)]
    shown = shown[:MOST_PANELS]
    x, x_label, logarithmic = _abscissa(numeric, dimension, len(next(iter(table.values())).values))
    across = min(len(shown), 1 + (len(shown) > 3)) or 1
    down = max(1, -(-len(shown) // across))
    figure.set_size_inches(4.5 * across + 3 * (across == 1), 1.3 + 2 * down)
    panels = figure.subplots(down, across, sharex=True, squeeze=False).T.reshape(-1)
    for name, axes in zip(shown, panels, strict=False):
        _draw_column(axes, x, numeric[name], _error_of(name, numeric))
        if logarithmic:
            axes.set_xscale("log")
            axes.set_yscale("log" if _spans_decades(numeric[name].values) else "linear")
        if x.dtype.kind == "i":
            axes.xaxis.get_major_locator().set_params(integer=True)
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    figure.supxlabel(x_label)


def _is_error(name: str, table: dict[str, Column]) -> bool:
    return any(form.format(other) == name for other in table for form in _ERROR_NAMES)


def _error_of(name: str, table: dict[str, Column]) -> np.ndarray[Any, Any] | None:
    found = [table[form.format(name)].values for form in _ERROR_NAMES if form.format(name) in table]
    return np.abs(found[0]) if found and found[0].shape == table[name].values.shape else None


def _abscissa(
    table: dict[str, Column], dimension: str, length: int
) -> tuple[np.ndarray[Any, Any], str, bool]:
    """Return the coordinate of the dimension, else the row number; logarithmic where it spans a decade."""
    own = table.get(dimension)
    if own is None or own.values.ndim > 1 or not np.isfinite(own.values).all():
        return np.arange(length), dimension, False
    label = f"{dimension} [{own.unit}]" if own.unit else dimension
    x = own.values.astype(np.float64)
    return x, label, bool(length and x.min() > 0 and x.max() / x.min() >= 10 and own.values.dtype.kind == "f")


def _spans_decades(values: np.ndarray[Any, Any]) -> bool:
    """Tell whether all values are positive and span a factor of 100."""
    return bool(values.size and values.min() > 0 and values.max() / values.min() >= 100)


def _draw_column(
    axes: Any, x: np.ndarray[Any, Any], column: Column, error: np.ndarray[Any, Any] | None
) -> None:
    values = column.flat.astype(np.float64)
    if column.mask is not None:
        values[column.mask] = np.nan
    labels = column.labels or ("",)
    for index in range(min(values.shape[1], _MOST_LINES)):
        label = labels[index] or None
        if error is not None:
            bars = error.reshape(values.shape)[:, index]
            axes.errorbar(x, values[:, index], bars, fmt=".", capsize=2, elinewidth=1, label=label)
        elif column.values.dtype.kind in "bui":
            axes.step(x, values[:, index], where="mid", linewidth=1, label=label)
        else:
            axes.plot(x, values[:, index], ".-", markersize=4, linewidth=1, label=label)
    if column.labels:
        axes.legend(fontsize="x-small")
    axes.set_title(column.name, fontsize="medium")
    axes.set_ylabel(column.unit)
    axes.grid(alpha=0.3)


def draw_scalars(dataset: xr.Dataset, figure: Any) -> None:
    """Write the scalars of a Dataset as lines of text: name, value, unit."""
    lines = [f"{c.name} = {c.values.reshape(-1)[0]!s} {c.unit}".rstrip() for c in columns(dataset, None)]
    figure.set_size_inches(6, 0.2 + 0.22 * max(1, len(lines)))
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.02, 0.98, "\n".join(lines), family="monospace", va="top", parse_math=False)
