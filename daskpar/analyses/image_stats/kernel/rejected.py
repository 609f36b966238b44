"""Who was rejected: the table of frames."""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, compiled, inner
from .state import Chunk

#: One pixel in so many with a rejection, and it is faster to look at all of them, in vectors.
CROWDED = 32


@inner
def rejected_edges(
    ranked: Array, at: int, lanes: int, chunk: Chunk, below: Array, above: Array
) -> tuple[int, int, int]:
    """Store, for each pixel of a tile, the values up to and from which all are rejected.

    Returns
    -------
    low, high, concerned : int
        Values rejected below and above, and pixels with any.
    """
    firsts, lasts, totals, unsure = chunk.state.first, chunk.state.last, chunk.total, chunk.unsure
    infinite, low, high, concerned = ranked.dtype.type(np.inf), 0, 0, 0
    for j in range(lanes):
        first, last, count = firsts[at + j], lasts[at + j], totals[at + j]
        below[j], above[j] = -infinite, infinite
        if (first > 0 or last < count) and not unsure[at + j]:
            concerned += 1
            low, high = low + first, high + count - last
            below[j] = ranked[(first - 1) * LANES + j] if first > 0 else -infinite
            above[j] = ranked[last * LANES + j] if last < count else infinite
    return low, high, concerned


@inner
def count_row(row: Array, below: Array, above: Array) -> tuple[int, int]:
    """Count the values of a frame that were rejected."""
    low, high, infinite = np.int32(0), np.int32(0), row.dtype.type(np.inf)
    for j in range(row.size):
        x = row[j]
        low = np.int32(low + (x <= below[j]))
        high = np.int32(high + ((x >= above[j]) & (x < infinite)))
    return int(low), int(high)


@inner
def count_tile(
    values: Array, n: int, lanes: int, below: Array, above: Array, counts: Array
) -> tuple[int, int]:
    """Store how many values of each frame were rejected; return their sums."""
    low, high = 0, 0
    for frame in range(n):
        row = values[frame * LANES : frame * LANES + lanes]
        counts[0, frame], counts[1, frame] = count_row(row, below, above)
        low, high = low + counts[0, frame], high + counts[1, frame]
    return low, high


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


@compiled
def count_rejected(
    chunk: Chunk, n: int, size: int, pixels: int, counts: Array, edges: Array, low: Array, high: Array
) -> None:
    """Add the rejected values of a chunk to the table of frames, without those of pixels marked as unsure.

    Parameters
    ----------
    chunk : Chunk
        Values in frame order and sorted, with the ranks used.
    n, size, pixels : int
        Frames, values in a tile, pixels in the chunk.
    counts, edges : ndarray of int64 (2, n), of the type of the values (2, LANES)
        Scratch.
    low, high : ndarray of int64, shape (n,)
        Values rejected below and above, of each frame; added to.
    """
    below, above = edges[0], edges[1]
    firsts, lasts, totals, unsure = chunk.state.first, chunk.state.last, chunk.total, chunk.unsure
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = t * LANES, min(LANES, pixels - t * LANES)
        values = chunk.values[t * size : (t + 1) * size]
        gone = rejected_edges(chunk.ranked[t * size : (t + 1) * size], at, lanes, chunk, below, above)
        found = (-1, -1)
        if gone[2] * CROWDED > lanes:
            found = count_tile(values, n, lanes, below, above, counts)
        if found == gone[:2]:
            for frame in range(n):
                low[frame] += counts[0, frame]
                high[frame] += counts[1, frame]
        elif gone[2] > 0:
            # Few, or some of equal values are used and others not.
            for j in range(lanes):
                i = at + j
                if (firsts[i] > 0 or lasts[i] < totals[i]) and not unsure[i]:
                    spare = totals[i] - lasts[i]
                    count_pixel(values, n, j, below[j], above[j], firsts[i], spare, low, high)
