"""Sorting the columns of a tile: every pixel's values over the frames, all pixels at once.

A comparator puts the smaller of two rows first, pixel by pixel; a fixed network of comparators sorts.
The network is a merge sort (Batcher 1968, the bitonic form in which every comparator points the same
way) whose steps are grouped so that 4, 8 or 16 rows stay in registers between loads and stores.

Padding with +inf stays at the end, so groups that hold only padding are skipped.
"""

from __future__ import annotations

import numpy as np

from .compiled import GROUP, LANES, Array, compiled, inner, wide_vectors
from .state import Chunk


@inner
def ordered(a: float, b: float) -> tuple[float, float]:
    """Return the smaller and the larger; written so that it compiles to vector min and max."""
    return (a if a < b else b), (b if a < b else a)


@inner
def sorted8(
    a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Sort eight values with 19 comparators (Knuth, TAOCP 3, 5.3.4)."""
    a, c = ordered(a, c)
    b, d = ordered(b, d)
    e, g = ordered(e, g)
    f, h = ordered(f, h)
    a, e = ordered(a, e)
    b, f = ordered(b, f)
    c, g = ordered(c, g)
    d, h = ordered(d, h)
    a, b = ordered(a, b)
    c, d = ordered(c, d)
    e, f = ordered(e, f)
    g, h = ordered(g, h)
    c, e = ordered(c, e)
    d, f = ordered(d, f)
    b, e = ordered(b, e)
    d, g = ordered(d, g)
    b, c = ordered(b, c)
    d, e = ordered(d, e)
    f, g = ordered(f, g)
    return a, b, c, d, e, f, g, h


@inner
def merged8(
    a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float
) -> tuple[float, float, float, float, float, float, float, float]:
    """Sort eight values that form a bitonic sequence: strides 4, 2, 1."""
    a, e = ordered(a, e)
    b, f = ordered(b, f)
    c, g = ordered(c, g)
    d, h = ordered(d, h)
    a, c = ordered(a, c)
    b, d = ordered(b, d)
    e, g = ordered(e, g)
    f, h = ordered(f, h)
    a, b = ordered(a, b)
    c, d = ordered(c, d)
    e, f = ordered(e, f)
    g, h = ordered(g, h)
    return a, b, c, d, e, f, g, h


@inner
def sort16(source: Array, target: Array) -> None:
    """Sort 16 rows of ``source`` into ``target``."""
    for j in range(LANES):
        a, b, c, d, e, f, g, h = sorted8(
            source[j], source[j + LANES], source[j + 2 * LANES], source[j + 3 * LANES],
            source[j + 4 * LANES], source[j + 5 * LANES], source[j + 6 * LANES], source[j + 7 * LANES],
        )  # fmt: skip
        i, k, t, m, n, o, p, q = sorted8(
            source[j + 8 * LANES], source[j + 9 * LANES], source[j + 10 * LANES], source[j + 11 * LANES],
            source[j + 12 * LANES], source[j + 13 * LANES], source[j + 14 * LANES], source[j + 15 * LANES],
        )  # fmt: skip
        a, q = ordered(a, q)
        b, p = ordered(b, p)
        c, o = ordered(c, o)
        d, n = ordered(d, n)
        e, m = ordered(e, m)
        f, t = ordered(f, t)
        g, k = ordered(g, k)
        h, i = ordered(h, i)
        store8(target, j, merged8(a, b, c, d, e, f, g, h))
        store8(target, j + 8 * LANES, merged8(i, k, t, m, n, o, p, q))


@inner
def store8(target: Array, j: int, v: tuple[float, float, float, float, float, float, float, float]) -> None:
    """Store eight values of one pixel in consecutive rows."""
    target[j], target[j + LANES], target[j + 2 * LANES], target[j + 3 * LANES] = v[0], v[1], v[2], v[3]
    target[j + 4 * LANES], target[j + 5 * LANES] = v[4], v[5]
    target[j + 6 * LANES], target[j + 7 * LANES] = v[6], v[7]


@inner
def clean8(rows: Array) -> None:
    """Strides 4, 2, 1 within eight rows."""
    for j in range(LANES):
        store8(rows, j, merged8(
            rows[j], rows[j + LANES], rows[j + 2 * LANES], rows[j + 3 * LANES],
            rows[j + 4 * LANES], rows[j + 5 * LANES], rows[j + 6 * LANES], rows[j + 7 * LANES],
        ))  # fmt: skip


@inner
def clean2(a: Array, b: Array) -> None:
    """One comparator between two rows."""
    for j in range(LANES):
        a[j], b[j] = ordered(a[j], b[j])


@inner
def clean4(a: Array, b: Array, c: Array, d: Array) -> None:
    """Two strides between four equally spaced rows."""
    for j in range(LANES):
        p, r = ordered(a[j], c[j])
        q, s = ordered(b[j], d[j])
        a[j], b[j] = ordered(p, q)
        c[j], d[j] = ordered(r, s)


@inner
def flip4(a: Array, b: Array, c: Array, d: Array) -> None:
    """Begin a merge: mirrored comparators a-d, b-c, and the first stride, between a, b and c, d."""
    for j in range(LANES):
        p, s = ordered(a[j], d[j])
        q, r = ordered(b[j], c[j])
        a[j], b[j] = ordered(p, q)
        c[j], d[j] = ordered(r, s)


@inner
def merge(tile: Array, base: int, half: int) -> None:
    """Merge two sorted runs of ``half`` rows each that start at row ``base``."""
    top = base + 2 * half - 1
    quarter = half // 2
    for i in range(quarter):
        a, b, c, d = base + i, base + i + quarter, top - i - quarter, top - i
        flip4(
            tile[a * LANES : (a + 1) * LANES],
            tile[b * LANES : (b + 1) * LANES],
            tile[c * LANES : (c + 1) * LANES],
            tile[d * LANES : (d + 1) * LANES],
        )


@inner
def clean(tile: Array, base: int, end: int, stride: int) -> None:
    """Finish a merge of rows ``base`` to ``end``: all strides from ``stride`` down."""
    while stride >= 16:
        half = stride // 2
        for block in range(base, end, 2 * stride):
            for i in range(block, block + half):
                b, c, d = i + half, i + stride, i + stride + half
                clean4(
                    tile[i * LANES : (i + 1) * LANES],
                    tile[b * LANES : (b + 1) * LANES],
                    tile[c * LANES : (c + 1) * LANES],
                    tile[d * LANES : (d + 1) * LANES],
                )
        stride //= 4
    if stride == 8:
        for block in range(base, end, 16):
            for i in range(block, block + 8):
                clean2(tile[i * LANES : (i + 1) * LANES], tile[(i + 8) * LANES : (i + 9) * LANES])
    for block in range(base, end, 8):
        clean8(tile[block * LANES : (block + 8) * LANES])


@inner
def make_finite(row: Array, zero: float, infinite: float, total: Array) -> None:
    """Replace what is not finite by +inf, and count what is."""
    for j in range(row.size):
        value = row[j]
        # Adding zero turns -0.0 into 0.0: equal values must have equal bits, whatever their order.
        value = value + zero if abs(value) < infinite else infinite
        row[j] = value
        total[j] += np.int32(1) if value < infinite else np.int32(0)


@inner
def sort_tile(source: Array, target: Array, n: int) -> None:
    """Sort each column of ``source`` into ``target``, ascending.

    Parameters
    ----------
    source, target : ndarray of float, flat
        Tiles of `padded_rows` rows. Rows from ``n`` on hold +inf. No NaN, no negative zero.
    n : int
        Number of frames.
    """
    wide_vectors()
    for base in range(0, n, GROUP):
        span = slice(base * LANES, (base + GROUP) * LANES)
        sort16(source[span], target[span])
    half = GROUP
    while half < n:
        for base in range(0, n - half, 2 * half):
            merge(target, base, half)
            clean(target, base, min(base + 2 * half, n), half // 4)
        half *= 2


@compiled
def sort_chunk(chunk: Chunk, n: int, size: int, pixels: int) -> None:
    """Count and sort the finite values of all pixels of a chunk; all of them are in use."""
    wide_vectors()
    zero, infinite = chunk.values.dtype.type(0.0), chunk.values.dtype.type(np.inf)
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = t * LANES, min(LANES, pixels - t * LANES)
        values, total = chunk.values[t * size : (t + 1) * size], chunk.total[at : at + lanes]
        for j in range(lanes):
            total[j], chunk.state.first[at + j], chunk.unsure[at + j] = 0, 0, False
        for frame in range(n):
            make_finite(values[frame * LANES : frame * LANES + lanes], zero, infinite, total)
        sort_tile(values, chunk.ranked[t * size : (t + 1) * size], n)
        for j in range(lanes):
            chunk.state.last[at + j] = total[j]
