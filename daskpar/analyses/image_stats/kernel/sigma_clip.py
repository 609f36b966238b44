"""Sigma clipping of all pixels of a sorted tile.

Definition: `astropy.stats.sigma_clip` with ``axis=0``. In each round the bounds are centre minus
sigma_lower and plus sigma_upper scales of the values still used; values beyond them go (a value on a bound
stays). It ends when nothing goes, or after ``maxiters`` rounds; the bounds of the last round then
judge all values once more, so that one lost in an earlier round can come back.

Values sorted, what is used are the ranks between two pointers. The first round is made for all pixels at once;
pixels in which it may reject something are copied together, and only they go on. A pixel with a value so
close to a bound that rounding could decide is marked as unsure, to be settled in exact arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, MAD_TO_STD, Array, compiled
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
        b.doubt[j] = ULP * (4.0 * abs(s.pivot[j]) + (4.0 * n + 32.0) * (1.0 + widest) * (rms + scale))
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
def near(tile: Array, j: int, edge: int, count: int, bound: float, doubt: float) -> bool:
    """Whether rounding might have put a value next to ``edge`` on the wrong side of ``bound``.

    ``edge`` is the first rank on the far side; the values on both sides of it are the ones closest to the bound.
    """
    if edge > 0 and not abs(tile[(edge - 1) * LANES + j] - bound) > doubt:
        return True
    return edge < count and not abs(tile[edge * LANES + j] - bound) > doubt


@compiled
def clip_rounds(tile: Array, lanes: int, count: Array, rule: Rejection, s: State, b: Bounds, unsure: Array) -> None:
    """Clip until nothing goes. ``s`` holds the moments of the values used, before and after."""
    running = np.ones(lanes, np.bool_)
    unsure[:lanes] = False
    first, last = s.first[:lanes].copy(), s.last[:lanes].copy()
    for turn in range(rule.maxiters):
        set_bounds(tile, lanes, rule, s, b)
        more = False
        for j in range(lanes):
            if not running[j]:
                continue
            f, l, c, lower, upper = s.first[j], s.last[j], b.centre[j], b.lower[j], b.upper[j]
            while f < l and c - tile[f * LANES + j] > lower:
                f += 1
            while l > f and tile[(l - 1) * LANES + j] - c > upper:
                l -= 1
            if (f == s.first[j] and l == s.last[j]) or f == l or turn == rule.maxiters - 1:
                running[j] = False
                while 0 < f <= s.first[j] and c - tile[(f - 1) * LANES + j] <= lower:
                    f -= 1
                while s.last[j] <= l < count[j] and tile[l * LANES + j] - c <= upper:
                    l += 1
            doubt = b.doubt[j]
            if doubt > 0.0 and (
                (lower < np.inf and near(tile, j, f, count[j], c - lower, doubt))
                or (upper < np.inf and near(tile, j, l, count[j], c + upper, doubt))
            ):
                unsure[j] = True
                running[j] = False
            more |= running[j]
            first[j], last[j] = f, l
        s.first[:lanes] = first
        s.last[:lanes] = last
        moments(tile, lanes, s)
        if not more:
            break


@compiled
def list_active(tile: Array, lanes: int, s: State, b: Bounds, index: Array) -> int:
    """List the pixels in which not all values lie within the bounds beyond doubt; return their number."""
    first, last, centre, lower, upper, doubt = s.first, s.last, b.centre, b.lower, b.upper, b.doubt
    active = 0
    for j in range(lanes):
        if last[j] > first[j]:
            below = centre[j] - tile[first[j] * LANES + j] - lower[j]
            above = tile[(last[j] - 1) * LANES + j] - centre[j] - upper[j]
            clear = below < -doubt[j] and above < -doubt[j]
            if not (clear or (doubt[j] == 0.0 and below <= 0.0 and above <= 0.0)):
                index[active] = j
                active += 1
    return active


@compiled
def clip_tile(tile: Array, lanes: int, n: int, rule: Rejection, s: State, b: Bounds, few: Few) -> int:
    """Clip all pixels of a sorted tile whose moments are in ``s``.

    Returns
    -------
    int
        Number of pixels that needed more than the first look; they are listed in ``few.pixels``.
    """
    set_bounds(tile, lanes, rule, s, b)
    active = list_active(tile, lanes, s, b, few.pixels)
    if active:
        gather(tile, n, active, s, few)
        clip_rounds(few.tile, active, few.total, rule, few.state, b, few.unsure)
        scatter(active, s, few)
    return active
