"""Winsorized standard deviation of the used values of every pixel of a sorted tile.

Definition: PixInsight's winsorized sigma clipping (J. Conejero, ImageIntegration reference), as Siril has it. Start from the
standard deviation (ddof 1); draw in the values beyond 1.5 of it from the median to that distance;
take 1.134 times the standard deviation of the result; repeat until it changes by less than 0.05 %. Drawing in
does not move the median.

(Siril stops rejecting, in frame order, when four values are left. Here the order of frames does not count, and
rejection goes on as long as more than three values are used.)
"""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, compiled
from .state import State

REACH, CORRECTION, TOLERANCE, MOST_TURNS = 1.5, 1.134, 0.0005, 100


@compiled
def drawn_in(x: float, pivot: float, reach: float, rank: int, first: int, last: int) -> float:
    """Deviation from the pivot, drawn in to the reach; 0 where the rank is not used."""
    d = x - pivot
    d = -reach if d < -reach else d
    d = reach if d > reach else d
    return d if (rank >= first) & (rank < last) else 0.0


@compiled
def add4(rows: Array, r: int, lanes: int, s: State, reach: Array, sum1: Array, sum2: Array) -> None:
    """Add four ranks from ``r`` to the sums of winsorized deviations and of their squares."""
    for j in range(lanes):
        p, w, lo, hi = s.pivot[j], reach[j], s.first[j] - r, s.last[j] - r
        a, b = drawn_in(rows[j], p, w, 0, lo, hi), drawn_in(rows[j + LANES], p, w, 1, lo, hi)
        c, d = drawn_in(rows[j + 2 * LANES], p, w, 2, lo, hi), drawn_in(rows[j + 3 * LANES], p, w, 3, lo, hi)
        sum1[j] += (a + b) + (c + d)
        sum2[j] += (a * a + b * b) + (c * c + d * d)


@compiled
def sample_std(n: float, sum1: float, sum2: float) -> float:
    """Standard deviation (ddof 1) from sums about a pivot; 0 for fewer than two values."""
    return float(np.sqrt(max(sum2 - sum1 * (sum1 / n), 0.0) / (n - 1.0))) if n > 1.0 else 0.0


@compiled
def step(lanes: int, s: State, reach: Array, sum1: Array, sum2: Array, std: Array) -> int:
    """Renew the estimates that have not converged; return how many remain."""
    remaining = 0
    for j in range(lanes):
        if reach[j] >= 0.0:
            new = CORRECTION * sample_std(np.float64(s.last[j] - s.first[j]), sum1[j], sum2[j])
            if abs(new - std[j]) > TOLERANCE * std[j]:
                remaining += 1
                reach[j] = min(reach[j], REACH * new)
            else:
                # A negative reach says that this pixel is done; it is not read again.
                reach[j] = -1.0
            std[j] = new
    return remaining


@compiled
def winsorized_std(tile: Array, lanes: int, s: State, std: Array, reach: Array) -> None:
    """Store the winsorized standard deviation; 0 where fewer than four values are used.

    Parameters
    ----------
    tile : ndarray of float, flat
        Sorted columns.
    lanes : int
        Pixels in use.
    s : State
        Ranks used, and moments of the used values.
    std, reach : ndarray of float64
        Result, and scratch.
    """
    sum1, sum2 = np.empty(lanes), np.empty(lanes)
    start, end = s.first[0], s.last[0]
    for j in range(lanes):
        std[j] = sample_std(np.float64(s.last[j] - s.first[j]), s.sum1[j], s.sum2[j])
        reach[j] = REACH * std[j]
        start, end = min(start, s.first[j]), max(end, s.last[j])
    for _ in range(MOST_TURNS):
        sum1[:] = 0.0
        sum2[:] = 0.0
        for r in range(start // 4 * 4, end, 4):
            add4(tile[r * LANES : (r + 4) * LANES], r, lanes, s, reach, sum1, sum2)
        if step(lanes, s, reach, sum1, sum2, std) == 0:
            break
    for j in range(lanes):
        if s.last[j] - s.first[j] <= 3:
            std[j] = np.inf
