"""Sigma clipping in exact arithmetic, for the few pixels with a value within rounding of a bound."""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, compiled
from .exact import outside
from .options import Rejection
from .state import Chunk


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
def settle_chunk(chunk: Chunk, size: int, pixels: int, rule: Rejection) -> None:
    """Set the ranks used of the pixels marked as unsure, and remove the marks.

    Parameters
    ----------
    chunk : Chunk
        Sorted values; receives the ranks.
    size, pixels : int
        Values in a tile, pixels in the chunk.
    rule : Rejection
        Sigma clipping.
    """
    for i in range(pixels):
        if chunk.unsure[i]:
            base = i // LANES * size + i % LANES
            column = np.empty(chunk.total[i])
            for r in range(column.size):
                column[r] = chunk.ranked[base + r * LANES]
            chunk.state.first[i], chunk.state.last[i] = clip_exactly(column, rule)
            chunk.unsure[i] = False
