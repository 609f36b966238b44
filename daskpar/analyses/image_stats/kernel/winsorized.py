"""Winsorized standard deviation of the used values of every pixel of a sorted tile.

Definition: PixInsight's winsorized sigma clipping (J. Conejero, ImageIntegration reference), as Siril has
it. Start from the
standard deviation (ddof 1); draw in the values beyond 1.5 of it from the median to that distance;
take 1.134 times the standard deviation of the result; repeat until it changes by less than 0.05 %. Drawing in
does not move the median.

(Siril stops rejecting, in frame order, when four values are left. Here the order of frames does not
count, and rejection goes on as long as more than three values are used.)
"""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, inner, whole_vectors, wide_vectors
from .state import Room, State

REACH, CORRECTION, TOLERANCE, MOST_TURNS = 1.5, 1.134, 0.0005, 100


@inner
def drawn_in(x: float, pivot: float, reach: float) -> float:
    """Deviation from the pivot, drawn in to the reach."""
    d = x - pivot
    d = d if d > -reach else -reach
    return d if d < reach else reach


@inner
def add4(rows: Array, lanes: int, pivot: Array, reach: Array, sum1: Array, sum2: Array) -> None:
    """Add four ranks, all used, to the sums of winsorized deviations and of their squares."""
    wide_vectors()
    for j in range(lanes):
        p, w = pivot[j], reach[j]
        a, b = drawn_in(rows[j], p, w), drawn_in(rows[j + LANES], p, w)
        c, d = drawn_in(rows[j + 2 * LANES], p, w), drawn_in(rows[j + 3 * LANES], p, w)
        sum1[j] += (a + b) + (c + d)
        sum2[j] += (a * a + b * b) + (c * c + d * d)


@inner
def add16(rows: Array, lanes: int, pivot: Array, reach: Array, sum1: Array, sum2: Array) -> None:
    """Add sixteen ranks as `add4` does four times, with the sums in registers meanwhile."""
    wide_vectors()
    for j in range(lanes):
        p, w, one, two = pivot[j], reach[j], sum1[j], sum2[j]
        a, b = drawn_in(rows[j], p, w), drawn_in(rows[j + LANES], p, w)
        c, d = drawn_in(rows[j + 2 * LANES], p, w), drawn_in(rows[j + 3 * LANES], p, w)
        one, two = one + ((a + b) + (c + d)), two + ((a * a + b * b) + (c * c + d * d))
        a, b = drawn_in(rows[j + 4 * LANES], p, w), drawn_in(rows[j + 5 * LANES], p, w)
        c, d = drawn_in(rows[j + 6 * LANES], p, w), drawn_in(rows[j + 7 * LANES], p, w)
        one, two = one + ((a + b) + (c + d)), two + ((a * a + b * b) + (c * c + d * d))
        a, b = drawn_in(rows[j + 8 * LANES], p, w), drawn_in(rows[j + 9 * LANES], p, w)
        c, d = drawn_in(rows[j + 10 * LANES], p, w), drawn_in(rows[j + 11 * LANES], p, w)
        one, two = one + ((a + b) + (c + d)), two + ((a * a + b * b) + (c * c + d * d))
        a, b = drawn_in(rows[j + 12 * LANES], p, w), drawn_in(rows[j + 13 * LANES], p, w)
        c, d = drawn_in(rows[j + 14 * LANES], p, w), drawn_in(rows[j + 15 * LANES], p, w)
        sum1[j] = one + ((a + b) + (c + d))
        sum2[j] = two + ((a * a + b * b) + (c * c + d * d))


@inner
def add4_used(rows: Array, r: int, lanes: int, s: State, reach: Array) -> None:
    """Add four ranks from ``r``, some of which are not used."""
    wide_vectors()
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    for j in range(lanes):
        p, w, lo, hi = pivot[j], reach[j], first[j] - r, last[j] - r
        a = drawn_in(rows[j], p, w) if (lo <= 0) & (hi > 0) else 0.0
        b = drawn_in(rows[j + LANES], p, w) if (lo <= 1) & (hi > 1) else 0.0
        c = drawn_in(rows[j + 2 * LANES], p, w) if (lo <= 2) & (hi > 2) else 0.0
        d = drawn_in(rows[j + 3 * LANES], p, w) if (lo <= 3) & (hi > 3) else 0.0
        sum1[j] += (a + b) + (c + d)
        sum2[j] += (a * a + b * b) + (c * c + d * d)


@inner
def sample_std(n: float, sum1: float, sum2: float) -> float:
    """Return the standard deviation (ddof 1) from sums about a pivot; 0 for fewer than two values."""
    square = sum2 - sum1 * (sum1 / n)
    std = np.sqrt((square if square > 0.0 else 0.0) / (n - 1.0))
    return std if n > 1.0 else 0.0


@inner
def add_all(tile: Array, lanes: int, s: State, reach: Array) -> tuple[int, int]:
    """Store the sums of winsorized deviations and of their squares; return the range of ranks in use."""
    wide_vectors()
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    start, inner_start, inner_end, end = first[0], first[0], last[0], last[0]
    wide = whole_vectors(lanes)
    for j in range(wide):
        sum1[j], sum2[j] = 0.0, 0.0
    for j in range(lanes):
        start, inner_start = min(start, first[j]), max(inner_start, first[j])
        inner_end, end = min(inner_end, last[j]), max(end, last[j])
    r = start // 4 * 4
    while r < end:
        rows = tile[r * LANES : (r + 4) * LANES]
        if r >= inner_start and r + 16 <= inner_end:
            add16(tile[r * LANES : (r + 16) * LANES], wide, pivot, reach, sum1, sum2)
            r += 12
        elif r >= inner_start and r + 4 <= inner_end:
            add4(rows, wide, pivot, reach, sum1, sum2)
        else:
            add4_used(rows, r, wide, s, reach)
        r += 4
    return start, end


@inner
def renew(lanes: int, w: State, reach: Array, std: Array, going: Array) -> int:
    """Renew the estimates of the pixels still going; return how many have not converged.

    Where the reach does not become less, the next turn would find the same: such a pixel is done. There are
    no branches: the first loop is vectorised.
    """
    wide_vectors()
    first, last, sum1, sum2, count = w.first, w.last, w.sum1, w.sum2, 0
    for k in range(whole_vectors(lanes)):
        n, old, on = np.float64(last[k] - first[k]), std[k], going[k] > 0.0
        square = sum2[k] - sum1[k] * (sum1[k] / n)
        new = CORRECTION * np.sqrt((square if square > 0.0 else 0.0) / (n - 1.0))
        std[k] = new if on else old
        distance = REACH * new
        less = distance < reach[k]
        reach[k] = distance if less else reach[k]
        going[k] = 1.0 if on & less & (abs(new - old) > TOLERANCE * old) else 0.0
    for k in range(lanes):
        count += int(going[k] > 0.0)
    return count


@inner
def squeeze(
    tile: Array, start: int, end: int, lanes: int, w: State, copy: Array, reach: Array, std: Array,
    going: Array, index: Array, result: Array, kept: Array,
) -> None:  # fmt: skip
    """Copy the pixels still going together, ranks ``start`` to ``end``; the others' estimates are results."""
    count, first, last, pivot = 0, w.first, w.last, w.pivot
    for k in range(lanes):
        result[index[k]] = std[k]
        kept[count] = k
        count += int(going[k] > 0.0)
    for r in range(start, end):
        # No slices: making one counts references, which takes as long as the copy of a few values.
        row = np.uint64(r * LANES)
        for k in range(count):
            copy[row + np.uint64(k)] = tile[row + np.uint64(kept[k])]
    for k in range(count):
        i = kept[k]
        first[k], last[k], pivot[k] = first[i], last[i], pivot[i]
        reach[k], std[k], going[k], index[k] = reach[i], std[i], 1.0, index[i]


@inner
def winsorized_std(tile: Array, lanes: int, s: State, result: Array, std: Array, room: Room) -> None:
    """Store the winsorized standard deviation; infinite where fewer than four values are used.

    Most pixels converge at once, a few need a dozen turns: those that go on are copied together.

    Parameters
    ----------
    tile : ndarray of float, flat
        Sorted columns.
    lanes : int
        Pixels in use.
    s : State
        Ranks used, and moments of the used values.
    result, std : ndarray of float64
        Result, and scratch.
    room : Room
        Scratch.
    """
    wide_vectors()
    work, copy, active = tile, room.tile, lanes
    index, kept, w, reach, going = room.places, room.kept, room.state, room.reach, room.going
    first, last, pivot, w_first, w_last, w_pivot = s.first, s.last, s.pivot, w.first, w.last, w.pivot
    sum1, sum2 = s.sum1, s.sum2
    for j in range(LANES):
        index[j], w_first[j], w_last[j], w_pivot[j], going[j] = j, first[j], last[j], pivot[j], 1.0
    for j in range(whole_vectors(lanes)):
        std[j] = sample_std(np.float64(last[j] - first[j]), sum1[j], sum2[j])
        reach[j] = REACH * std[j]
    for _ in range(MOST_TURNS):
        start, end = add_all(work, active, w, reach)
        count = renew(active, w, reach, std, going)
        if count == 0:
            break
        if 2 * count < active:
            squeeze(work, start, end, active, w, copy, reach, std, going, index, result, kept)
            work, active = copy, count
    for k in range(active):
        result[index[k]] = std[k]
    for j in range(lanes):
        result[j] = result[j] if last[j] - first[j] > 3 else np.inf
