"""The result as an xarray Dataset, from the nodes of consecutive segments."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.analyses.monte_carlo.kernel import estimators, tree
from daskpar.analyses.monte_carlo.kernel.finish import Summary, deviate, finish
from daskpar.analyses.monte_carlo.kernel.moments import MAXIMUM, MINIMUM
from daskpar.analyses.monte_carlo.kernel.quantiles import from_histogram

if TYPE_CHECKING:
    import xarray as xr

_PER_COLUMN = (
    "mean", "std", "standard_error", "interval_low", "interval_high", "skewness", "kurtosis", "minimum",
    "maximum",    "variance_error",
)  # fmt: skip
_QUANTILES = ("quantile", "quantile_low", "quantile_high", "quantile_standard_error", "quantile_bin_width")


@dataclass(frozen=True)
class Finish:
    """How the result is made from the merged nodes.

    Attributes
    ----------
    confidence : float
        Of all intervals.
    quantiles : tuple of float
        Fractions; empty for none.
    exact : bool
        Whether the samples are drawn again for exact quantiles.
    independent : bool
        Whether samples of a batch are independent.
    controls : tuple of float
        Expectations of columns 1.., which are control variates of column 0; empty for none.
    importance : str
        ``"normalised"`` or ``"self_normalised"`` where the columns are w f and w; else empty.
    test : bool
        Whether column 1 marks samples as extreme as the data, for a p-value.
    names : tuple of str
        Names of the columns.
    attrs : tuple of (name, value)
        Attributes of the Dataset, such as the unit.
    """

    confidence: float = 0.95
    quantiles: tuple[float, ...] = ()
    independent: bool = True
    controls: tuple[float, ...] = ()
    importance: str = ""
    test: bool = False
    names: tuple[str, ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()
    exact: bool = False


def make_exact(parts: Sequence[Mapping[str, Any]], how: Finish) -> xr.Dataset:
    """Dataset of a run with exact quantiles, the first of the parts."""
    return make(parts[1:], how, parts[0])


def extremes(moments: Any) -> tuple[Any, Any]:
    """Smallest and largest value of each column of a node's moments."""
    return moments[MINIMUM], moments[MAXIMUM]


def make(
    parts: Sequence[Mapping[str, Any]], how: Finish, exact: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """Dataset of a run.

    Parameters
    ----------
    parts : sequence of partials
        What batch 0 decided, then the nodes of the segments in order.
    how : Finish
        What is made of them.
    exact : mapping, optional
        Exact quantiles, in place of those from the counts.

    Returns
    -------
    xarray.Dataset
        Variables as in `layout`. The coordinates ``step_*`` are the convergence: samples, mean and standard
        error at the end of each segment; they depend on the sizes of blocks, so they are no part of the
        result's hash.
    """
    import xarray as xr  # here, because versions without dask need not load it

    segments = parts[1:]
    prefixes = list(itertools.accumulate(map(_without_histogram, segments), lambda a, b: tree.merge([a, b])))
    data, k = variables(parts, how, exact), int(segments[0]["moments"].shape[1])
    steps = [finish(prefix, how.confidence, how.independent) for prefix in prefixes]
    dataset = xr.Dataset(data, coordinates(k, how), dict(how.attrs))
    warning = _warning(dataset)
    if warning:
        dataset.attrs["warning"] = warning
    dims = ["step"] if k == 1 else ["step", "column"]
    return dataset.assign_coords(
        step_samples=("step", np.array([step.n for step in steps])),
        step_mean=(dims, np.array([step.mean for step in steps]).reshape(len(steps), *_shape(k))),
        step_standard_error=(
            dims,
            np.array([step.standard_error for step in steps]).reshape(len(steps), *_shape(k)),
        ),
    )


def variables(
    parts: Sequence[Mapping[str, Any]], how: Finish, exact: Mapping[str, Any] | None = None
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return dimensions and values of every variable of the result; see `make`."""
    beginning, segments = parts[0], parts[1:]
    node = tree.merge(segments)
    summary = finish(node, how.confidence, how.independent)
    values = _of_columns(summary)
    values["covariance"] = summary.covariance
    values["n_samples"] = np.asarray(summary.n)
    if how.quantiles:
        values.update(
            _quantiles(node, beginning, summary, how) if exact is None else _exact_quantiles(exact)
        )
    values.update(_derived(summary, how))
    known = layout(summary.mean.size, how)
    return {name: (dims, values[name].reshape(shape)) for name, (dims, shape) in known.items()}


def _without_histogram(node: Mapping[str, Any]) -> tree.Node:
    return {name: np.asarray(node[name]) for name in ("batches", "count", "moments", "replicates")}


def layout(k: int, how: Finish) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Dimensions and shape of each variable for k columns; one column has no dimension."""
    dims: tuple[str, ...] = () if k == 1 else ("column",)
    found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
        name: (dims, _shape(k)) for name in _PER_COLUMN
    }
    if k > 1:
        found["covariance"] = (("column", "other_column"), (k, k))
    if how.quantiles:
        shape = (len(how.quantiles), *_shape(k))
        found.update({name: (("q", *dims), shape) for name in _QUANTILES})
    scalars = ["n_samples"]
    if how.controls or how.importance:
        scalars += [
            "estimate",
            "estimate_standard_error",
            "variance_ratio" if how.controls else "effective_samples",
        ]
    if how.test:
        scalars += ["p_value"]
    return {**found, **{name: ((), ()) for name in scalars}}


def coordinates(k: int, how: Finish) -> dict[str, Any]:
    """Coordinates of the variables in `layout`."""
    found: dict[str, Any] = {"q": np.array(how.quantiles)} if how.quantiles else {}
    if k > 1:
        names = how.names if len(how.names) == k else tuple(f"column_{i}" for i in range(k))
        found["column"] = found["other_column"] = np.array(names)
        found["other_column"] = ("other_column", np.array(names))
        found["column"] = ("column", np.array(names))
    return found


def _shape(k: int) -> tuple[int, ...]:
    return () if k == 1 else (k,)


def _of_columns(summary: Summary) -> dict[str, Any]:
    found = {name: getattr(summary, name) for name in _PER_COLUMN if not name.startswith("interval")}
    return {**found, "interval_low": summary.low, "interval_high": summary.high}


def _quantiles(
    node: Mapping[str, Any], beginning: Mapping[str, Any], summary: Summary, how: Finish
) -> dict[str, Any]:
    bins = {name: np.asarray(beginning[name]) for name in ("edges", "atom_column", "atom_bin", "atom_value")}
    found = from_histogram(
        np.asarray(node["histogram"]).astype(np.int64), bins, summary.minimum, summary.maximum,
        np.array(how.quantiles), deviate(how.confidence),
    )  # fmt: skip
    parts = (found.value, found.low, found.high, found.standard_error, found.bin_width)
    return dict(zip(_QUANTILES, parts, strict=True))


def _exact_quantiles(exact: Mapping[str, Any]) -> dict[str, Any]:
    parts = [np.asarray(exact[name]) for name in ("value", "low", "high", "standard_error")]
    return dict(zip(_QUANTILES, [*parts, np.zeros_like(parts[0])], strict=True))


def _derived(summary: Summary, how: Finish) -> dict[str, Any]:
    if how.test:
        hits = np.rint(summary.mean[1] * summary.n)
        return {"p_value": np.asarray((hits + 1.0) / (summary.n + 1.0))}
    if how.controls:
        expected = np.array(how.controls)
        found = estimators.control_variate(summary.mean, summary.covariance, summary.n, expected)
        gain = {"variance_ratio": np.asarray(found.gain)}
    elif how.importance:
        normalised = how.importance == "normalised"
        found = estimators.importance(summary.mean, summary.covariance, summary.n, normalised)
        gain = {"effective_samples": np.asarray(found.gain * summary.n)}
    else:
        return {}
    return {
        "estimate": np.asarray(found.value),
        "estimate_standard_error": np.asarray(found.standard_error),
        **gain,
    }  # fmt: skip


def _warning(dataset: xr.Dataset) -> str:
    if "quantile" not in dataset:
        return ""
    coarse = dataset["quantile_bin_width"].values > 0.1 * dataset["quantile_standard_error"].values
    if not coarse.any():
        return ""
    return (
        f"the bins are wider than a tenth of the standard error for {int(coarse.sum())} of {coarse.size} "
        "quantiles: "
        "these are good to a bin width (quantile_bin_width)"
    )
