"""Partials of a variable that takes two values, from the number of times it took the second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import tree
from daskpar.analyses.monte_carlo.kernel.moments import FOURTH, MAXIMUM, MEAN, MINIMUM, SECOND, THIRD


def partial(
    hits: int,
    n: int,
    values: tuple[float, float],
    bins: tree.Bins | None = None,
    histogram: NDArray[np.int64] | None = None,
) -> tree.Node:
    """Node of a batch of n samples of which `hits` are ``values[1]`` and the others ``values[0]``.

    Parameters
    ----------
    hits, n : int
        The counts.
    values : two floats
        In ascending order.
    bins, histogram
        As in `tree.partial`.
    """
    miss, hit = values
    span, p, q = hit - miss, hits / n, (n - hits) / n
    second = n * (span * span) * (p * q)
    moments = np.empty((6, 1))
    moments[MEAN] = miss + span * p
    moments[MINIMUM] = miss if hits < n else hit
    moments[MAXIMUM] = hit if hits else miss
    moments[THIRD] = second * span * (q - p)
    moments[FOURTH] = second * (span * span) * (1.0 - 3.0 * (p * q))
    moments[SECOND] = second
    node = tree.leaf(n, moments)
    if bins is not None:
        counts = histogram
        if counts is None:
            counts = node["histogram"] = tree.empty_histogram(bins)
        place = np.searchsorted(bins["edges"][0], values, side="right") - 1
        counts[0, place[0]] += n - hits
        counts[0, place[1]] += hits
    return node
