"""Rejecting values beyond bounds, for all pixels of a sorted tile.

Values sorted, what is used are the ranks between two pointers. Pixels that may lose something are copied
together, and only they go on: bounds are made for all of them at once, round by round, until nothing goes or
``maxiters`` rounds are over.

Sigma clipping is that of `astropy.stats.sigma_clip` with ``axis=0``: a value on a bound stays, and the
bounds of the
last round judge all values once more, so that one lost in an earlier round can come back. A pixel
with a value so close to a bound that rounding could decide is marked as unsure, to be settled in exact
arithmetic.
The other rules, in `bounds`, are decided in float64 and never take a value back.
"""

from __future__ import annotations

import numpy as np

from .bounds import set_bounds
from .clear import clear_of_bounds, clear_of_sigma, clear_of_winsorized, list_open
from .compiled import LANES, Array, inner, wide_vectors
from .moments import moments
from .options import SIGMA_CLIP, Rejection
from .state import Bounds, Chunk, Few, Scratch, State, few_of, gather, go_on, scatter, tile_state


@inner
def near(tile: Array, j: int, edge: int, count: int, bound: float, doubt: float) -> bool:
    """Whether rounding might have put a value next to ``edge`` on the wrong side of ``bound``.

    ``edge`` is the first rank on the far side; the values on both sides of it are the ones closest to the
    bound.
    """
    if edge > 0 and not abs(tile[(edge - 1) * LANES + j] - bound) > doubt:
        return True
    return edge < count and not abs(tile[edge * LANES + j] - bound) > doubt


@inner
def narrow(tile: Array, lanes: int, last_turn: bool, again: bool, few: Few, b: Bounds) -> int:
    """Move the ranks of the pixels still running to the values within the bounds; return how many run on.

    Parameters
    ----------
    last_turn : bool
        No further round follows.
    again : bool
        The last bounds of a pixel judge the values lost in earlier rounds too.
    """
    more = 0
    firsts, lasts, totals, running, unsure = (
        few.state.first, few.state.last, few.total, few.running, few.unsure,
    )  # fmt: skip
    centres, lowers, uppers, doubts = b.centre, b.lower, b.upper, b.doubt
    for j in range(lanes):
        if not running[j]:
            continue
        first, last, count, c = firsts[j], lasts[j], totals[j], centres[j]
        lower, upper, doubt = lowers[j], uppers[j], doubts[j]
        f, e = first, last
        while f < e and c - tile[f * LANES + j] > lower:
            f += 1
        while e > f and tile[(e - 1) * LANES + j] - c > upper:
            e -= 1
        if (f == first and e == last) or f == e or last_turn:
            running[j] = False
            while again and 0 < f <= first and c - tile[(f - 1) * LANES + j] <= lower:
                f -= 1
            while again and last <= e < count and tile[e * LANES + j] - c <= upper:
                e += 1
        if doubt > 0.0:
            low_doubt = lower < np.inf and near(tile, j, f, count, c - lower, doubt)
            if low_doubt or (upper < np.inf and near(tile, j, e, count, c + upper, doubt)):
                unsure[j], running[j] = True, False
        more += int(running[j])
        firsts[j], lasts[j] = f, e
    return more


@inner
def find_open(
    tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds, listed: Array,
    mad: bool | None, winsorized: bool | None, simple: bool | None,
) -> int:  # fmt: skip
    """List the pixels of a tile, whose moments are known, that may lose a value; return their number."""
    if winsorized is not None:
        clear_of_winsorized(tile, lanes, rule, s, b)
    elif mad is None and simple is None:
        clear_of_sigma(tile, lanes, rule, s, b)
    else:
        set_bounds(tile, lanes, rule, s, b, mad, winsorized, simple)
        clear_of_bounds(tile, lanes, s, b)
    return list_open(lanes, b, listed)


@inner
def clip_few(
    n: int, active: int, rule: Rejection, chunk: Chunk, few: Few,
    mad: bool | None, winsorized: bool | None, simple: bool | None,
) -> None:  # fmt: skip
    """Reject values of the pixels copied together, whose moments are known, round by round."""
    wide_vectors()
    tile, b, turn = few.tile, few.bounds, 0
    while True:
        turn += 1
        set_bounds(tile, active, rule, few.state, b, mad, winsorized, simple)
        more = narrow(tile, active, turn == rule.maxiters, rule.kind == SIGMA_CLIP, few, b)
        moments(tile, active, few.state)
        if more == 0:
            break
        if 4 * more < 3 * active:
            scatter(active, chunk, few)
            active = go_on(n, active, few)
    scatter(active, chunk, few)


@inner
def clip_chunk(
    chunk: Chunk, n: int, pixels: int, rule: Rejection, scratch: Scratch,
    mad: bool | None, winsorized: bool | None, simple: bool | None,
) -> None:  # fmt: skip
    """Reject values of all pixels of a chunk; the last three are the `parts` of the rule.

    On entry the ranks in the state are those of all finite values; on return those used, with their moments.
    """
    wide_vectors()
    few = few_of(scratch)
    size, waiting, listed = few.tile.size, 0, few.listed
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = t * LANES, min(LANES, pixels - t * LANES)
        tile, s = chunk.ranked[t * size : (t + 1) * size], tile_state(chunk, at)
        moments(tile, lanes, s)
        active, taken = find_open(tile, lanes, rule, s, few.bounds, listed, mad, winsorized, simple), 0
        while taken < active:
            room = min(active - taken, LANES - waiting)
            gather(tile, n, at, listed[taken : taken + room], s, few, waiting)
            taken, waiting = taken + room, waiting + room
            if waiting == LANES:
                clip_few(n, waiting, rule, chunk, few, mad, winsorized, simple)
                waiting = 0
    if waiting > 0:
        clip_few(n, waiting, rule, chunk, few, mad, winsorized, simple)
