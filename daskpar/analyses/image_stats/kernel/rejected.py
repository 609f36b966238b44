"""Who was rejected: the table of frames."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.aligned import aligned

from .compiled import LANES, Array, inner, wide_vectors
from .state import Chunk

#: One pixel in so many with a rejection, and it is faster to look at all of a tile than to copy those.
CROWDED = 4


class Gone(NamedTuple):
    """Room for pixels that lost values, copied together, as many as a tile holds.

    Their values in frame order; the values up to and from which all are rejected; how many these are; which
    pixels, as a list and as flags; and of each frame how many.
    """

    tile: Array
    edges: Array
    numbers: Array
    listed: Array
    flags: Array
    counts: Array


def new_gone(n: int, dtype: np.dtype[Any]) -> Gone:
    """Return room for pixels of ``n`` frames."""
    tile, edges = aligned(n * LANES, dtype, 0), aligned((2, LANES), dtype, 0)
    numbers: NDArray[Any] = aligned((2, LANES), np.int32, 0)
    listed, flags = aligned(LANES, np.uint32, 0), aligned(LANES, np.bool_, False)
    return Gone(tile, edges, numbers, listed, flags, np.zeros((2, n), np.int64))


@inner
def list_concerned(chunk: Chunk, at: int, lanes: int, flags: Array, listed: Array) -> int:
    """List the pixels of a tile, from pixel ``at`` of the chunk, that lost values; return their number."""
    end, count = at + lanes, 0
    firsts, lasts = chunk.state.first[at:end], chunk.state.last[at:end]
    totals, unsure = chunk.total[at:end], chunk.unsure[at:end]
    for j in range(lanes):  # vectorised; the next loop is not
        flags[j] = ((firsts[j] > 0) | (lasts[j] < totals[j])) & (not unsure[j])
    for j in range(lanes):
        listed[count] = j
        count += int(flags[j])
    return count


@inner
def take_edges(ranked: Array, at: int, listed: Array, chunk: Chunk, gone: Gone, place: int) -> None:
    """Store what listed pixels of a tile lost, at ``place`` and on."""
    firsts, lasts, totals, unsure = chunk.state.first, chunk.state.last, chunk.total, chunk.unsure
    below, above, lows, highs = gone.edges[0], gone.edges[1], gone.numbers[0], gone.numbers[1]
    infinite = ranked.dtype.type(np.inf)
    for i in range(listed.size):
        j, k = np.int64(listed[i]), place + i
        first, last, count = firsts[at + j], lasts[at + j], totals[at + j]
        low, high = (0, 0) if unsure[at + j] else (first, count - last)
        lows[k], highs[k] = low, high
        below[k] = ranked[(first - 1) * LANES + j] if low > 0 else -infinite
        above[k] = ranked[last * LANES + j] if high > 0 else infinite


@inner
def take_values(values: Array, n: int, listed: Array, tile: Array, place: int) -> None:
    """Copy the values of listed pixels of a tile to ``place`` and on."""
    for r in range(n):
        start = np.uint64(r * LANES)
        row = start + np.uint64(place)
        for i in range(listed.size):
            tile[row + np.uint64(i)] = values[start + np.uint64(listed[i])]


@inner
def count_row(row: Array, below: Array, above: Array) -> tuple[int, int]:
    """Count the values of a frame that were rejected, below and above, in the two halves of one number."""
    both, infinite = np.int32(0), row.dtype.type(np.inf)
    for j in range(row.size):
        x = row[j]
        both = np.int32(both + (x <= below[j]) + ((x >= above[j]) & (x < infinite)) * 65536)
    return int(both & 65535), int(both >> 16)


@inner
def count_pixel(
    values: Array, n: int, j: int, below: float, above: float, spare_low: int, spare_high: int,
    low: Array, high: Array,
) -> None:  # fmt: skip
    """Add the rejected values of one pixel; of equal ones those in earlier frames."""
    for frame in range(n):
        x = values[frame * LANES + j]
        if spare_low > 0 and x <= below:
            low[frame] += 1
            spare_low -= 1
        elif spare_high > 0 and above <= x < np.inf:
            high[frame] += 1
            spare_high -= 1


@inner
def count_tile(values: Array, n: int, lanes: int, gone: Gone, low: Array, high: Array) -> None:
    """Add the rejected values of a tile, whose edges are known, to the table of frames."""
    wide_vectors()
    below, above, lows, highs, counts = (
        gone.edges[0], gone.edges[1], gone.numbers[0], gone.numbers[1], gone.counts,
    )  # fmt: skip
    missing = 0
    for j in range(lanes):
        missing += lows[j] + highs[j]
    for frame in range(n):
        row = values[frame * LANES : frame * LANES + lanes]
        counts[0, frame], counts[1, frame] = count_row(row, below[:lanes], above[:lanes])
        missing -= counts[0, frame] + counts[1, frame]
    if missing == 0:
        for frame in range(n):
            low[frame] += counts[0, frame]
            high[frame] += counts[1, frame]
        return
    for j in range(lanes):  # some of equal values are used and others not
        if lows[j] + highs[j] > 0:
            count_pixel(values, n, j, below[j], above[j], lows[j], highs[j], low, high)


@inner
def count_rejected(
    chunk: Chunk, n: int, size: int, pixels: int, gone: Gone, low: Array, high: Array
) -> None:
    """Add the rejected values of a chunk to the table of frames, without those of pixels marked as unsure.

    Parameters
    ----------
    chunk : Chunk
        Values in frame order and sorted, with the ranks used.
    n, size, pixels : int
        Frames, values in a tile, pixels in the chunk.
    gone : Gone
        Scratch.
    low, high : ndarray of int64, shape (n,)
        Values rejected below and above, of each frame; added to.
    """
    listed, tile, waiting = gone.listed, gone.tile, 0
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = t * LANES, min(LANES, pixels - t * LANES)
        values, ranked = chunk.values[t * size : (t + 1) * size], chunk.ranked[t * size : (t + 1) * size]
        concerned, taken = list_concerned(chunk, at, lanes, gone.flags, listed), 0
        if concerned * CROWDED > lanes:
            if waiting > 0:
                count_tile(tile, n, waiting, gone, low, high)
                waiting = 0
            for j in range(lanes):
                listed[j] = j
            take_edges(ranked, at, listed[:lanes], chunk, gone, 0)
            count_tile(values, n, lanes, gone, low, high)
            continue
        while taken < concerned:
            room = min(concerned - taken, LANES - waiting)
            some = listed[taken : taken + room]
            take_edges(ranked, at, some, chunk, gone, waiting)
            take_values(values, n, some, tile, waiting)
            taken, waiting = taken + room, waiting + room
            if waiting == LANES:
                count_tile(tile, n, waiting, gone, low, high)
                waiting = 0
    if waiting > 0:
        count_tile(tile, n, waiting, gone, low, high)
