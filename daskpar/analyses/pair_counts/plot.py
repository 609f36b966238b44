"""The picture of a correlation function, or of counts, with errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

_LABELS = {"xi": r"$\xi$", "wp": r"$w_p$", "xi0": r"$\xi_\ell$", "npairs": "pairs"}


def draw(dataset: xr.Dataset, figure: Any) -> None:
    """Draw what a result shows best: multipoles, wp, ξ over one axis, or ξ over two as an image."""
    name = next(name for name in ("xi0", "wp", "xi", "npairs") if name in dataset)
    variable = dataset[name]
    first = str(variable.dims[0])
    axes = figure.subplots()
    if len(variable.dims) == 2:
        _image(dataset, variable, figure, axes)
        return
    x, spread = dataset[first].values, _logarithmic(dataset, first)
    names = [one for one in ("xi0", "xi2", "xi4") if one in dataset] or [name]
    # Multipoles fall over decades and change sign: times s they are seen on all scales.
    times = x if len(names) > 1 else 1.0
    for one in names:
        error = dataset[f"{one}_error"].values * times if f"{one}_error" in dataset else None
        label = f"ℓ = {one[2:]}" if len(names) > 1 else None
        axes.errorbar(x, dataset[one].values * times, error, fmt="o-", ms=4, lw=1, capsize=2, label=label)
    if spread:
        axes.set_xscale("log")
    if spread and len(names) == 1 and np.all(dataset[name].values > 0):
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="0.7", lw=0.8, zorder=0)
    unit = dataset.attrs.get("unit") or dataset[first].attrs.get("unit", "")
    axes.set_xlabel(f"{first} [{unit}]" if unit else first)
    axes.set_ylabel(_LABELS[name] if len(names) == 1 else rf"{first} {_LABELS[name]}")
    if len(names) > 1:
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
