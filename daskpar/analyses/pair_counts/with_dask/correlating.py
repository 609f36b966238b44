"""Several counts and the correlation function they become; and `correlation`."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dask.delayed import Delayed
from numpy.typing import ArrayLike

from daskpar.analyses.pair_counts.estimates import Estimation, axes, variables
from daskpar.analyses.pair_counts.settings import check_box, make_binning, make_box
from daskpar.analyses.pair_counts.splits import split_letters, whole_names
from daskpar.analyses.pair_counts.steps import (
    as_sample,
    correlated,
    find_centres,
    finished,
    make_estimation,
    questions,
    samples_of,
)
from daskpar.analyses.pair_counts.with_dask.counting import Count, coordinates, slots, variable
from daskpar.analyses.pair_counts.with_dask.samples import Sample
from daskpar.durable import collect, durable
from daskpar.errors import RecipeError
from daskpar.inputs.catalogs import Catalog
from daskpar.lazy import xr


def correlation(
    data: Any,
    randoms: Any = None,
    edges: ArrayLike = (),
    metric: str = "r",
    estimator: str = "landy_szalay",
    boxsize: Any = None,
    weights: Any = None,
    weights_randoms: Any = None,
    n_patches: int | None = None,
    *,
    pi_edges: ArrayLike | None = None,
    mu_edges: ArrayLike | None = None,
    los: str = "z",
    patch_grid: tuple[int, int, int] | None = None,
    split_randoms: int = 1,
    resampling: str = "jackknife",
    cross_weight: float | str = 1.0,
    n_samples: int = 500,
    seed: int = 0,
) -> xr.Dataset:
    """Estimate a two-point correlation function, with errors from patches; lazy.

    Parameters
    ----------
    data, randoms : Catalog, array, table, or files
        As in `count_pairs`. Without randoms, the box must be periodic in all directions: then the random
        pairs are known without counting and every estimator is the natural one.
    edges, metric, boxsize, pi_edges, mu_edges, los
        As in `count_pairs`.
    estimator : {"natural", "davis_peebles", "landy_szalay", "hamilton"}
    weights, weights_randoms : float64, shape (n,), optional
        For samples that are arrays.
    n_patches : int, optional
        Regions by k-means (of the randoms where there are any) that errors come from; none without.
    patch_grid : 3 ints, optional
        The regions are boxes of a grid along x, y, z instead, over the randoms where there are any; 1 along
        the line of sight makes columns.
    split_randoms : int
        Pairs of randoms are counted inside so many parts of the randoms only, and divided by the number of
        all pairs inside parts (Keihänen et al. 2019): as many times fewer pairs, at next to no loss.
    resampling : {"jackknife", "bootstrap"}
    cross_weight : float or "matched"
        How much of the pairs between the patch left out and the others the jackknife removes: 1 all;
        ``"matched"`` as Mohammad & Percival (2022).
    n_samples, seed : int
        Of the bootstrap; the seed also begins the k-means.

    Returns
    -------
    xarray.Dataset
        ``xi``; ``wp`` for ``rp_pi`` and ``xi0``, ``xi2``, ``xi4`` for ``s_mu`` over all µ; with patches
        ``xi_error``, ``covariance`` and the same of these; ``dd``, ``dr``, ``rr`` the counts used. A
        run also keeps the matrix of patches: ``dd_patch_pairs`` with a row for each pair of patches that has
        any, which ``dd_patch_numbers`` names, and ``d_patch_sums``, Σw and Σw² of each patch.
    """
    options = {
        "estimator": estimator,
        "resampling": resampling,
        "cross_weight": cross_weight,
        "n_samples": n_samples,
        "seed": seed,
        "n_patches": n_patches or 0,
        "patch_grid": None if patch_grid is None else _grid(patch_grid),
        "split_randoms": _splits(split_randoms),
    }
    binning, box = make_binning(metric, edges, pi_edges, mu_edges, los), make_box(boxsize)
    check_box(binning, box)
    first = as_sample(data, weights, metric, "data")
    second = None if randoms is None else as_sample(randoms, weights_randoms, metric, "randoms")
    work = Correlation(first, second, make_estimation(binning, box, first, second, options))
    counts = {
        name: count.blocks(slots(count.one.catalog), slots(count.one.catalog))
        for name, count in work.counts()
    }
    return work.lazy(counts)


def _grid(shape: Any) -> tuple[int, int, int]:
    try:
        x, y, z = (operator.index(n) for n in shape)
    except (TypeError, ValueError):
        x = y = z = 0
    if min(x, y, z) < 1:
        raise RecipeError("patch_grid is three numbers of boxes", "for example (4, 4, 1)", key="patch_grid")
    return x, y, z


def _splits(number: Any) -> int:
    try:
        found = operator.index(number)
    except TypeError:
        found = 0
    if not 1 <= found <= 1000:
        raise RecipeError("split_randoms is an integer from 1 to 1000", key="split_randoms")
    return found


@dataclass(frozen=True)
class Correlation:
    """A correlation function as counts that the graph makes and what becomes of them."""

    data: Catalog
    randoms: Catalog | None
    how: Estimation

    def samples(self) -> dict[str, Sample]:
        """Return the samples by their letter, with their patches."""
        found = {"d": Sample(self.data)} | ({} if self.randoms is None else {"r": Sample(self.randoms)})
        splits = self.how.splits
        for number, letter in enumerate(split_letters(splits)):
            found[letter] = replace(found["r"], split=(number, splits))
        n = self.how.n_patches
        if not n:
            return found
        base = found.get("r", found["d"])
        seed, grid = self.how.seed, self.how.patch_grid
        key = [base.identity, n, seed, grid]
        centres = durable(find_centres, base.pieces(), n, seed, grid, key=key, label="centres of patches")
        return {name: replace(one, centres=centres, n_patches=n, tag=key) for name, one in found.items()}

    def counts(self) -> list[tuple[str, Count]]:
        """Return the counts that the estimator needs."""
        samples = self.samples()
        found = []
        for name, question in questions(self.how, analytic=self.randoms is None).items():
            one, two = samples_of(name)
            second = None if question.auto else samples[two]
            found.append((name, Count(question, samples[one], second, name)))
        return found

    def result(self, blocks: Mapping[str, Sequence[Delayed]]) -> Delayed:
        """Return the node that merges the blocks of all counts and estimates."""
        counts = dict(self.counts())
        merged = [collect(finished, nodes, counts[name].question.doubled) for name, nodes in blocks.items()]
        sums = {name: sample.weights() for name, sample in self.samples().items()}
        return collect(correlated, [*merged, *sums.values()], self.how, list(blocks), list(sums))

    def lazy(self, blocks: Mapping[str, Sequence[Delayed]]) -> xr.Dataset:
        """Return the lazy Dataset."""
        result = self.result(blocks)
        found = {}
        for name, (dims, shape) in self.variables(list(blocks)).items():
            found[name] = (dims, variable(result, name, shape, np.dtype(np.float64)))
        return xr.Dataset(found, coordinates(self.how.binning), self.attrs())

    def variables(self, names: Sequence[str]) -> dict[str, Any]:
        """Return dimensions and shape of everything in the result."""
        dims, shape = axes(self.how.binning), self.how.binning.shape
        return variables(self.how) | {name: (dims, shape) for name in whole_names(names)}

    def attrs(self) -> dict[str, Any]:
        """Return what the result says of itself."""
        return {"estimator": self.how.estimator, "n_patches": self.how.n_patches, "unit": self.data.unit}
