"""What every version of the analysis does around its blocks, as plain functions on arrays.

samples -> patches -> counts, each with its plan and blocks (`cells_stage`) -> the correlation function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.cells_stage import Question, extent, sampled
from daskpar.analyses.pair_counts.estimates import Estimation, axes, correlate, counts_needed, variables
from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.partial import Partial, Wanted, finish, merge
from daskpar.analyses.pair_counts.patches import (
    SAMPLE_PER_PATCH,
    assign_patches,
    grid_centres,
    patch_centres,
)
from daskpar.analyses.pair_counts.resampling import matched_cross_weight, patch_weights
from daskpar.analyses.pair_counts.splits import split_letters, whole, whole_names
from daskpar.analyses.pair_counts.statistics import ESTIMATORS
from daskpar.errors import RecipeError, UsageError
from daskpar.inputs.catalogs import Catalog, open_catalog


def as_sample(sample: Any, weights: Any, metric: str, name: str) -> Catalog:
    """Return the catalog that an argument means, fit for a metric.

    Raises
    ------
    daskpar.errors.UsageError
        Weights beside a catalog or files, or positions that do not fit the metric.
    """
    if isinstance(sample, Catalog):
        catalog = sample
    elif weights is not None:
        points = np.asarray(sample, np.float64)
        roles = {2: ("ra", "dec"), 3: ("x", "y", "z")}.get(points.shape[-1] if points.ndim == 2 else 0)
        if roles is None:
            raise UsageError(
                f"{name} has the shape {points.shape}", "weights go with (n, 3) or (n, 2)", key=name
            )
        columns = {role: points[:, k] for k, role in enumerate(roles)} | {"weight": np.asarray(weights)}
        return as_sample(open_catalog(columns, {role: role for role in columns}), None, metric, name)
    else:
        catalog = open_catalog(sample)
    if weights is not None:
        raise UsageError("a catalog holds its own weights", "name their column when opening it", key=name)
    if metric == "theta":
        if catalog.kind != "sky":
            raise UsageError(f"angles need {name} on the sky", "give longitude and latitude", key=name)
        return catalog.directions()
    if catalog.angular:
        raise UsageError(f"{name} has no distances", "give redshifts, or count by theta", key=name)
    return catalog


def bare_question(
    binning: Binning,
    box: tuple[float, float, float],
    one: Catalog,
    two: Catalog | None,
    separations: bool = True,
) -> Question:
    """Return what the count of a sample with itself, or of two, asks, without patches."""
    weighted = one.weighted or (two is not None and two.weighted)
    return Question(binning, box, two is None, Wanted(weighted, separations, 0))


def questions(how: Estimation, *, analytic: bool) -> dict[str, Question]:
    """Return what each count of an estimator asks: its name says which samples, ``dd``, ``dr``, ``rr``.

    Where randoms are split, ``rr0``, ``rr1``, … take the place of ``rr``.
    """
    needed = counts_needed(how.estimator, analytic=analytic, signed=how.binning.signed)
    wanted = Wanted(how.weighted, False, how.n_patches)
    found = {name: Question(how.binning, how.boxsize, name[0] == name[1], wanted) for name in needed}
    if how.splits > 1 and "rr" in found:
        one = found.pop("rr")
        found |= {f"r{letter}": one for letter in split_letters(how.splits)}
    return found


def samples_of(name: str) -> tuple[str, str]:
    """Return the letters of the samples that a count pairs: ``r3`` and ``r3`` for ``rr3``."""
    number = name.removeprefix(whole(name))
    return name[0] + number, name[1] + number


def find_centres(
    pieces: Sequence[Mapping[str, Any]],
    n_patches: int,
    seed: int,
    grid: tuple[int, int, int] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return the centres of patches: of a grid's boxes, or by k-means from some points of every piece."""
    if grid is not None:
        low, high, _ = extent([pieces])
        return {"centres": grid_centres((piece["positions"] for piece in pieces), low, high, grid)}
    step = max(1, sum(len(piece["positions"]) for piece in pieces) // (4 * SAMPLE_PER_PATCH * n_patches))
    return {"centres": patch_centres(sampled(pieces, step), n_patches, seed)}


def weigh(piece: Mapping[str, Any], centres: Any, n_patches: int) -> dict[str, NDArray[Any]]:
    """Return Σw and Σw² of the points of a piece, for each patch."""
    positions = piece["positions"]
    weights = piece["weights"] if "weights" in set(piece) else np.ones(len(positions))
    where = np.zeros(len(positions), np.int64)
    if n_patches and len(positions):
        where = assign_patches(positions, centres["centres"])
    first, second = patch_weights(where, weights, max(1, n_patches))
    return {"first": first, "second": second}


def summed(parts: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    """Add up what `weigh` gave for the pieces, in their order."""
    first, second = parts[0]["first"], parts[0]["second"]
    for part in parts[1:]:
        first, second = first + part["first"], second + part["second"]
    return first, second


def finished(partials: Sequence[Mapping[str, Any]], doubled: bool) -> dict[str, NDArray[Any]]:
    """Merge the partials of all blocks, in their order, and count ordered pairs."""
    return finish(merge(dict(part) for part in partials), doubled=doubled)


def correlated(parts: Sequence[Any], how: Estimation, names: list[str], letters: list[str]) -> dict[str, Any]:
    """Return the function from the merged counts, then the summed weights, in the order of their names."""
    counts = joined(dict(zip(names, parts[: len(names)], strict=True)))
    sums = dict(zip(letters, parts[len(names) :], strict=True))
    kind = "weight_sum" if how.weighted else "npairs"
    used = {n: c[kind].sum(axis=0) if "patches" in c else c[kind] for n, c in counts.items()}
    result = correlate(how, counts, sums) | {name: array.astype(np.float64) for name, array in used.items()}
    splits = split_letters(how.splits)
    for name, count in counts.items():
        if "patches" in count:
            result |= {f"{name}_patch_numbers": count["patches"], f"{name}_patch_pairs": count[kind]}
    if how.n_patches:
        result |= {
            f"{letter}_patch_sums": np.stack(one, axis=1)
            for letter, one in sums.items()
            if letter not in splits
        }
    if splits:
        result["rr_split_sums"] = np.stack([np.stack(sums[letter], axis=1) for letter in splits])
    return result


def joined(counts: Mapping[str, Partial]) -> dict[str, Partial]:
    """Return the counts by name, those of split randoms added up to one, in their order."""
    return {
        name: merge(count for one, count in counts.items() if whole(one) == name)
        for name in whole_names(list(counts))
    }


def result_layout(found: Mapping[str, Any], how: Estimation, names: Sequence[str]) -> dict[str, Any]:
    """Return dimensions and array of every variable of a correlation function.

    Parameters
    ----------
    found : mapping
        From `correlated`.
    how : Estimation
    names : sequence of str
        Of the counts.
    """
    dims = axes(how.binning)
    named = {name: known for name, (known, _) in variables(how).items()}
    named |= dict.fromkeys(whole_names(names), dims)
    result: dict[str, Any] = {name: (known, found[name]) for name, known in named.items()}
    # The sparse matrix of patches: coarser bins, other estimators and other resamplings need no recount.
    if how.splits > 1:
        result["rr_split_sums"] = (("split", "patch", "power"), found["rr_split_sums"])
    for name in found:
        count, _, what = name.partition("_patch_")
        if what == "sums":
            result[name] = (("patch", "power"), found[name])
        elif what:
            rest = ("pair",) if what == "numbers" else dims
            result[name] = ((f"{count}_row", *rest), found[name])
    return result


def make_estimation(
    binning: Binning,
    box: tuple[float, float, float],
    data: Catalog,
    randoms: Catalog | None,
    options: Mapping[str, Any],
) -> Estimation:
    """Return how counts become a function.

    Raises
    ------
    daskpar.errors.RecipeError
        Settings that do not go together.
    """
    if options["estimator"] not in ESTIMATORS:
        raise RecipeError(
            f"there is no estimator {options['estimator']!r}",
            f"known: {', '.join(ESTIMATORS)}",
            key="estimator",
        )
    grid, splits = options["patch_grid"], options["split_randoms"]
    if grid is not None:
        if options["n_patches"] not in (0, np.prod(grid)):
            raise RecipeError(
                "the boxes of patch_grid are the patches", "leave n_patches out", key="n_patches"
            )
        options = {**options, "n_patches": int(np.prod(grid))}
    if splits > 1 and (randoms is None or options["estimator"] == "davis_peebles"):
        raise RecipeError("there are no pairs of randoms to split", "leave it out", key="split_randoms")
    if randoms is None and (not all(box) or binning.metric == "theta"):
        raise RecipeError(
            "without randoms the box must be periodic in all directions",
            "give randoms, or the size of the box",
            key="randoms",
        )
    n, resampling, cross = options["n_patches"], options["resampling"], options["cross_weight"]
    if resampling not in ("jackknife", "bootstrap") or n < 0 or n == 1:
        raise RecipeError("errors come from a jackknife or bootstrap of two patches or more", key="n_patches")
    if cross == "matched":
        cross = matched_cross_weight(max(n, 2))
    if not isinstance(cross, int | float) or not 0 <= cross <= 1:
        raise RecipeError("cross_weight is a number from 0 to 1, or 'matched'", key="cross_weight")
    weighted = data.weighted or (randoms is not None and randoms.weighted)
    return Estimation(
        binning,
        options["estimator"],
        box,
        weighted,
        n,
        resampling,
        float(cross),
        options["n_samples"],
        options["seed"],
        grid,
        splits if randoms is not None else 1,
    )
