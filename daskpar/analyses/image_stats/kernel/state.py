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
    """The pixels of a chunk that need more work, copied together, as many as a tile holds.

    Where they stood, scratch, sorted values, number of finite values, whether a decision was too close and
    whether the pixel goes on, state and bounds.
    """

    pixels: Array
    kept: Array
    tile: Array
    total: Array
    unsure: Array
    running: Array
    state: State
    bounds: Bounds


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
    """Return room for a tile of pixels of ``n`` frames."""
    flags = np.zeros((2, LANES), np.bool_)
    tile = np.full(padded_rows(n) * LANES, np.inf, dtype)
    pixels, kept, total = np.zeros(LANES, np.int64), np.zeros(LANES, np.uint32), np.zeros(LANES, np.int32)
    return Few(pixels, kept, tile, total, flags[0], flags[1], new_state(LANES), new_bounds())


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
def gather(
    tile: Array, n: int, at: int, listed: Array, s: State, b: Bounds, few: Few, place: int
) -> None:
    """Copy listed pixels of a tile, with their bounds, to ``place`` and on; all their values are in use.

    The first pixel of the tile is pixel ``at`` of the chunk.
    """
    target, c = few.tile, few.bounds
    for r in range(n):
        source, row = tile[r * LANES : (r + 1) * LANES], target[r * LANES + place : (r + 1) * LANES]
        for i in range(listed.size):
            row[i] = source[listed[i]]
    for i in range(listed.size):
        j, k = listed[i], place + i
        few.pixels[k], few.total[k], few.unsure[k], few.running[k] = at + j, s.last[j], False, True
        few.state.first[k], few.state.last[k] = s.first[j], s.last[j]
        c.centre[k], c.lower[k], c.upper[k], c.doubt[k] = b.centre[j], b.lower[j], b.upper[j], b.doubt[j]


@inner
def go_on(n: int, active: int, few: Few) -> int:
    """Move the pixels that run on together; return their number."""
    kept, tile, s = few.kept, few.tile, few.state
    count = 0
    for k in range(active):
        kept[count] = k
        count += int(few.running[k])
    for r in range(n):
        row = tile[r * LANES : (r + 1) * LANES]
        for i in range(count):
            row[i] = row[kept[i]]
    for i in range(count):
        k = kept[i]
        few.pixels[i], few.total[i], few.unsure[i], few.running[i] = few.pixels[k], few.total[k], False, True
        s.first[i], s.last[i] = s.first[k], s.last[k]
        s.pivot[i], s.sum1[i], s.sum2[i] = s.pivot[k], s.sum1[k], s.sum2[k]
    return count


@inner
def scatter(active: int, chunk: Chunk, few: Few) -> None:
    """Put the state of the copied pixels back in place, and which are unsure."""
    s, t = chunk.state, few.state
    for k in range(active):
        j = few.pixels[k]
        chunk.unsure[j] = few.unsure[k]
        s.first[j], s.last[j] = t.first[k], t.last[k]
        s.pivot[j], s.sum1[j], s.sum2[j] = t.pivot[k], t.sum1[k], t.sum2[k]
