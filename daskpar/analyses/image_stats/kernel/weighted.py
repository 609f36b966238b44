"""Weighted combinations, and input uncertainties carried to the result.

Weights and uncertainties travel with their values: each pixel's are put in the order of its sorted values,
those of equal values in their own order. Sums in that order do not depend on the order of the frames.

For all pixels at once, the number of a frame, its tag, takes the place of the last bits of its value as a
float64, and these are sorted: a value then tells where it came from. That falls short where equal values have
weights in another order than their tags, and where values differ in the last bits only: those pixels are done
one by one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from daskpar.aligned import aligned

from .chunks import Output, Task, combine
from .compiled import LANES, Array, compiled, inner, padded_rows, reinterpret, whole_vectors, wide_vectors
from .finish import MEDIAN, MEDIAN_FACTOR, SUM
from .load import Frames
from .network import sort_tile
from .state import Chunk


class Table(NamedTuple):
    """Numbers of frames or values, flat: that of tag t and pixel i is ``numbers[t * step + i * each]``."""

    numbers: Array
    step: int
    each: int


class Sums(NamedTuple):
    """Of each pixel of a tile, rows of one array: what is summed, and what it is made of.

    Sums of weights, weighted deviations, squared weighted uncertainties; weights and uncertainties of a rank;
    ranks used, first and end, and the pivot of the deviations.
    """

    weight: Array
    deviation: Array
    variance: Array
    weights: Array
    errors: Array
    first: Array
    last: Array
    pivot: Array


class Room(NamedTuple):
    """Room to weigh a tile: values with tags, unsorted and sorted, doubts, tags, sums; pairs of a pixel."""

    keys: Array
    ordered: Array
    amiss: Array
    tags: Array
    sums: Sums
    placed: Array
    pairs: Array


def new_room(n: int) -> Room:
    """Return room for the tiles of ``n`` frames."""
    keys, ordered = aligned((2, padded_rows(n) * LANES), fill=np.inf)
    amiss, tags = aligned(LANES, np.bool_, False), aligned(LANES, np.int64, 0)
    sums = Sums(*aligned((8, LANES), fill=0))
    return Room(keys, ordered, amiss, tags, sums, np.zeros(n, np.int64), np.zeros((2, n)))


def table(numbers: Array, order: Array) -> Table:
    """Return numbers (n, 1) in the order of the tags, or (n, pixels), whose tags are the frames."""
    width = numbers.shape[1]
    return Table((numbers if width > 1 else numbers[order]).reshape(-1), width, int(width > 1))


@inner
def number(table: Table | None, tag: int, i: int) -> float:
    """Return the number of a tag and a pixel; 1 where there is no table."""
    if table is None:
        return 1.0
    x: float = table.numbers[np.uint64(tag * table.step + i * table.each)]
    return x


@inner
def each_pixel(table: Table | None) -> bool:
    """Whether pixels have numbers of their own."""
    if table is None:
        return False
    return table.each > 0


@inner
def tagged(x: float, tag: int, mask: int) -> float:
    """Put a tag in place of the last bits of a finite value: of equal values lower tags come first."""
    bits = reinterpret(x, np.int64(0))
    bits = (bits & ~mask) | (tag if bits >= 0 else mask - tag)
    key: float = reinterpret(bits, 0.0)
    return key if x < np.inf else np.inf


@inner
def tag_of(x: float, mask: int) -> int:
    """Return the tag of a value; 0 of infinity."""
    bits = reinterpret(x, np.int64(0))
    last: int = bits & mask
    return last if bits >= 0 else mask - last


@inner
def tag_tile(values: Array, order: Array, mask: int, keys: Array) -> None:
    """Store the values of the frames with their tags; frame ``order[t]`` has the tag t."""
    for tag in range(order.size):
        frame = order[tag]
        row, out = values[frame * LANES : (frame + 1) * LANES], keys[tag * LANES : (tag + 1) * LANES]
        for j in range(LANES):
            out[j] = tagged(np.float64(row[j]), tag, mask)


@inner
def look_up(table: Table | None, tags: Array, start: int, lanes: int, out: Array) -> None:
    """Store the numbers of tags, of the pixels from ``start`` on."""
    for j in range(lanes):
        out[j] = number(table, tags[j], start + j)


@inner
def add_rank(
    row: Array, keys: Array, r: int, start: int, lanes: int, mask: int, w: Table, e: Table | None,
    tags: Array, s: Sums,
) -> None:  # fmt: skip
    """Add the values of one rank, where it is used, to the sums of all pixels from ``start`` on.

    Tables are looked up apart: what remains is vectorised.
    """
    wide_vectors()
    wide, rank = whole_vectors(lanes), np.float64(r)
    for j in range(wide):
        tags[j] = tag_of(keys[j], mask)
    look_up(w, tags, start, lanes, s.weights)
    first, last, pivot, weights, weight, deviation = (
        s.first, s.last, s.pivot, s.weights, s.weight, s.deviation,
    )  # fmt: skip
    for j in range(wide):
        on, product = (first[j] <= rank) & (last[j] > rank), weights[j] * (row[j] - pivot[j])
        weight[j] += weights[j] if on else 0.0
        deviation[j] += product if on else 0.0
    if e is not None:
        look_up(e, tags, start, lanes, s.errors)
        errors, variance = s.errors, s.variance
        for j in range(wide):
            error = weights[j] * errors[j]
            variance[j] += error * error if (first[j] <= rank) & (last[j] > rank) else 0.0


@inner
def check_rank(
    ranked: Array, values: Array, keys: Array, r: int, lanes: int, order: Array, mask: int, wide: bool,
    ties: bool, amiss: Array,
) -> None:  # fmt: skip
    """Mark pixels in which a value equals the one before, or (of float64) is not that of its tag."""
    row = ranked[r * LANES : (r + 1) * LANES]
    if ties and r > 0:
        before = ranked[(r - 1) * LANES : r * LANES]
        for j in range(lanes):
            amiss[j] |= (row[j] == before[j]) & (row[j] < np.inf)
    if wide:
        for j in range(lanes):
            frame = order[tag_of(keys[j], mask)]
            amiss[j] |= (row[j] < np.inf) & (values[frame * LANES + j] != row[j])


@inner
def first_rank(ranked: Array, j: int, count: int, x: float) -> int:
    """Rank of the first of the sorted values of a pixel that is not below ``x``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if ranked[middle * LANES + j] < x:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def insert(pairs: Array, first: int, k: int, weight: float, error: float) -> None:
    """Put a pair at place ``k`` or before, so that places from ``first`` on stay in order."""
    while k > first and (pairs[0, k - 1] > weight or (pairs[0, k - 1] == weight and pairs[1, k - 1] > error)):
        pairs[0, k], pairs[1, k] = pairs[0, k - 1], pairs[1, k - 1]
        k -= 1
    pairs[0, k], pairs[1, k] = weight, error


@inner
def one_pixel(
    values: Array, ranked: Array, j: int, i: int, count: int, first: int, last: int, order: Array, w: Table,
    e: Table | None, room: Room,
) -> None:  # fmt: skip
    """Store the sums of pixel ``i``, in lane ``j``, from pairs in order."""
    sums, placed, pairs = room.sums, room.placed, room.pairs
    pivot = sums.pivot[j]
    placed[:] = 0
    for tag in range(order.size):
        x = values[order[tag] * LANES + j]
        if x < np.inf:
            rank = first_rank(ranked, j, count, x)
            insert(pairs, rank, rank + placed[rank], number(w, tag, i), number(e, tag, i))
            placed[rank] += 1
    sums.weight[j], sums.deviation[j], sums.variance[j] = 0.0, 0.0, 0.0
    for r in range(first, last):
        weight, error = pairs[0, r], pairs[0, r] * pairs[1, r]
        sums.weight[j] += weight
        sums.deviation[j] += weight * (ranked[r * LANES + j] - pivot)
        sums.variance[j] += error * error


@inner
def finish(method: int, first: Array, last: Array, s: Sums, combined: Array, propagated: Array) -> None:
    """Turn the sums into results, where anything is used."""
    factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
    pivot, weight, deviation, variance = s.pivot, s.weight, s.deviation, s.variance
    for j in range(first.size):
        if last[j] > first[j]:
            error = np.sqrt(variance[j])
            if method == SUM:
                combined[j], propagated[j] = pivot[j] * weight[j] + deviation[j], error
            else:
                combined[j] = pivot[j] + deviation[j] / weight[j]
                propagated[j] = error / weight[j] * factor


@inner
def begin(ranked: Array, first: Array, last: Array, s: Sums) -> tuple[int, int]:
    """Start sums about a middle value of each pixel; return the ranks that any pixel uses."""
    start, end = ranked.size, 0
    s.weight[:], s.deviation[:], s.variance[:] = 0.0, 0.0, 0.0
    pivot, from_rank, to_rank = s.pivot, s.first, s.last
    for j in range(first.size):
        pivot[j], from_rank[j], to_rank[j] = 0.0, first[j], last[j]
        if last[j] > first[j]:
            pivot[j] = ranked[(first[j] + last[j]) // 2 * LANES + j]
            start, end = min(start, first[j]), max(end, last[j])
    return start, end


@compiled
def weigh_chunk(
    chunk: Chunk, n: int, size: int, start: int, order: Array, w: Table, e: Table | None, method: int,
    room: Room, combined: Array, propagated: Array,
) -> None:  # fmt: skip
    """Combine pixels from ``start`` with weights; see `weigh`."""
    wide_vectors()
    keys, ordered, amiss, tags, sums = room.keys, room.ordered, room.amiss, room.tags, room.sums
    mask = size // LANES - 1
    wide, ties = chunk.values.itemsize > 4, each_pixel(w) or each_pixel(e)
    for at in range(0, combined.size, LANES):
        lanes, t = min(LANES, combined.size - at), at // LANES
        values, ranked = chunk.values[t * size : (t + 1) * size], chunk.ranked[t * size : (t + 1) * size]
        first, last = chunk.state.first[at : at + lanes], chunk.state.last[at : at + lanes]
        tag_tile(values, order, mask, keys)
        sort_tile(keys, ordered, n)
        low, high = begin(ranked, first, last, sums)
        amiss[:] = False
        for r in range(n if wide or ties else 0):
            row = ordered[r * LANES : (r + 1) * LANES]
            check_rank(ranked, values, row, r, lanes, order, mask, wide, ties, amiss)
        for r in range(low, high):
            row, key = ranked[r * LANES : (r + 1) * LANES], ordered[r * LANES : (r + 1) * LANES]
            add_rank(row, key, r, start + at, lanes, mask, w, e, tags, sums)
        for j in range(lanes):
            if amiss[j]:
                i, count = start + at + j, chunk.total[at + j]
                one_pixel(values, ranked, j, i, count, first[j], last[j], order, w, e, room)
        end = at + lanes
        finish(method, first, last, sums, combined[at:end], propagated[at:end])


def weigh(
    frames: Frames, task: Task, weights: Array | None, errors: Array | None
) -> tuple[Output, dict[str, Array]]:
    """Combine all pixels of a band with weights, and carry uncertainties, where there are any.

    Parameters
    ----------
    frames : Frames
        The band.
    task : Task
        MEAN, SUM, or MEDIAN (without weights); any method without both.
    weights, errors : ndarray of float64, shape (n, pixels) or (n, 1), or None
        Weight and uncertainty of each value, or of each frame.

    Returns
    -------
    out : Output
        As of `combine`; weighted where there are weights.
    extra : dict
        ``uncertainty_propagated``, shape (pixels,), where there are uncertainties; NaN where nothing is used.
    """
    if weights is None and errors is None:
        return combine(frames, task), {}
    n, pixels = frames.words.shape
    ones = np.ones((n, 1))
    w, e = ones if weights is None else weights, ones if errors is None else errors
    if frames.affine.size:
        e = e * abs(frames.affine[:, 1:])
    alike = w.shape[1] == e.shape[1] == 1
    # Where a frame has one weight, the tags are in the order of weights, and ties are in order.
    order = np.lexsort((e[:, 0], w[:, 0])) if alike else np.arange(n)
    tables = table(w, order), None if errors is None else table(e, order)
    combined, propagated = np.full(pixels, np.nan, task.result), np.full(pixels, np.nan, task.result)

    room = new_room(n)

    def weigh_sorted(chunk: Chunk, size: int, start: int, count: int) -> None:
        to = combined[start : start + count], propagated[start : start + count]
        weigh_chunk(chunk, n, size, start, order, *tables, task.method, room, *to)

    out = combine(frames, task, weigh_sorted)
    if weights is not None:
        out.combined[:] = combined
    return out, {} if errors is None else {"uncertainty_propagated": propagated}
