"""The convergence of an estimate: its value and error bar against the number of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr


def convergence(dataset: xr.Dataset, figure: Any) -> None:
    """Draw estimate and standard error at the end of each segment, and the error against 1 / sqrt(n).

    Parameters
    ----------
    dataset : xarray.Dataset
        A result with the coordinates ``step_samples``, ``step_mean`` and ``step_standard_error``.
    figure : matplotlib.figure.Figure
        Empty. The first four columns are drawn.
    """
    above, below = figure.subplots(2, 1, sharex=True)
    n = np.asarray(dataset["step_samples"].values, dtype=float)
    means = np.asarray(dataset["step_mean"].values).reshape(n.size, -1)[:, :4]
    errors = np.asarray(dataset["step_standard_error"].values).reshape(n.size, -1)[:, :4]
    names = (
        [str(name) for name in dataset["column"].values[:4]] if "column" in dataset.coords else ["estimate"]
    )
    for i, name in enumerate(names):
        (line,) = above.plot(n, means[:, i], marker="o", label=name)
        above.fill_between(
            n, means[:, i] - errors[:, i], means[:, i] + errors[:, i], alpha=0.25, color=line.get_color()
        )
        seen = np.isfinite(errors[:, i]) & (errors[:, i] > 0)
        below.plot(n[seen], errors[seen, i], marker="o", color=line.get_color())
        if seen.any():
            last = errors[seen, i][-1] * np.sqrt(n[seen][-1])
            below.plot(n[seen], last / np.sqrt(n[seen]), linestyle=":", color="grey")
    unit = dataset.attrs.get("unit", "")
    above.set(ylabel="mean ± standard error" + (f" [{unit}]" if unit else ""), xscale="log")
    below.set(xlabel="samples", ylabel="standard error" + (f" [{unit}]" if unit else ""), yscale="log")
    if len(names) > 1:
        above.legend()
