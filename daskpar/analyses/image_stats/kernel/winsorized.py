"""Winsorized standard deviation of the used values of every pixel of a sorted tile.

Definition: PixInsight's winsorized sigma clipping (J. Conejero, ImageIntegration reference), as Siril has
it. Start from the
standard deviation (ddof 1); draw in the values beyond 1.5 of it from the median to that distance;
take 1.134 times the standard deviation of the result; repeat until it changes by less than 0.05 %. Drawing in
does not move the median.

(Siril stops rejecting, in frame order, when four values are left. Here the order of frames does not
count, and rejection goes on as long as more than three values are used.)
"""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, inner
from .state import State

REACH, CORRECTION, TOLERANCE, MOST_TURNS = 1.5, 1.134, 0.0005, 100


@inner
def drawn_in(x: float, pivot: float, reach: float) -> float:
    """Deviation from the pivot, drawn in to the reach."""
    d = x - pivot
    d = d if d > -reach else -reach
    return d if d < reach else reach


@inner
def add4(rows: Array, lanes: int, pivot: Array, reach: Array, sum1: Array, sum2: Array) -> None:
    """Add four ranks, all used, to the sums of winsorized deviations and of their squares."""
    for j in range(lanes):
        p, w = pivot[j], reach[j]
        a, b = drawn_in(rows[j], p, w), drawn_in(rows[j + LANES], p, w)
        c, d = drawn_in(rows[j + 2 * LANES], p, w), drawn_in(rows[j + 3 * LANES], p, w)
        sum1[j] += (a + b) + (c + d)
        sum2[j] += (a * a + b * b) + (c * c + d * d)


@inner
def add4_used(rows: Array, r: int, lanes: int, s: State, reach: Array) -> None:
    """Add four ranks from ``r``, some of which are not used."""
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    for j in range(lanes):
        p, w, lo, hi = pivot[j], reach[j], first[j] - r, last[j] - r
        a = drawn_in(rows[j], p, w) if (lo <= 0) & (hi > 0) else 0.0
        b = drawn_in(rows[j + LANES], p, w) if (lo <= 1) & (hi > 1) else 0.0
        c = drawn_in(rows[j + 2 * LANES], p, w) if (lo <= 2) & (hi > 2) else 0.0
        d = drawn_in(rows[j + 3 * LANES], p, w) if (lo <= 3) & (hi > 3) else 0.0
        sum1[j] += (a + b) + (c + d)
        sum2[j] += (a * a + b * b) + (c * c + d * d)


@inner
def sample_std(n: float, sum1: float, sum2: float) -> float:
    """Return the standard deviation (ddof 1) from sums about a pivot; 0 for fewer than two values."""
    return float(np.sqrt(max(sum2 - sum1 * (sum1 / n), 0.0) / (n - 1.0))) if n > 1.0 else 0.0


@inner
def add_all(tile: Array, lanes: int, s: State, reach: Array) -> tuple[int, int]:
    """Store the sums of winsorized deviations and of their squares; return the range of ranks in use."""
    start, inner_start, inner_end, end = s.first[0], s.first[0], s.last[0], s.last[0]
    for j in range(lanes):
        s.sum1[j], s.sum2[j] = 0.0, 0.0
        start, inner_start = min(start, s.first[j]), max(inner_start, s.first[j])
        inner_end, end = min(inner_end, s.last[j]), max(end, s.last[j])
    for r in range(start // 4 * 4, end, 4):
        rows = tile[r * LANES : (r + 4) * LANES]
        if r >= inner_start and r + 4 <= inner_end:
            add4(rows, lanes, s.pivot, reach, s.sum1, s.sum2)
        else:
            add4_used(rows, r, lanes, s, reach)
    return start, end


@inner
def renew(lanes: int, s: State, reach: Array, index: Array, std: Array, keep: Array) -> int:
    """Renew the estimates; list the pixels that have not converged in ``keep`` and return their number.

    A pixel that has converged may be carried along for a while; its estimates then go to the last place of
    ``std``.
    """
    first, last, sum1, sum2, nowhere = s.first, s.last, s.sum1, s.sum2, std.size - 1
    for k in range(lanes):
        n = np.float64(last[k] - first[k])
        square = sum2[k] - sum1[k] * (sum1[k] / n)
        # The new estimate takes the place of a sum that is not needed again. (No branch: this loop is
        # vectorised.)
        sum1[k] = CORRECTION * np.sqrt((square if square > 0.0 else 0.0) / (n - 1.0))
    kept = 0
    for k in range(lanes):
        old, new = std[index[k]], sum1[k]
        std[index[k]] = new
        reach[k] = min(reach[k], REACH * new)
        keep[kept] = k
        going = abs(new - old) > TOLERANCE * old and index[k] != nowhere
        kept += int(going)
        index[k] = index[k] if going else nowhere
    return kept


@inner
def winsorized_std(tile: Array, lanes: int, s: State, std: Array, reach: Array) -> None:
    """Store the winsorized standard deviation; infinite where fewer than four values are used.

    Most pixels converge at once, a few need a dozen turns: those that go on are copied together.

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
    work, copy = tile, np.empty_like(tile)
    index, keep = np.arange(lanes), np.empty(lanes + 1, np.int64)
    w = State(
        s.first[:lanes].copy(),
        s.last[:lanes].copy(),
        s.pivot[:lanes].copy(),
        np.empty(lanes),
        np.empty(lanes),
    )
    estimates = np.zeros(lanes + 1)
    for j in range(lanes):
        estimates[j] = sample_std(np.float64(s.last[j] - s.first[j]), s.sum1[j], s.sum2[j])
        reach[j] = REACH * estimates[j]
    active = lanes
    for _ in range(MOST_TURNS):
        start, end = add_all(work, active, w, reach)
        kept = renew(active, w, reach, index, estimates, keep)
        if kept == 0:
            break
        if 4 * kept < 3 * active:
            for r in range(start, end):
                for k in range(kept):
                    copy[r * LANES + k] = work[r * LANES + keep[k]]
            for k in range(kept):
                i = keep[k]
                w.first[k], w.last[k], w.pivot[k] = w.first[i], w.last[i], w.pivot[i]
                index[k], reach[k] = index[i], reach[i]
            work, active = copy, kept
    for j in range(lanes):
        std[j] = estimates[j] if s.last[j] - s.first[j] > 3 else np.inf
