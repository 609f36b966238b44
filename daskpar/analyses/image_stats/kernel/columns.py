"""The loop over the tiles of a band: load, sort, reject, combine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .bounds import Bounds
from .clip import clip_tile
from .compiled import LANES, Array, compiled
from .finish import count_rejected, finish_tile
from .load import Frames, frame_and_pixel_numbers, load_tile
from .moments import moments
from .network import sort_tile
from .options import MINMAX, NONE, Rejection
from .state import Few, State, new_state


class Output(NamedTuple):
    """Planes of a band, flat over its pixels, and the table of frames."""

    combined: Array
    uncertainty: Array
    used: Array
    rejected_low: Array
    rejected_high: Array
    frame_low: Array
    frame_high: Array
    unsure: Array


class Scratch(NamedTuple):
    """Memory for one tile: the values in frame order, sorted, and of the few pixels that need more work."""

    values: Array
    ranked: Array
    few: Array


@compiled
def drop_extremes(n: int, lanes: int, rule: Rejection, count: Array, s: State, pixels: Array) -> int:
    """Drop the lowest and highest values of each pixel; return the number of pixels, listed in ``pixels``.

    Definition: IRAF's minmax. Of a pixel with fewer than n values, the same fractions, rounded down.
    """
    for j in range(lanes):
        s.first[j] = np.int64(count[j]) * rule.n_low // n
        s.last[j] = count[j] - np.int64(count[j]) * rule.n_high // n
        pixels[j] = j
    return lanes


@compiled
def set_aside(few: Few, active: int, start: int, unsure: Array) -> int:
    """Mark the pixels that need exact arithmetic and take them off the list; return how many remain."""
    kept = 0
    for k in range(active):
        if few.unsure[k]:
            unsure[start + few.pixels[k]] = True
        else:
            few.pixels[kept] = few.pixels[k]
            kept += 1
    return kept


@compiled
def combine_columns(
    frames: Frames, rule: Rejection, ranks: Array, method: int, percent: float, scratch: Scratch, out: Output
) -> None:
    """Combine all pixels of a band.

    Parameters
    ----------
    frames : Frames
        The band.
    rule : Rejection
        What to reject.
    ranks : ndarray of int32, shape (2, pixels) or (2, 0)
        First rank used and end of the ranks used, where they are known already.
    method, percent : int, float
        What to compute from the rest.
    scratch : Scratch
        Tiles of `padded_rows` rows filled with +inf.
    out : Output
        Results. Pixels marked ``unsure`` need `settle`; they are not in the table of frames.
    """
    n, pixels = frame_and_pixel_numbers(frames)
    s = new_state()
    few = Few(np.zeros(LANES, np.int64), scratch.few, np.zeros(LANES, np.int32), np.zeros(LANES, np.bool_), new_state())
    b = Bounds(
        np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    )
    count = np.zeros(LANES, np.int32)
    for start in range(0, pixels, LANES):
        lanes = min(LANES, pixels - start)
        end = start + lanes
        load_tile(frames, start, lanes, scratch.values, count)
        sort_tile(scratch.values, scratch.ranked, n)
        s.first[:] = 0
        s.last[:] = count
        active = 0
        if ranks.size:
            for j in range(lanes):
                s.first[j], s.last[j], few.pixels[j] = ranks[0, start + j], ranks[1, start + j], j
            active = lanes
        elif rule.kind == MINMAX:
            active = drop_extremes(n, lanes, rule, count, s, few.pixels)
        moments(scratch.ranked, lanes, s)
        if rule.kind != NONE and rule.kind != MINMAX and not ranks.size:
            active = clip_tile(scratch.ranked, lanes, n, rule, s, b, few)
            active = set_aside(few, active, start, out.unsure)
        count_rejected(
            scratch.values, scratch.ranked, n, few.pixels[:active], s, count, out.frame_low, out.frame_high
        )
        finish_tile(
            scratch.ranked, lanes, method, percent, s, out.combined[start:end], out.uncertainty[start:end]
        )
        for j in range(lanes):
            out.used[start + j] = s.last[j] - s.first[j]
            out.rejected_low[start + j] = s.first[j]
            out.rejected_high[start + j] = count[j] - s.last[j]
