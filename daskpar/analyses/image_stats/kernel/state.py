"""What is known about the pixels of a tile while they are being clipped."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from daskpar.aligned import aligned

from .compiled import LANES, Array, inner, padded_rows


class State(NamedTuple):
    """Of each pixel: the ranks used (``first`` to ``last - 1``), their median, and sums about it."""

    first: Array
    last: Array
    pivot: Array
    sum1: Array
    sum2: Array


class Room(NamedTuple):
    """Room to winsorize the pixels still going: their values, places, state and estimates."""

    tile: Array
    places: Array
    kept: Array
    state: State
    reach: Array
    going: Array


class Bounds(NamedTuple):
    """Centre, distances of the bounds from it, and how far rounding may have moved them; a value a pixel.

    ``clear`` says of which pixels nothing can lie beyond the bounds. The rest is scratch.
    """

    centre: Array
    lower: Array
    upper: Array
    doubt: Array
    clear: Array
    mads: Array
    scratch: Array
    room: Room


class Few(NamedTuple):
    """The pixels of a chunk that need more work, copied together, as many as a tile holds.

    Where they stood, scratch twice, sorted values, number of finite values, whether a decision was too
    close and whether the pixel goes on, state and bounds.
    """

    pixels: Array
    listed: Array
    kept: Array
    tile: Array
    total: Array
    unsure: Array
    running: Array
    state: State
    bounds: Bounds


class Scratch(NamedTuple):
    """The memory of `Few`, an array a type, rows of `LANES`.

    Compiled code spends a third of a microsecond on each array that it is handed, with the interpreter's
    lock: as many as `Few` has are a tenth of the time of a chunk.
    """

    tiles: Array
    floats: Array
    counts: Array
    places: Array
    flags: Array


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
    ranks, sums = aligned((2, pixels), np.int32, 0), aligned((3, pixels), fill=0)
    return State(ranks[0], ranks[1], sums[0], sums[1], sums[2])


def new_scratch(n: int, dtype: np.dtype[Any]) -> Scratch:
    """Return the memory to clip tiles of ``n`` frames."""
    return Scratch(
        tiles=aligned((2, padded_rows(n) * LANES), dtype, np.inf),
        floats=aligned((14, LANES), fill=0),
        counts=aligned((5, LANES), np.int32, 0),
        places=aligned((5, LANES), np.uint32, 0),
        flags=aligned((3, LANES), np.bool_, False),
    )


@inner
def few_of(scratch: Scratch) -> Few:
    """Return the arrays of `Few`, which lie in the scratch memory."""
    t, x, c, p, f = scratch.tiles, scratch.floats, scratch.counts, scratch.places, scratch.flags
    own, other = State(c[0], c[1], x[0], x[1], x[2]), State(c[2], c[3], x[3], x[4], x[5])
    room = Room(t[1], p[0], p[1], other, x[6], x[7])
    bounds = Bounds(x[8], x[9], x[10], x[11], f[0], x[12], x[13], room)
    return Few(p[2], p[3], p[4], t[0], c[4], f[1], f[2], own, bounds)


def new_chunk(n: int, pixels: int, dtype: np.dtype[Any]) -> Chunk:
    """Return room for a chunk of a band of ``n`` frames with so many pixels; all values are +inf."""
    size = padded_rows(n) * LANES
    tiles = max(1, min(CHUNK_BYTES // (size * dtype.itemsize), -(-pixels // LANES)))
    return Chunk(
        values=aligned(tiles * size, dtype, np.inf),
        ranked=aligned(tiles * size, dtype, np.inf),
        total=aligned(tiles * LANES, np.int32, 0),
        unsure=aligned(tiles * LANES, np.bool_, False),
        state=new_state(tiles * LANES),
    )


@inner
def tile_state(chunk: Chunk, at: int) -> State:
    """Return the state of the tile whose first pixel is ``at``, a view."""
    s, end = chunk.state, at + LANES
    return State(s.first[at:end], s.last[at:end], s.pivot[at:end], s.sum1[at:end], s.sum2[at:end])


@inner
def gather(tile: Array, n: int, at: int, listed: Array, s: State, few: Few, place: int) -> None:
    """Copy listed pixels of a tile, with their moments, to ``place`` and on; all their values are in use.

    The first pixel of the tile is pixel ``at`` of the chunk.
    """
    # Arrays are taken out of the tuples first: in a loop each use of a member would count references.
    target, to = few.tile, few.state
    pixels, total, unsure, running = few.pixels, few.total, few.unsure, few.running
    from_first, from_last, to_first, to_last = s.first, s.last, to.first, to.last
    pivot, sum1, sum2, to_pivot, to_sum1, to_sum2 = s.pivot, s.sum1, s.sum2, to.pivot, to.sum1, to.sum2
    for r in range(n):
        start = np.uint64(r * LANES)
        row = start + np.uint64(place)
        for i in range(listed.size):
            target[row + np.uint64(i)] = tile[start + np.uint64(listed[i])]
    for i in range(listed.size):
        j, k = listed[i], place + i
        pixels[k], total[k], unsure[k], running[k] = at + j, from_last[j], False, True
        to_first[k], to_last[k] = from_first[j], from_last[j]
        to_pivot[k], to_sum1[k], to_sum2[k] = pivot[j], sum1[j], sum2[j]


@inner
def go_on(n: int, active: int, few: Few) -> int:
    """Move the pixels that run on together; return their number."""
    kept, tile, s = few.kept, few.tile, few.state
    pixels, total, unsure, running = few.pixels, few.total, few.unsure, few.running
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    count = 0
    for k in range(active):
        kept[count] = k
        count += int(running[k])
    for r in range(n):
        start = np.uint64(r * LANES)
        for i in range(count):
            tile[start + np.uint64(i)] = tile[start + np.uint64(kept[i])]
    for i in range(count):
        k = kept[i]
        pixels[i], total[i], unsure[i], running[i] = pixels[k], total[k], False, True
        first[i], last[i] = first[k], last[k]
        pivot[i], sum1[i], sum2[i] = pivot[k], sum1[k], sum2[k]
    return count


@inner
def scatter(active: int, chunk: Chunk, few: Few) -> None:
    """Put the state of the copied pixels back in place, and which are unsure."""
    s, t, pixels, to_unsure, unsure = chunk.state, few.state, few.pixels, chunk.unsure, few.unsure
    first, last, pivot, sum1, sum2 = t.first, t.last, t.pivot, t.sum1, t.sum2
    to_first, to_last, to_pivot, to_sum1, to_sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    for k in range(active):
        j = pixels[k]
        to_unsure[j] = unsure[k]
        to_first[j], to_last[j] = first[k], last[k]
        to_pivot[j], to_sum1[j], to_sum2[j] = pivot[k], sum1[k], sum2[k]
