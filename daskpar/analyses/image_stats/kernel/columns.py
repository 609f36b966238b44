"""The loop over the tiles of a band: load, sort, reject, combine."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled
from .finish import count_rejected, finish_tile
from .load import Unit, load_tile
from .moments import moments
from .network import sort_tile
from .options import Rejection
from .sigma_clip import Bounds, clip_tile
from .state import Few, new_state

NONE, SIGMA_CLIP = 0, 1


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
    source: Array, unit: Unit, masks: Array, affine: Array, rule: Rejection, ranks: Array, method: int,
    percent: float, scratch: Scratch, out: Output,
) -> None:  # fmt: skip
    """Combine all pixels of a band.

    Parameters
    ----------
    source, unit, masks, affine
        The frames; see `load_tile`.
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
    n, pixels = source.shape[0], source.shape[1] // unit.size
    s = new_state()
    few = Few(np.zeros(LANES, np.int64), scratch.few, np.zeros(LANES, np.int32), np.zeros(LANES, np.bool_), new_state())
    b = Bounds(
        np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    )
    count = np.zeros(LANES, np.int32)
    for start in range(0, pixels, LANES):
        lanes = min(LANES, pixels - start)
        end = start + lanes
        load_tile(source, unit, masks, affine, start, lanes, scratch.values, count)
        sort_tile(scratch.values, scratch.ranked, n)
        s.first[:] = 0
        s.last[:] = count
        active = 0
        if ranks.size:
            for j in range(lanes):
                s.first[j], s.last[j], few.pixels[j] = ranks[0, start + j], ranks[1, start + j], j
            active = lanes
        moments(scratch.ranked, lanes, s)
        if rule.kind == SIGMA_CLIP and not ranks.size:
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
