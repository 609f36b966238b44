"""Sigma clipping of all pixels of a sorted tile, with exact decisions.

Definition: `astropy.stats.sigma_clip` with ``axis=0``. In each round the bounds are centre minus
sigma_lower and plus sigma_upper scales of the values still used; values beyond them go (a value on a bound
stays). It ends when nothing goes, or after ``maxiters`` rounds; the bounds of the last round then
judge all values once more, so that one lost in an earlier round can come back.

Values sorted, what is used are the ranks between two pointers. The first round is made for all pixels at once;
pixels in which it may reject something are copied together, and only they go on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled
from .exact import MAD_TO_STD, outside
from .mad import deviations
from .moments import moments
from .options import Rejection
from .state import Few, State, gather, scatter

ULP = 2.0**-52


class Bounds(NamedTuple):
    """Centre, distances of the bounds from it, and how far rounding may have moved them; a value a pixel."""

    centre: Array
    lower: Array
    upper: Array
    doubt: Array
    mads: Array
    scratch: Array


@compiled
def set_bounds(tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Fill in the bounds from median and moments.

    The doubt is an upper limit to the error of (x - centre) - distance for an x near the bound: one
    rounding of the pivot, and (n + a few) roundings relative to the root mean square deviation.
    """
    if rule.by_mad:
        deviations(tile, lanes, s.first, s.last, s.pivot, b.mads, b.scratch)
    widest = 0.0
    for sigma in (rule.sigma_lower, rule.sigma_upper):
        widest = max(widest, sigma) if sigma < np.inf else widest
    for j in range(lanes):
        n = np.float64(s.last[j] - s.first[j])
        square, offset = s.sum2[j] / n, s.sum1[j] / n
        rms = np.sqrt(square)
        std = np.sqrt(max(square - offset * offset, 0.0))
        scale = b.mads[j] * MAD_TO_STD if rule.by_mad else std
        b.centre[j] = s.pivot[j] + offset if rule.about_mean else s.pivot[j]
        b.lower[j] = rule.sigma_lower * scale if rule.sigma_lower < np.inf else np.inf
        b.upper[j] = rule.sigma_upper * scale if rule.sigma_upper < np.inf else np.inf
        b.doubt[j] = ULP * (abs(s.pivot[j]) + (4.0 * n + 32.0) * (1.0 + widest) * (rms + scale))
    for j in range(lanes):
        square = s.sum2[j]
        if not 1e-270 < square < 1e280:
            # Equal values make exact bounds; squares that overflow or underflow make none at all.
            low, high = tile[s.first[j] * LANES + j], tile[(s.last[j] - 1) * LANES + j]
            b.doubt[j] = 0.0 if low == high else np.inf
        elif rule.by_mad and b.mads[j] == 0.0 and not rule.about_mean:
            # The middle values are equal: centre and bounds are exact.
            b.doubt[j] = 0.0


@compiled
def is_outside(tile: Array, j: int, rank: int, side: int, rule: Rejection, s: State, b: Bounds) -> bool:
    """Whether the value of pixel ``j`` at ``rank`` lies beyond the lower (side -1) or upper (1) bound."""
    distance = b.lower[j] if side < 0 else b.upper[j]
    if distance == np.inf and b.doubt[j] < np.inf:
        return False
    away = (tile[rank * LANES + j] - b.centre[j]) * side
    if away > distance + b.doubt[j]:
        return True
    if away < distance - b.doubt[j] or b.doubt[j] == 0.0:
        return False
    sigma = rule.sigma_lower if side < 0 else rule.sigma_upper
    if sigma == np.inf:
        return False
    first, last = s.first[j], s.last[j]
    start, end = min(first, rank), max(last, rank + 1)
    column = np.empty(end - start)
    for k in range(end - start):
        column[k] = tile[(start + k) * LANES + j]
    return outside(column, first - start, last - start, rank - start, side, rule.about_mean, rule.by_mad, sigma)


@compiled
def narrow(tile: Array, j: int, rule: Rejection, s: State, b: Bounds) -> tuple[int, int]:
    """Ranks that survive a round, among those used."""
    first, last = s.first[j], s.last[j]
    while first < last and is_outside(tile, j, first, -1, rule, s, b):
        first += 1
    while last > first and is_outside(tile, j, last - 1, 1, rule, s, b):
        last -= 1
    return first, last


@compiled
def widen(
    tile: Array, j: int, count: int, kept: tuple[int, int], rule: Rejection, s: State, b: Bounds
) -> tuple[int, int]:
    """Ranks within the bounds among all ``count`` values, where ``kept`` are those still used."""
    first, last = kept
    while 0 < first <= s.first[j] and not is_outside(tile, j, first - 1, -1, rule, s, b):
        first -= 1
    while s.last[j] <= last < count and not is_outside(tile, j, last, 1, rule, s, b):
        last += 1
    return first, last


@compiled
def clip_rounds(tile: Array, lanes: int, count: Array, rule: Rejection, s: State, b: Bounds) -> None:
    """Clip until nothing goes. ``s`` holds the moments of the values used, before and after."""
    running = np.ones(lanes, np.bool_)
    first, last = s.first[:lanes].copy(), s.last[:lanes].copy()
    for turn in range(rule.maxiters):
        set_bounds(tile, lanes, rule, s, b)
        for j in range(lanes):
            if running[j]:
                f, l = narrow(tile, j, rule, s, b)
                same = f == s.first[j] and l == s.last[j]
                if same or f == l or turn == rule.maxiters - 1:
                    f, l = widen(tile, j, count[j], (f, l), rule, s, b)
                    running[j] = False
                first[j], last[j] = f, l
        s.first[:lanes] = first
        s.last[:lanes] = last
        moments(tile, lanes, s)
        if not running.any():
            break


@compiled
def all_inside(tile: Array, j: int, s: State, b: Bounds) -> bool:
    """Whether all used values of a pixel lie within the bounds beyond doubt."""
    below = b.centre[j] - tile[s.first[j] * LANES + j]
    above = tile[(s.last[j] - 1) * LANES + j] - b.centre[j]
    if b.doubt[j] == 0.0:
        return below <= b.lower[j] and above <= b.upper[j]
    return below < b.lower[j] - b.doubt[j] and above < b.upper[j] - b.doubt[j]


@compiled
def clip_tile(tile: Array, lanes: int, n: int, rule: Rejection, s: State, b: Bounds, few: Few) -> int:
    """Clip all pixels of a sorted tile whose moments are in ``s``.

    Returns
    -------
    int
        Number of pixels that needed more than the first look; they are listed in ``few.index``.
    """
    set_bounds(tile, lanes, rule, s, b)
    active = 0
    for j in range(lanes):
        if s.last[j] > 0 and not all_inside(tile, j, s, b):
            few.index[active] = j
            active += 1
    if active:
        gather(tile, n, active, s, few)
        clip_rounds(few.tile, active, few.count, rule, few.state, b)
        scatter(active, s, few)
    return active
