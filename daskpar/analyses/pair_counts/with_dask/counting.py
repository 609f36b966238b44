"""One count as a graph: plan, sorted pieces, blocks; and `count_pairs`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import ArrayLike, NDArray

from daskpar.analyses.pair_counts.cells_stage import Question, count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.estimates import axes
from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.settings import check_box, make_binning, make_box
from daskpar.analyses.pair_counts.steps import bare_question, finished, summed, weigh
from daskpar.analyses.pair_counts.with_dask.samples import Sample, Shared, as_sample
from daskpar.durable import collect, digest_of, durable
from daskpar.inputs.catalogs import Catalog
from daskpar.lazy import da, xr
from daskpar.stored_value import Remembered

#: Without a run the number of blocks is fixed before the density is known, from the number of points.
POINTS_A_SLOT, MOST_SLOTS = 1000, 1024
#: A block beyond the plan's counts nothing, but costs a task: of large catalogs there are fewer.
POINTS_A_LARGE_SLOT, FEWEST_SLOTS = 20_000, 64


def count_pairs(
    sample1: Any,
    sample2: Any = None,
    edges: ArrayLike = (),
    metric: str = "r",
    boxsize: Any = None,
    weights1: Any = None,
    weights2: Any = None,
    pi_edges: ArrayLike | None = None,
    mu_edges: ArrayLike | None = None,
    los: str = "z",
    *,
    separations: bool = True,
) -> xr.Dataset:
    """Count pairs by separation; lazy.

    Parameters
    ----------
    sample1, sample2 : Catalog, array (n, 3) or (n, 2), table, or files
        Positions in space, or longitude and latitude in degrees. Without ``sample2`` the first is paired with
        itself.
    edges : float64, shape (n + 1,)
        Of r, rp, s, or of θ in degrees. Bins are [lo, hi).
    metric : {"r", "rp_pi", "s_mu", "theta"}
    boxsize : float or 3 floats, optional
        Turns on minimum-image periodicity.
    weights1, weights2 : float64, shape (n,), optional
        For samples that are arrays; catalogs hold their own. Zero or more.
    pi_edges, mu_edges : float64, optional
        Second axis of ``rp_pi`` and ``s_mu``. Below zero: signed separations. µ = 1 falls in no bin.
    los : {"x", "y", "z", "midpoint"}
        Line of sight.
    separations : bool
        Whether mean separations are wanted, which cost some time.

    Returns
    -------
    xarray.Dataset
        ``npairs`` (int64), ``weight_sum`` (Σ w₁w₂) if there are weights, and ``separation_mean`` (NaN without
        pairs). An auto-count holds ordered pairs: each pair twice, self-pairs never.

    Raises
    ------
    daskpar.errors.RecipeError
        Edges that are not finite and strictly increasing, or settings that do not go together.
    daskpar.errors.InputError
        A sample that cannot be used; on computing, values that no catalog may hold.
    """
    binning = make_binning(metric, edges, pi_edges, mu_edges, los)
    box = make_box(boxsize)
    check_box(binning, box)
    one = as_sample(sample1, weights1, metric, "sample1")
    two = None if sample2 is None else as_sample(sample2, weights2, metric, "sample2")
    count = bare_count(binning, box, one, two, separations)
    blocks = count.blocks(slots(one), slots(one))
    return _count_dataset(count.question, collect(finished, blocks, count.question.doubled))


def bare_count(
    binning: Binning,
    box: tuple[float, float, float],
    one: Catalog,
    two: Catalog | None,
    separations: bool = True,
) -> Count:
    """Return the count of a sample with itself, or of two, without patches."""
    question = bare_question(binning, box, one, two, separations)
    return Count(question, Sample(one), None if two is None else Sample(two))


@dataclass(frozen=True)
class Count:
    """One count as nodes of the graph: a sample with itself (``two`` is None), or two samples."""

    question: Question
    one: Sample
    two: Sample | None
    name: str = "all"

    @property
    def identity(self) -> list[Any]:
        """What decides the pairs that are counted."""
        binning = self.question.binning
        second = None if binning.second_edges is None else binning.second_edges.tolist()
        question = [
            binning.metric,
            binning.edges.tolist(),
            second,
            binning.line_of_sight,
            self.question.boxsize,
        ]
        samples = [self.one.identity, None if self.two is None else self.two.identity]
        return [question, list(self.question.wanted), samples]

    def _shared(self) -> Any:
        return delayed(Shared(self.question), name=f"question-{digest_of(self.identity)}", traverse=False)

    def plan(self, at_most: int) -> Delayed:
        """Return the durable node of the plan."""
        two = [] if self.two is None else self.two.pieces()
        key = [self.identity, at_most]
        return durable(
            plan_pairs, self._shared(), self.one.pieces(), two, at_most, key=key, label=f"plan {self.name}"
        )

    def blocks(self, at_most: int, number: int) -> list[Delayed]:
        """Return the durable nodes of the first blocks; those beyond the plan count nothing."""
        plan, shared = self.plan(at_most), self._shared()
        key = [self.identity, at_most]
        one = self._sorted(self.one, plan, "1", key)
        two = None if self.two is None else self._sorted(self.two, plan, "2", key)
        return [
            durable(count_in_block, shared, plan, one, two, k, key=[key, k], label=f"pairs {self.name} {k}")
            for k in range(number)
        ]

    def _sorted(self, sample: Sample, plan: Delayed, which: str, key: Any) -> Delayed:
        return collect(
            list,
            [
                durable(
                    sort_points,
                    self._shared(),
                    plan,
                    piece,
                    sample.centres,
                    key=[key, which, n],
                    label=f"cells {self.name} {which} {n}",
                )
                for n, piece in enumerate(sample.pieces())
            ],
        )


def plan_pairs(shared: Shared, one: Any, two: Any, at_most: int) -> dict[str, NDArray[Any]]:
    """Return the plan of a count, see `make_plan`, and for its watchers Σw and Σw² of each sample."""
    one, two = (list(map(Remembered, sample)) for sample in (one, two))  # each piece is looked at four times
    totals = [summed([weigh(piece, None, 0) for piece in sample]) for sample in (one, two) if sample]
    return {**make_plan(shared.value, one, two, at_most), "totals": np.reshape(totals, (-1, 2))}


def sort_points(shared: Shared, plan: Any, piece: Any, centres: Any) -> dict[str, NDArray[Any]]:
    """Return the points of a piece by block; see `sort_piece`."""
    return sort_piece(shared.value, plan, Remembered(piece), None if centres is None else centres["centres"])


def count_in_block(shared: Shared, plan: Any, one: Any, two: Any, block: int) -> dict[str, NDArray[Any]]:
    """Return the pairs of a block; see `count_block`."""
    return count_block(shared.value, plan, one, two or [], block)


def variable(source: Delayed, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> da.Array:
    """Return one array of a node that gives a dict, lazily."""
    return da.from_delayed(delayed(_item, pure=True)(source, name), shape, dtype)


def _item(found: Mapping[str, Any], name: str) -> Any:
    return found[name]


def _count_dataset(question: Question, counted: Delayed) -> xr.Dataset:
    dims, shape = axes(question.binning), question.binning.shape
    kinds: dict[str, Any] = {"npairs": np.int64}
    kinds |= {"weight_sum": np.float64} if question.wanted.weights else {}
    kinds |= {"separation_mean": np.float64} if question.wanted.separations else {}
    found = {name: (dims, variable(counted, name, shape, np.dtype(kind))) for name, kind in kinds.items()}
    return xr.Dataset(found, coordinates(question.binning))


def coordinates(binning: Binning) -> dict[str, Any]:
    """Return the middles and both edges of the bins of each axis."""
    found: dict[str, Any] = {}
    unit = {"unit": "deg"} if binning.metric == "theta" else {}
    for number, (name, edges) in enumerate(
        zip(axes(binning), (binning.edges, binning.second_edges), strict=False)
    ):
        if edges is None:
            continue
        attrs = unit if number == 0 else {}
        found[name] = (name, (edges[1:] + edges[:-1]) / 2, attrs)
        found[f"{name}_low"], found[f"{name}_high"] = (name, edges[:-1], attrs), (name, edges[1:], attrs)
    return found


def slots(catalog: Catalog) -> int:
    """Return how many blocks there may be, from the number of points alone."""
    rows = catalog.rows_estimate
    return max(1, min(MOST_SLOTS, rows // POINTS_A_SLOT, max(FEWEST_SLOTS, rows // POINTS_A_LARGE_SLOT)))
