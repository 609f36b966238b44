"""Rejecting values beyond bounds, for all pixels of a sorted tile.

Values sorted, what is used are the ranks between two pointers. Bounds are made for all pixels at once;
pixels in which something may lie beyond them are copied together, and only they go on, round by round, until
nothing goes or ``maxiters`` rounds are over.

Sigma clipping is that of `astropy.stats.sigma_clip` with ``axis=0``: a value on a bound stays, and the bounds of the
last round judge all values once more, so that one lost in an earlier round can come back. A pixel
with a value so close to a bound that rounding could decide is marked as unsure, to be settled in exact arithmetic.
The other rules, in `bounds`, are decided in float64 and never take a value back.
"""

from __future__ import annotations

import numpy as np

from .bounds import Bounds, set_bounds
from .compiled import LANES, Array, compiled
from .moments import moments
from .options import SIGMA_CLIP, Rejection
from .state import Few, State, gather, scatter


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
    """Reject until nothing goes. ``s`` holds the moments of the values used, before and after."""
    running = np.ones(lanes, np.bool_)
    unsure[:lanes] = False
    again = rule.kind == SIGMA_CLIP
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
                while again and 0 < f <= s.first[j] and c - tile[(f - 1) * LANES + j] <= lower:
                    f -= 1
                while again and s.last[j] <= l < count[j] and tile[l * LANES + j] - c <= upper:
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
    """Reject values of all pixels of a sorted tile whose moments are in ``s``.

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
