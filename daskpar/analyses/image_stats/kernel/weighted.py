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

from .chunks import Output, Task, sorted_chunks
from .compiled import LANES, Array, compiled, inner, reinterpret, wide_vectors
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
    """Of each pixel of a tile: sums of weights, weighted deviations, squared weighted uncertainties."""

    weight: Array
    deviation: Array
    variance: Array


def table(numbers: Array, order: Array) -> Table:
    """Return numbers (n, 1) in the order of the tags, or (n, pixels), whose tags are the frames."""
    width = numbers.shape[1]
    return Table((numbers if width > 1 else numbers[order]).reshape(-1), width, int(width > 1))


@inner
def number(table: Table, tag: int, i: int) -> float:
    """Return the number of a tag and a pixel."""
    x: float = table.numbers[np.uint64(tag * table.step + i * table.each)]
    return x


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
def add_rank(
    row: Array, keys: Array, r: int, start: int, first: Array, last: Array, mask: int, w: Table, e: Table,
    pivot: Array, sums: Sums,
) -> None:  # fmt: skip
    """Add the values of one rank, where it is used, to the sums of all pixels from ``start`` on."""
    wide_vectors()
    for j in range(first.size):
        tag = tag_of(keys[j], mask)
        weight = number(w, tag, start + j)
        error, deviation = weight * number(e, tag, start + j), weight * (row[j] - pivot[j])
        on = (first[j] <= r) & (last[j] > r)
        sums.weight[j] += weight if on else 0.0
        sums.deviation[j] += deviation if on else 0.0
        sums.variance[j] += error * error if on else 0.0


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
    e: Table, pivot: float, sums: Sums,
) -> None:  # fmt: skip
    """Store the sums of pixel ``i``, in lane ``j``, from pairs in order."""
    placed, pairs = np.zeros(order.size, np.int64), np.empty((2, order.size))
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
def finish(
    method: int, first: Array, last: Array, pivot: Array, sums: Sums, combined: Array, propagated: Array
) -> None:
    """Turn the sums into results, where anything is used."""
    factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
    for j in range(first.size):
        if last[j] > first[j]:
            error = np.sqrt(sums.variance[j])
            if method == SUM:
                combined[j], propagated[j] = pivot[j] * sums.weight[j] + sums.deviation[j], error
            else:
                combined[j] = pivot[j] + sums.deviation[j] / sums.weight[j]
                propagated[j] = error / sums.weight[j] * factor


@inner
def middle_values(ranked: Array, first: Array, last: Array, pivot: Array) -> tuple[int, int]:
    """Store a middle value of each pixel, the pivot of its sums; return the ranks that any pixel uses."""
    start, end = ranked.size, 0
    for j in range(first.size):
        pivot[j] = 0.0
        if last[j] > first[j]:
            pivot[j] = ranked[(first[j] + last[j]) // 2 * LANES + j]
            start, end = min(start, first[j]), max(end, last[j])
    return start, end


@compiled
def weigh_chunk(
    chunk: Chunk, n: int, size: int, start: int, ranks: Array, order: Array, w: Table, e: Table, method: int,
    combined: Array, propagated: Array,
) -> None:  # fmt: skip
    """Combine pixels from ``start`` with weights; see `weigh`."""
    wide_vectors()
    keys, ordered, pivot = np.full(size, np.inf), np.full(size, np.inf), np.zeros(LANES)
    totals, amiss = np.zeros((3, LANES)), np.zeros(LANES, np.bool_)
    sums, mask = Sums(totals[0], totals[1], totals[2]), size // LANES - 1
    wide, ties = chunk.values.itemsize > 4, w.each + e.each > 0
    for at in range(0, combined.size, LANES):
        lanes, t = min(LANES, combined.size - at), at // LANES
        values, ranked = chunk.values[t * size : (t + 1) * size], chunk.ranked[t * size : (t + 1) * size]
        first, last = ranks[0, at : at + lanes], ranks[1, at : at + lanes]
        tag_tile(values, order, mask, keys)
        sort_tile(keys, ordered, n)
        low, high = middle_values(ranked, first, last, pivot)
        totals[:], amiss[:] = 0.0, False
        for r in range(n if wide or ties else 0):
            row = ordered[r * LANES : (r + 1) * LANES]
            check_rank(ranked, values, row, r, lanes, order, mask, wide, ties, amiss)
        for r in range(low, high):
            row, key = ranked[r * LANES : (r + 1) * LANES], ordered[r * LANES : (r + 1) * LANES]
            add_rank(row, key, r, start + at, first, last, mask, w, e, pivot, sums)
        for j in range(lanes):
            if amiss[j]:
                i, count = start + at + j, chunk.total[at + j]
                one_pixel(values, ranked, j, i, count, first[j], last[j], order, w, e, pivot[j], sums)
        end = at + lanes
        finish(method, first, last, pivot, sums, combined[at:end], propagated[at:end])


def weigh(
    frames: Frames, task: Task, out: Output, weights: Array | None, errors: Array | None
) -> dict[str, Array]:
    """Put weighted results into ``out``; return the propagated uncertainty if there is one.

    Parameters
    ----------
    frames : Frames
        The band.
    task : Task
        MEAN, SUM, or MEDIAN (without weights).
    out : Output
        The same values combined without weights: says which are used.
    weights, errors : ndarray of float64, shape (n, pixels) or (n, 1), or None
        Weight and uncertainty of each value, or of each frame.

    Returns
    -------
    dict
        ``uncertainty_propagated``, shape (pixels,), where there are uncertainties; NaN where nothing is used.
    """
    n = frames.words.shape[0]
    ones = np.ones((n, 1))
    w, e = ones if weights is None else weights, ones if errors is None else errors
    if frames.affine.size:
        e = e * abs(frames.affine[:, 1:])
    alike = w.shape[1] == e.shape[1] == 1
    # Where a frame has one weight, the tags are in the order of weights, and ties are in order.
    order = np.lexsort((e[:, 0], w[:, 0])) if alike else np.arange(n)
    tables = table(w, order), table(e, order)
    ranks = np.stack([out.rejected_low, out.rejected_low + out.used])
    combined, propagated = np.full_like(out.combined, np.nan), np.full_like(out.combined, np.nan)
    for chunk, size, start, pixels in sorted_chunks(frames, task.work):
        to = combined[start : start + pixels], propagated[start : start + pixels]
        weigh_chunk(chunk, n, size, start, ranks[:, start : start + pixels], order, *tables, task.method, *to)
    if weights is not None:
        out.combined[:] = combined
    return {} if errors is None else {"uncertainty_propagated": propagated}
