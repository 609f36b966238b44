"""Sigma clipping in exact arithmetic, for the few pixels with a value within rounding of a bound."""

from __future__ import annotations

import numpy as np

from .columns import Scratch
from .compiled import LANES, Array, compiled
from .exact import outside
from .load import Frames, frame_and_pixel_numbers, load_tile
from .network import sort_tile
from .options import Rejection


@compiled
def beyond(column: Array, first: int, last: int, i: int, side: int, rule: Rejection) -> bool:
    """Whether value ``i`` lies beyond the lower (side -1) or upper (1) bound made from ranks first to last."""
    sigma = rule.sigma_lower if side < 0 else rule.sigma_upper
    if sigma == np.inf:
        return False
    return outside(column, first, last, i, side, rule.about_mean, rule.by_mad, sigma)


@compiled
def clip_exactly(column: Array, rule: Rejection) -> tuple[int, int]:
    """Ranks used after clipping a sorted column of finite values."""
    first, last = 0, column.size
    for turn in range(rule.maxiters):
        f, l = first, last
        while f < last and beyond(column, first, last, f, -1, rule):
            f += 1
        while l > f and beyond(column, first, last, l - 1, 1, rule):
            l -= 1
        if (f == first and l == last) or f == l or turn == rule.maxiters - 1:
            while 0 < f <= first and not beyond(column, first, last, f - 1, -1, rule):
                f -= 1
            while last <= l < column.size and not beyond(column, first, last, l, 1, rule):
                l += 1
            return f, l
        first, last = f, l
    return first, last


@compiled
def settle(frames: Frames, rule: Rejection, scratch: Scratch, ranks: Array) -> None:
    """Store the ranks used of every pixel: first in ``ranks[0]``, end in ``ranks[1]``.

    Parameters are those of `combine_columns`.
    """
    n, pixels = frame_and_pixel_numbers(frames)
    count = np.zeros(LANES, np.int32)
    for start in range(0, pixels, LANES):
        lanes = min(LANES, pixels - start)
        load_tile(frames, start, lanes, scratch.values, count)
        sort_tile(scratch.values, scratch.ranked, n)
        for j in range(lanes):
            column = np.empty(count[j])
            for r in range(count[j]):
                column[r] = scratch.ranked[r * LANES + j]
            ranks[0, start + j], ranks[1, start + j] = clip_exactly(column, rule)
