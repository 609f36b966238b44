"""The picture of a correlation function, or of counts, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

_LABELS = {"xi": "ξ", "wp": "w_p", "multipoles": "ξ_ℓ", "npairs": "pairs"}


def draw(dataset: xr.Dataset, figure: Any) -> None:
    """Draw what a result shows best: multipoles, wp, ξ over one axis, or ξ over two as an image."""
    name = next(name for name in ("multipoles", "wp", "xi", "npairs") if name in dataset)
    variable = dataset[name]
    first = str(variable.dims[0])
    axes = figure.subplots()
    if len(variable.dims) == 2 and variable.dims[1] != "ell":
        _image(dataset, variable, figure, axes)
        return
    x, spread = dataset[first].values, _logarithmic(dataset, first)
    lines = variable.values.reshape(len(x), -1).T
    errors = (
        dataset[f"{name}_error"].values.reshape(len(x), -1).T
        if f"{name}_error" in dataset
        else [None] * len(lines)
    )
    labels = [f"ℓ = {ell}" for ell in dataset["ell"].values] if "ell" in variable.dims else [None]
    for values, error, label in zip(lines, errors, labels, strict=True):
        axes.errorbar(x, values, error, fmt="o-", ms=4, lw=1, capsize=2, label=label)
    if spread:
        axes.set_xscale("log")
    if spread and np.all(lines > 0):
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    unit = dataset.attrs.get("unit") or dataset[first].attrs.get("unit", "")
    axes.set_xlabel(f"{first} [{unit}]" if unit else first)
    axes.set_ylabel(_LABELS[name])
    if labels[0] is not None:
        axes.legend()


def _logarithmic(dataset: xr.Dataset, name: str) -> bool:
    low, high = float(dataset[f"{name}_low"][0]), float(dataset[f"{name}_high"][-1])
    return low > 0 and high >= 10 * low


def _image(dataset: xr.Dataset, variable: xr.DataArray, figure: Any, axes: Any) -> None:
    edges = []
    for name in map(str, variable.dims):
        edges.append(np.append(dataset[f"{name}_low"].values, dataset[f"{name}_high"].values[-1]))
    mesh = axes.pcolormesh(*edges, variable.values.T)
    figure.colorbar(mesh, label=_LABELS[str(variable.name)])
    axes.set_xlabel(str(variable.dims[0]))
    axes.set_ylabel(str(variable.dims[1]))
