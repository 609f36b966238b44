"""What is known about the pixels of a tile while they are being clipped."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled


class State(NamedTuple):
    """Of each pixel: the ranks used (``first`` to ``last - 1``), their median, and sums about it."""

    first: Array
    last: Array
    pivot: Array
    sum1: Array
    sum2: Array


class Few(NamedTuple):
    """The pixels of a tile that need more work, copied together.

    Where they stood, sorted values, number of finite values, whether a decision was too close, state.
    """

    pixels: Array
    tile: Array
    total: Array
    unsure: Array
    state: State


@compiled
def new_state() -> State:
    """Return the state of a tile, unset."""
    return State(
        np.zeros(LANES, np.int32), np.zeros(LANES, np.int32), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES)
    )


@compiled
def gather(tile: Array, n: int, active: int, s: State, few: Few) -> None:
    """Copy the pixels listed in ``few.pixels``; all their finite values are in use."""
    for r in range(n):
        source, target = tile[r * LANES : (r + 1) * LANES], few.tile[r * LANES : (r + 1) * LANES]
        for k in range(active):
            target[k] = source[few.pixels[k]]
    for k in range(active):
        j = few.pixels[k]
        few.total[k] = s.last[j]
        few.state.first[k], few.state.last[k] = s.first[j], s.last[j]
        few.state.pivot[k], few.state.sum1[k], few.state.sum2[k] = s.pivot[j], s.sum1[j], s.sum2[j]


@compiled
def scatter(active: int, s: State, few: Few) -> None:
    """Put the state of the copied pixels back in place."""
    for k in range(active):
        j = few.pixels[k]
        s.first[j], s.last[j] = few.state.first[k], few.state.last[k]
        s.pivot[j], s.sum1[j], s.sum2[j] = few.state.pivot[k], few.state.sum1[k], few.state.sum2[k]
