"""From merged counts to a correlation function with errors, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.resampling import (
    all_pairs,
    bootstrap,
    bootstrap_covariance,
    draw,
    jackknife,
    jackknife_covariance,
    total,
)
from daskpar.analyses.pair_counts.splits import split_letters
from daskpar.analyses.pair_counts.statistics import estimate, multipoles, projected, random_pairs_in_box

Floats = NDArray[np.float64]
Counts = Mapping[str, NDArray[Any]]
Sums = tuple[Floats, Floats]

ORDERS = (0, 2, 4)
#: Above so many bins of two axes, only the errors of the function are kept, not its covariance.
MOST_COVARIANCE = 1024


class Estimation(NamedTuple):
    """How counts become a function: estimator, box for analytic random pairs, and how errors are found."""

    binning: Binning
    estimator: str
    boxsize: tuple[float, float, float]
    weighted: bool
    n_patches: int = 0
    resampling: str = "jackknife"
    cross_weight: float = 1.0
    samples: int = 500
    seed: int = 0
    patch_grid: tuple[int, int, int] | None = None
    splits: int = 1

    @property
    def has_multipoles(self) -> bool:
        """Whether µ is covered, so that multipoles exist."""
        edges = self.binning.second_edges
        return self.binning.metric == "s_mu" and edges is not None and edges[0] in (-1, 0) and edges[-1] == 1


def counts_needed(estimator: str, *, analytic: bool, signed: bool) -> tuple[str, ...]:
    """Return which counts an estimator takes: ``dd`` and some of ``dr``, ``rd``, ``rr``."""
    if analytic:
        return ("dd",)
    if estimator == "natural":
        return ("dd", "rr")
    return ("dd", "dr", *(("rd",) if signed else ()), *(("rr",) if estimator != "davis_peebles" else ()))


def variables(how: Estimation) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """Return dimensions and shape of each variable that `correlate` gives, besides the counts."""
    first, *second = axes(how.binning)
    shape = how.binning.shape
    found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {"xi": ((first, *second), shape)}
    if how.binning.metric == "rp_pi":
        found["wp"] = ((first,), shape[:1])
    if how.has_multipoles:
        found |= {f"xi{order}": ((first,), shape[:1]) for order in ORDERS}
    if how.n_patches:
        found |= {f"{name}_error": value for name, value in found.items()}
        bins = {"xi": int(np.prod(shape))} | ({"wp": shape[0]} if "wp" in found else {})
        bins |= {"multipoles": len(ORDERS) * shape[0]} if how.has_multipoles else {}
        for name, n in bins.items():
            if n <= MOST_COVARIANCE:
                found[covariance_name(name)] = ((f"{name}_bin", f"{name}_bin2"), (n, n))
    return found


def covariance_name(name: str) -> str:
    """Return the name of the covariance of a function."""
    return "covariance" if name == "xi" else f"{name}_covariance"


def axes(binning: Binning) -> tuple[str, ...]:
    """Return the names of the dimensions of a binning."""
    return {"r": ("r",), "theta": ("theta",), "rp_pi": ("rp", "pi"), "s_mu": ("s", "mu")}[binning.metric]


def correlate(how: Estimation, counts: Mapping[str, Counts], sums: Mapping[str, Sums]) -> dict[str, Floats]:
    """Return the correlation function and what follows from it.

    Parameters
    ----------
    how : Estimation
    counts : mapping
        ``dd``, ``dr``, ``rd``, ``rr`` from `kernel.partial.finish`; with patches a row a pair of patches.
    sums : mapping
        Σw and Σw² of each patch of ``d`` and ``r``, each of shape (max(n_patches, 1),). Where randoms are
        split, also of ``r0``, ``r1``, …, inside which the pairs of ``rr`` were counted.

    Returns
    -------
    dict of float64 arrays
        As `variables` says. Covariances are over flattened bins, the last axis varying fastest; that of the
        multipoles is over all bins of ξ0, then of ξ2, then of ξ4.
    """
    tables = {name: _tables(how, name, counts[name], sums) for name in counts}
    whole = {name: _ratio(total(pairs), total(of)) for name, (_, pairs, _, of) in tables.items()}
    result = _statistics(how, whole)
    if how.n_patches:
        samples = {name: _resampled(how, *table) for name, table in tables.items()}
        for name, values in _statistics(how, samples).items():
            flat = values.reshape(len(values), -1)
            covariance = (
                jackknife_covariance(flat) if how.resampling == "jackknife" else bootstrap_covariance(flat)
            )
            error: Floats = np.sqrt(np.diag(covariance))
            result[f"{name}_error"] = error.reshape(values.shape[1:])
            if flat.shape[1] <= MOST_COVARIANCE:
                result[covariance_name(name)] = covariance
    return _unpacked(result)


def _unpacked(result: dict[str, Floats]) -> dict[str, Floats]:
    """Return the multipoles one by one."""
    for name in ("multipoles", "multipoles_error"):
        if name in result:
            suffix = name.removeprefix("multipoles")
            rows = result.pop(name)
            result |= {f"xi{order}{suffix}": row for order, row in zip(ORDERS, rows, strict=True)}
    return result


def _tables(
    how: Estimation, name: str, counts: Counts, sums: Mapping[str, Sums]
) -> tuple[Any, Any, Any, Any]:
    """Return patch pairs and counts, and patch pairs and numbers of all pairs."""
    pairs = counts["weight_sum" if how.weighted else "npairs"]
    patches = counts.get("patches", np.zeros((1, 2), np.int64))
    pairs = pairs if "patches" in counts else pairs[None]
    same = name[0] == name[1]
    every, of = all_pairs(sums[name[0]], None if same else sums[name[1]])
    if name == "rr" and how.splits > 1:
        of = np.sum([all_pairs(sums[letter])[1] for letter in split_letters(how.splits)], axis=0)
    return patches, pairs, every, of


def _resampled(how: Estimation, patches: Any, pairs: Any, every: Any, of: Any) -> Floats:
    if how.resampling == "jackknife":
        top = jackknife(patches, pairs, how.n_patches, how.cross_weight)
        bottom = jackknife(every, of, how.n_patches, how.cross_weight)
    else:
        times = draw(how.n_patches, how.samples, how.seed)
        top, bottom = bootstrap(patches, pairs, times), bootstrap(every, of, times)
    return _ratio(top, bottom.reshape(-1, *(1,) * (top.ndim - 1)))


def _ratio(top: Floats, bottom: Any) -> Floats:
    bottom = np.broadcast_to(bottom, top.shape)
    result: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)
    return result


def _statistics(how: Estimation, counts: Mapping[str, Floats]) -> dict[str, Floats]:
    binning = how.binning
    if "rr" not in counts and "dr" not in counts:
        expected = random_pairs_in_box(binning.metric, binning.edges, how.boxsize, binning.second_edges)
        found = {"xi": estimate("natural", counts["dd"], rr=np.broadcast_to(expected, counts["dd"].shape))}
    else:
        found = {"xi": estimate(how.estimator, **counts)}
    if binning.metric == "rp_pi" and binning.second_edges is not None:
        found["wp"] = projected(found["xi"], binning.second_edges)
    if how.has_multipoles and binning.second_edges is not None:
        found["multipoles"] = np.moveaxis(multipoles(found["xi"], binning.second_edges, ORDERS), -1, -2)
    return found
