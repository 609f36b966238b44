"""Counting by passes over the pairs, where bins of the first axis grow outwards and nothing else is asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from daskpar.analyses.pair_counts.kernel.binning import RP_PI_MIDPOINT, Rule
from daskpar.analyses.pair_counts.kernel.compiled import compiled
from daskpar.analyses.pair_counts.kernel.lanes import LANES, compress, count, load, splat, store
from daskpar.analyses.pair_counts.kernel.memory import get_float, get_int, put_int


def worth_sifting(rule: Rule, thresholds: Any) -> bool:
    """Whether few passes over the pairs are needed: whether bins grow outwards, as volumes or areas do."""
    if rule.extra or rule.separations or rule.form == RP_PI_MIDPOINT:  # its rp may lie above the last bin
        return False
    left = (thresholds / thresholds[-1]) ** 1.5
    return bool(np.sum(left[1:]) < 4.0)


@compiled
def sift(values: int, n: int, thresholds: int, number: int, npairs: int) -> None:
    """Count values between thresholds, all below the last of them; ``values`` is used up.

    Passes from the top: each counts what is below a threshold and keeps only that. With bins that grow
    outwards most pairs are gone after one or two passes.

    Parameters
    ----------
    values : address of float64
        With room for eight more than n.
    n : int
    thresholds : address of float64, shape (number + 1,)
    number : int
    npairs : address of int64, shape (number + 2,)
        Added to; the first and the last stand for what lies outside.
    """
    for k in range(number - 1, -1, -1):
        store(values, n, splat(np.inf))
        threshold = splat(get_float(thresholds, k))
        below = 0
        for i in range(0, n, LANES):
            value = load(values, i)
            smaller = value < threshold
            store(values, below, compress(value, smaller))
            below += count(smaller)
        put_int(npairs, k + 1, get_int(npairs, k + 1) + n - below)
        n = below
        if n == 0:
            return


@compiled
def sift_rows(
    values: int, columns: int, chosen: int, n: int, thresholds: int, number: int, npairs: int, width: int
) -> None:
    """Count pairs of two axes as `sift` does; the bins along the second are known.

    Parameters
    ----------
    values : address of float64
        As for `sift`; used up, as are ``columns``.
    columns : address of int64
        The bin of each along the second axis.
    chosen : address of int64
        Room for as many.
    n : int
    thresholds : address of float64, shape (number + 1,)
    number : int
    npairs : address of int64, shape (number + 2, width)
        Added to; below the first threshold nothing is counted.
    width : int
        Bins along the second axis, with one at either end for what lies outside.
    """
    for k in range(number - 1, -1, -1):
        store(values, n, splat(np.inf))
        threshold = splat(get_float(thresholds, k))
        below = above = 0
        for i in range(0, n, LANES):
            value, column = load(values, i), load(columns, i)
            smaller = value < threshold
            # What fills up the last vector comes after all others that are chosen, and is not counted.
            store(chosen, above, compress(column, value >= threshold))
            store(values, below, compress(value, smaller))
            store(columns, below, compress(column, smaller))
            below += count(smaller)
            above += LANES - count(smaller)
        row = (k + 1) * width
        for i in range(n - below):
            where = row + get_int(chosen, i)
            put_int(npairs, where, get_int(npairs, where) + 1)
        n = below
        if n == 0:
            return
