"""What one task does: call the trial for a run of batches, check what it returns, leave a node."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import histogram, streams, tree, two_values
from daskpar.errors import AnalysisError

Floats = NDArray[np.float64]
Trial = Callable[[np.random.Generator, int], Any]


@dataclass(frozen=True)
class Sampling:
    """The definition of the numbers: trial, seed, and how samples fall into batches.

    Attributes
    ----------
    trial : callable
        ``trial(rng, n)`` returns n numbers, or an (n, k) array. A trial that takes two values only may have
        ``values``, the two in ascending order, and ``hits(rng, n)``, how many of n are the second.
    seed : int
        Not negative.
    batch_size : int
        Samples a batch.
    n_samples : int
        Samples in all. The last batch is short where they are no multiple.
    """

    trial: Trial
    seed: int
    batch_size: int
    n_samples: int

    @property
    def n_batches(self) -> int:
        """Number of batches, the short one included."""
        return -(-self.n_samples // self.batch_size)

    def size(self, batch: int) -> int:
        """Return the number of samples of a batch."""
        return min(self.batch_size, self.n_samples - batch * self.batch_size)


def columns_of_batch(sampling: Sampling, batch: int, k: int | None = None) -> Floats:
    """Values of one batch, one row a column of the trial's result.

    Parameters
    ----------
    sampling : Sampling
        What to draw.
    batch : int
        Its number.
    k : int
        How many columns batch 0 had.

    Returns
    -------
    (k, n) float64 array

    Raises
    ------
    AnalysisError
        If the trial raises, or returns another shape or something that is not real numbers.
    """
    n = sampling.size(batch)
    with _blamed(sampling, batch):
        result = sampling.trial(streams.generator(sampling.seed, batch), n)
    values = np.asarray(result)
    if values.dtype.kind not in "biuf":
        raise _fault(sampling, batch, f"returned {values.dtype} instead of real numbers")
    wanted = f"({n},) or ({n}, k)" if k is None else f"({n},)" if k == 1 else f"({n}, {k})"
    if values.ndim not in (1, 2) or values.shape[0] != n or values.size == 0:
        raise _fault(sampling, batch, f"returned an array of shape {values.shape} instead of {wanted}")
    rows = values[None, :] if values.ndim == 1 else values.T
    if k is not None and rows.shape[0] != k:
        raise _fault(sampling, batch, f"returned an array of shape {values.shape} instead of {wanted}")
    return np.ascontiguousarray(rows, dtype=np.float64)


def first_batch(sampling: Sampling, bins: int = histogram.BINS) -> dict[str, Any]:
    """Return what batch 0 decides: the number of columns, and the bins of `kernel.histogram.make_bins`.

    And what it leaves, ``leaf_moments`` and ``leaf_histogram``, so that its block need not draw it again.

    Parameters
    ----------
    sampling : Sampling
        What to draw.
    bins : int
        How many bins; 0 for none.
    """
    values, leaf = _drawn(sampling, 0)
    if not bins:
        return {"columns": np.asarray(values.shape[0]), "leaf_moments": leaf["moments"]}
    made = histogram.make_bins(values, bins)
    counts = tree.empty_histogram(made)
    histogram.count_into(values, made["edges"], made["guess"], counts)
    left = {"leaf_moments": leaf["moments"], "leaf_histogram": counts}
    return {"columns": np.asarray(values.shape[0]), **made, **left}


def _drawn(sampling: Sampling, batch: int) -> tuple[Floats, tree.Node]:
    """Values of one batch, in any order where there are only two, and its node without a histogram."""
    counted = _hits(sampling, range(batch, batch + 1))
    if counted is None:
        columns = columns_of_batch(sampling, batch)
        return columns, partial_of_columns(sampling, batch, columns)
    values = sampling.trial.values  # type: ignore[attr-defined]
    hits, sizes = counted
    columns = np.repeat(np.array(values), [sizes[0] - hits[0], hits[0]])[None, :]
    return columns, two_values.node_of_hits(hits, sizes, values)


def _hits(sampling: Sampling, batches: range) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """How many samples of each batch are the second of two values, and of how many; None for other trials."""
    hits = getattr(sampling.trial, "hits", None)
    if hits is None:
        return None
    sizes = np.array([sampling.size(batch) for batch in batches])
    drawn = (hits(streams.generator(sampling.seed, batch), sampling.size(batch)) for batch in batches)
    return np.fromiter(drawn, np.int64, len(batches)), sizes


def partial_of_columns(
    sampling: Sampling,
    batch: int,
    columns: Floats,
    bins: tree.Bins | None = None,
    counts: NDArray[np.int64] | None = None,
) -> tree.Node:
    """Node of one batch, as `kernel.tree.partial`; bad values raise what names batch and stream."""
    with _blamed(sampling, batch, "returned bad values"):
        return tree.partial(columns, bins, counts)


def node_of_run(
    sampling: Sampling,
    first: int,
    count: int,
    k: int,
    bins: tree.Bins | None,
    beginning: Mapping[str, Any] | None = None,
) -> tree.Node:
    """Node of the batches ``first .. first + count - 1``, an aligned run.

    One batch and one histogram are in memory at a time.

    Parameters
    ----------
    sampling : Sampling
        What to draw.
    first, count : int
        Which batches.
    k : int
        Columns.
    bins : dict of arrays, optional
        To count the values in.
    beginning : mapping, optional
        What `first_batch` returned; batch 0 is then not drawn again, except for trials of two values.

    Raises
    ------
    AnalysisError
        Names the batch and the stream, so that it can be called again.
    """
    counted = _hits(sampling, range(first, first + count))
    if counted is not None:
        return two_values.node_of_hits(*counted, sampling.trial.values, bins)  # type: ignore[attr-defined]
    counts = None if bins is None else tree.empty_histogram(bins)
    leaves = _leaves(sampling, range(first, first + count), k, bins, counts)
    if first == 0 and beginning is not None:
        others = _leaves(sampling, range(1, count), k, bins, counts)
        leaves = itertools.chain([tree.leaf(sampling.size(0), np.asarray(beginning["leaf_moments"]))], others)
        if counts is not None:
            counts += np.asarray(beginning["leaf_histogram"])
    node = tree.merge(leaves)
    return node if counts is None else {**node, "histogram": counts}


def _leaves(
    sampling: Sampling,
    batches: Iterable[int],
    k: int,
    bins: tree.Bins | None,
    counts: NDArray[np.int64] | None,
) -> Iterator[tree.Node]:
    for batch in batches:
        yield partial_of_columns(sampling, batch, columns_of_batch(sampling, batch, k), bins, counts)


@contextmanager
def _blamed(sampling: Sampling, batch: int, verb: str = "") -> Iterator[None]:
    """Turn any exception of the trial into one that says how to get it again."""
    try:
        yield
    except Exception as fault:
        text = f"{verb}: {fault}" if verb else f"raised {type(fault).__name__}: {fault}"
        raise _fault(sampling, batch, text) from fault


def _fault(sampling: Sampling, batch: int, what: str) -> AnalysisError:
    name = getattr(sampling.trial, "__name__", type(sampling.trial).__name__)
    stream = streams.replay_text(sampling.seed, batch)
    return AnalysisError(
        f"the trial {name} {what}",
        f"call it again with rng = {stream} and n = {sampling.size(batch)}, "
        f"or `daskpar run RUN --replay {batch}`",
        key=f"batch {batch}",
    )
