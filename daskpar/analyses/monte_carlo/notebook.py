"""`daskpar.simulate`: a Monte Carlo from Python, lazy unless it has a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import dask
import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

from daskpar.analyses.monte_carlo import dataset
from daskpar.analyses.monte_carlo.batches import Sampling, columns_of_batch
from daskpar.analyses.monte_carlo.plan import Plan
from daskpar.analyses.monte_carlo.planning import plan_of
from daskpar.analyses.monte_carlo.trials.pi import Pi
from daskpar.analyses.monte_carlo.with_dask import Graph, stages
from daskpar.errors import RecipeError

_INTEGERS = ("n_samples",)


def simulate(
    trial: Callable[[np.random.Generator, int], Any] | Literal["pi"] | Any,
    n_samples: int,
    seed: int,
    batch_size: int = 65536,
    target_error: float | None = None,
    max_time: float | None = None,
    *,
    relative: bool = False,
    quantiles: Sequence[float] = (0.025, 0.16, 0.5, 0.84, 0.975),
    confidence: float = 0.95,
    controls: Sequence[float] = (),
    importance: Literal["", "normalised", "self_normalised"] = "",
    block_batches: int | None = None,
    exact_quantiles: bool = False,
) -> xr.Dataset:
    """Run a trial many times; the same bits for any number of workers and blocks.

    Parameters
    ----------
    trial : callable, ``"pi"`` or a trial of `daskpar.analyses.monte_carlo.trials`
        ``trial(rng, n)`` returns n values, or (n, k) for k quantities at once. `rng` is
        ``Generator(PCG64DXSM(SeedSequence(seed, spawn_key=(batch,))))``.
    n_samples : int
        How many; with a target, the most.
    seed : int
        Not negative.
    batch_size : int
        Samples a stream, at most so many in memory a task. It belongs to the definition of the numbers.
    target_error : float, optional
        Stop when the standard error is at most this. It is looked at after 32, 64, 128, ... batches, so the
        result does not depend on the workers.
    max_time : float, optional
        Seconds after which the round at hand is the last. The result equals a run of that many samples.
    relative : bool
        Whether `target_error` is relative to the mean.
    quantiles : sequence of float
        Fractions; an empty one saves the histogram.
    confidence : float
        Of all intervals.
    controls : sequence of float
        Known means of columns 1, 2, ...: control variates for column 0.
    importance : str
        Columns are w f and w: ``"normalised"`` if w is a ratio of densities, ``"self_normalised"`` if up to
        a factor.
    block_batches : int, optional
        Batches a task, a power of two; changes no result.
    exact_quantiles : bool
        Draw all samples twice and give the quantiles, and the order statistics that bound them, as sorting
        would (`numpy.quantile`), instead of to the width of a bin.

    Returns
    -------
    xarray.Dataset
        ``mean, std`` (n - 1), ``standard_error, interval_low, interval_high`` (of the mean), ``skewness,
        kurtosis`` (normal: 0), ``minimum, maximum, n_samples``, ``quantile(q)`` with interval, standard
        error and bin width, over ``column`` with ``covariance`` for (n, k) results. Lazy; computed now,
        in rounds, with a target, a time or exact quantiles.

    Raises
    ------
    RecipeError
        For arguments out of range.
    AnalysisError
        On computing, or here on the first few samples: the trial raises, or returns NaN or a wrong shape.
        Names the batch and its stream.
    """
    plan = plan_of(
        Pi() if isinstance(trial, str) and trial == "pi" else trial, n_samples, seed, batch_size,
        target_error=target_error, relative=relative, max_time=max_time, quantiles=quantiles,
        confidence=confidence, controls=controls, importance=importance, block_batches=block_batches,
        exact=exact_quantiles,
    )  # fmt: skip
    if plan.in_rounds or plan.how.exact:
        return _in_rounds(plan)
    return _lazy(Graph(plan).result(plan), _number_of_columns(plan), plan)


def _in_rounds(plan: Plan) -> xr.Dataset:
    """Compute round after round with the current scheduler; nodes of earlier rounds stay in memory."""
    rounds = stages(plan, keep=_persisted)
    stage = next(rounds)
    while True:
        result: xr.Dataset = dask.compute(stage.collection)[0]
        try:
            stage = rounds.send(result)
        except StopIteration:
            return result


def _persisted(node: Delayed) -> Delayed:
    (kept,) = dask.persist(node)
    return kept


def _number_of_columns(plan: Plan) -> int:
    """Columns of the trial's result, from the trial itself or a few samples that are not used."""
    known = getattr(plan.sampling.trial, "columns", None)
    if known is not None:
        return int(known)
    few = min(8, plan.sampling.size(0)) if plan.how.independent else plan.sampling.batch_size
    probe = Sampling(plan.sampling.trial, plan.sampling.seed, few, few)
    return int(columns_of_batch(probe, 0).shape[0])


def _lazy(node: Delayed, k: int, plan: Plan) -> xr.Dataset:
    wanted = dataset.layout(k, plan.how)
    if (plan.how.controls and k != 1 + len(plan.how.controls)) or (plan.how.importance and k != 2):
        raise RecipeError(f"the trial returns {k} columns", "one for the value, and the others", key="trial")
    pick = delayed(_variable, pure=True)
    data = {
        name: (
            dims,
            da.from_delayed(pick(node, name), shape, dtype=np.int64 if name in _INTEGERS else np.float64),
        )
        for name, (dims, shape) in wanted.items()
    }
    return xr.Dataset(data, dataset.coordinates(k, plan.how), dict(plan.how.attrs))


def _variable(found: xr.Dataset, name: str) -> Any:
    return found[name].values
