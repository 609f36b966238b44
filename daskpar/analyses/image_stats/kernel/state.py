"""What is known about the pixels of a tile while they are being clipped."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .compiled import LANES, Array, inner, padded_rows


class State(NamedTuple):
    """Of each pixel: the ranks used (``first`` to ``last - 1``), their median, and sums about it."""

    first: Array
    last: Array
    pivot: Array
    sum1: Array
    sum2: Array


class Bounds(NamedTuple):
    """Centre, distances of the bounds from it, and how far rounding may have moved them; a value a pixel."""

    centre: Array
    lower: Array
    upper: Array
    doubt: Array
    mads: Array
    scratch: Array


class Few(NamedTuple):
    """The pixels of a tile that need more work, copied together.

    Where they stood, sorted values, number of finite values, whether a decision was too close and whether the
    pixel goes on, state.
    """

    pixels: Array
    tile: Array
    total: Array
    unsure: Array
    running: Array
    state: State


class Chunk(NamedTuple):
    """Some tiles in work: values in frame order and sorted, and what is known of each pixel."""

    values: Array
    ranked: Array
    total: Array
    unsure: Array
    state: State


#: Bytes of the sorted values of a chunk: with those in frame order, what a core's own cache holds.
CHUNK_BYTES = 1 << 19


def new_state(pixels: int) -> State:
    """Return the state of some pixels, unset."""
    ranks, sums = np.zeros((2, pixels), np.int32), np.zeros((3, pixels))
    return State(ranks[0], ranks[1], sums[0], sums[1], sums[2])


def new_bounds() -> Bounds:
    """Return the bounds of a tile, unset."""
    return Bounds(*np.zeros((6, LANES)))


def new_few(n: int, dtype: np.dtype[Any]) -> Few:
    """Return room for the pixels of a tile of ``n`` frames."""
    flags = np.zeros((2, LANES), np.bool_)
    tile = np.full(padded_rows(n) * LANES, np.inf, dtype)
    return Few(
        np.zeros(LANES, np.int64), tile, np.zeros(LANES, np.int32), flags[0], flags[1], new_state(LANES)
    )


def new_chunk(n: int, pixels: int, dtype: np.dtype[Any]) -> Chunk:
    """Return room for a chunk of a band of ``n`` frames with so many pixels; all values are +inf."""
    size = padded_rows(n) * LANES
    tiles = max(1, min(CHUNK_BYTES // (size * dtype.itemsize), -(-pixels // LANES)))
    return Chunk(
        values=np.full(tiles * size, np.inf, dtype),
        ranked=np.full(tiles * size, np.inf, dtype),
        total=np.zeros(tiles * LANES, np.int32),
        unsure=np.zeros(tiles * LANES, np.bool_),
        state=new_state(tiles * LANES),
    )


@inner
def tile_state(chunk: Chunk, at: int) -> State:
    """Return the state of the tile whose first pixel is ``at``, a view."""
    s, end = chunk.state, at + LANES
    return State(s.first[at:end], s.last[at:end], s.pivot[at:end], s.sum1[at:end], s.sum2[at:end])


@inner
def gather(tile: Array, n: int, active: int, s: State, b: Bounds, few: Few) -> None:
    """Copy the pixels listed in ``few.pixels``, and their bounds; all their finite values are in use."""
    pixels, target = few.pixels, few.tile
    for r in range(n):
        for k in range(active):
            target[r * LANES + k] = tile[r * LANES + pixels[k]]
    for k in range(active):
        j = pixels[k]
        few.total[k], few.unsure[k], few.running[k] = s.last[j], False, True
        few.state.first[k], few.state.last[k] = s.first[j], s.last[j]
        b.centre[k], b.lower[k], b.upper[k], b.doubt[k] = b.centre[j], b.lower[j], b.upper[j], b.doubt[j]


@inner
def scatter(active: int, s: State, few: Few) -> None:
    """Put the state of the copied pixels back in place."""
    for k in range(active):
        j = few.pixels[k]
        s.first[j], s.last[j] = few.state.first[k], few.state.last[k]
        s.pivot[j], s.sum1[j], s.sum2[j] = few.state.pivot[k], few.state.sum1[k], few.state.sum2[k]
