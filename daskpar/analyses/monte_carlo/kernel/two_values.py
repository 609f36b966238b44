"""Partials of a variable that takes two values, from the number of times it took the second."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import tree
from daskpar.analyses.monte_carlo.kernel.moments import FOURTH, MAXIMUM, MEAN, MINIMUM, SECOND, THIRD, merge

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
_DEPTH = 64  # of a tree of 2**63 batches


def node_of_hits(
    hits: Counts, sizes: Counts, values: tuple[float, float], bins: tree.Bins | None = None
) -> tree.Node:
    """Node of consecutive batches, as `tree.merge` makes it of the nodes of each, in one compiled pass.

    Parameters
    ----------
    hits, sizes : (b,) int64 arrays
        How often each batch took ``values[1]``, and how many samples it has; the others are ``values[0]``.
    values : two floats
        In ascending order.
    bins : dict of arrays, optional
        From `histogram.make_bins`, to count the values in.
    """
    moments, replicates = _merged(hits, sizes, float(values[0]), float(values[1]))
    total, count = int(hits.sum()), int(sizes.sum())
    node = {
        "batches": np.int64(hits.size), "count": np.int64(count),
        "moments": moments, "replicates": replicates,
    }  # fmt: skip
    if bins is not None:
        counts = node["histogram"] = tree.empty_histogram(bins)
        place = np.searchsorted(bins["edges"][0], values, side="right") - 1
        counts[0, place[0]] += count - total
        counts[0, place[1]] += total
    return node


@njit(nogil=True, cache=True)
def _moments(hits: int, n: int, miss: float, hit: float) -> Floats:
    span, p, q = hit - miss, hits / n, (n - hits) / n
    second = n * (span * span) * (p * q)
    moments = np.empty((6, 1))
    moments[MEAN] = miss + span * p
    moments[MINIMUM] = miss if hits < n else hit
    moments[MAXIMUM] = hit if hits else miss
    moments[THIRD] = second * span * (q - p)
    moments[FOURTH] = second * (span * span) * (1.0 - 3.0 * (p * q))
    moments[SECOND] = second
    return moments


@njit(nogil=True, cache=True)
def _merged(hits: Counts, sizes: Counts, miss: float, hit: float) -> tuple[Floats, Floats]:
    """Moments of all samples, and of the means of the batches, along the tree of aligned powers of two."""
    moments, means = np.empty((_DEPTH, 6, 1)), np.empty((_DEPTH, 6, 1))
    counts, batches = np.empty(_DEPTH, np.int64), np.empty(_DEPTH, np.int64)
    top = -1
    for b in range(hits.size):
        top += 1
        moments[top] = _moments(hits[b], sizes[b], miss, hit)
        means[top] = 0.0
        means[top, : MAXIMUM + 1] = moments[top, MEAN]
        counts[top], batches[top] = sizes[b], 1
        last = b == hits.size - 1
        while top > 0 and (last or batches[top] == batches[top - 1]):
            left, right = top - 1, top
            moments[left] = merge(moments[left], counts[left], moments[right], counts[right])
            means[left] = merge(means[left], batches[left], means[right], batches[right])
            counts[left] += counts[right]
            batches[left] += batches[right]
            top = left
    return moments[0].copy(), means[0].copy()
