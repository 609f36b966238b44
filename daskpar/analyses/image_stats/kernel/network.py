"""Sorting the columns of a tile: every pixel's values over the frames, all pixels at once.

A comparator puts the smaller of two rows first, pixel by pixel; a fixed network of comparators sorts.
The network is a merge sort (Batcher 1968). Groups of 16 or 32 rows are sorted in registers, by his odd-even
merges, which need the fewest comparators. Longer runs are merged in the bitonic form, in which every
comparator points the same way, with steps grouped so that 4 or 8 rows stay in registers between loads and
stores.

Padding with +inf stays at the end, so groups that hold only padding are skipped.
"""

from __future__ import annotations

import numpy as np

from .compiled import GROUP, LANES, Array, inlined, inner, wide_vectors
from .state import Chunk

Eight = tuple[float, float, float, float, float, float, float, float]


@inlined
def ordered(a: float, b: float) -> tuple[float, float]:
    """Return the smaller and the larger; written so that it compiles to vector min and max."""
    return (a if a < b else b), (b if a < b else a)


@inlined
def sorted8(rows: Array, j: int) -> Eight:
    """Sort a pixel's values in eight rows with 19 comparators (Knuth, TAOCP 3, 5.3.4)."""
    a, b, c, d = rows[j], rows[j + LANES], rows[j + 2 * LANES], rows[j + 3 * LANES]
    e, f, g, h = rows[j + 4 * LANES], rows[j + 5 * LANES], rows[j + 6 * LANES], rows[j + 7 * LANES]
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


@inlined
def merged2(a: float, b: float, c: float, d: float) -> tuple[float, float, float, float]:
    """Merge the sorted a, b and c, d."""
    a, c = ordered(a, c)
    b, d = ordered(b, d)
    b, c = ordered(b, c)
    return a, b, c, d


@inlined
def merged4(a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float) -> Eight:
    """Merge the sorted a to d and e to h: every second value of both apart, then neighbours compared."""
    a, c, e, g = merged2(a, c, e, g)
    b, d, f, h = merged2(b, d, f, h)
    b, c = ordered(b, c)
    d, e = ordered(d, e)
    f, g = ordered(f, g)
    return a, b, c, d, e, f, g, h


@inlined
def merged_eights(a: Eight, b: Eight) -> tuple[Eight, Eight]:
    """Merge two times eight sorted values, as `merged4` does."""
    p = merged4(a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6])
    q = merged4(a[1], a[3], a[5], a[7], b[1], b[3], b[5], b[7])
    return interleaved(p, q, q[7])


@inlined
def interleaved(p: Eight, q: Eight, last: float) -> tuple[Eight, Eight]:
    """Put what was merged apart together, from the second of ``p`` on, each compared with the one before."""
    b, c = ordered(p[1], q[0])
    d, e = ordered(p[2], q[1])
    f, g = ordered(p[3], q[2])
    h, i = ordered(p[4], q[3])
    j, k = ordered(p[5], q[4])
    m, n = ordered(p[6], q[5])
    o, r = ordered(p[7], q[6])
    return (p[0], b, c, d, e, f, g, h), (i, j, k, m, n, o, r, last)


@inlined
def every_second(a: Eight, b: Eight) -> tuple[Eight, Eight]:
    """Take sixteen values apart: the first, third, … and the second, fourth, …."""
    first = a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6]
    return first, (a[1], a[3], a[5], a[7], b[1], b[3], b[5], b[7])


@inlined
def merged8(a: float, b: float, c: float, d: float, e: float, f: float, g: float, h: float) -> Eight:
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


@inlined
def sorted16(rows: Array, j: int) -> tuple[Eight, Eight]:
    """Sort a pixel's values in sixteen rows with 63 comparators."""
    return merged_eights(sorted8(rows, j), sorted8(rows, j + 8 * LANES))


@inner
def sort16(source: Array, target: Array) -> None:
    """Sort 16 rows of ``source`` into ``target``."""
    for j in range(LANES):
        low, high = sorted16(source, j)
        store8(target, j, low)
        store8(target, j + 8 * LANES, high)


@inner
def sort32(source: Array, target: Array) -> None:
    """Sort 32 rows of ``source`` into ``target``: 191 comparators, all values in AVX-512's registers."""
    for j in range(LANES):
        a, b = sorted16(source, j)
        c, d = sorted16(source, j + 16 * LANES)
        (a, b), (c, d) = every_second(a, b), every_second(c, d)
        p, u = merged_eights(a, c)
        q, v = merged_eights(b, d)
        middle, following = ordered(u[0], q[7])
        first, second = interleaved(p, q, middle)
        third, fourth = interleaved((following, u[1], u[2], u[3], u[4], u[5], u[6], u[7]), v, v[7])
        store8(target, j, first)
        store8(target, j + 8 * LANES, second)
        store8(target, j + 16 * LANES, third)
        store8(target, j + 24 * LANES, fourth)


@inlined
def store8(target: Array, j: int, v: Eight) -> None:
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
def make_finite(values: Array) -> None:
    """Replace what is not finite by +inf."""
    zero, infinite = values.dtype.type(0.0), values.dtype.type(np.inf)
    for i in range(values.size):
        value = values[i]
        # Adding zero turns -0.0 into 0.0: equal values must have equal bits, whatever their order.
        values[i] = value + zero if abs(value) < infinite else infinite


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
    for base in range(0, n, 2 * GROUP):
        rows = GROUP if n - base <= GROUP else 2 * GROUP
        span = slice(base * LANES, (base + rows) * LANES)
        if rows == GROUP:
            sort16(source[span], target[span])
        else:
            sort32(source[span], target[span])
    half = 2 * GROUP
    while half < n:
        for base in range(0, n - half, 2 * half):
            merge(target, base, half)
            clean(target, base, min(base + 2 * half, n), half // 4)
        half *= 2


@inner
def count_finite(ranked: Array, n: int, total: Array) -> None:
    """Store how many values of each pixel are finite, from the sorted ones."""
    infinite, missing = ranked.dtype.type(np.inf), 0
    highest = ranked[(n - 1) * LANES : n * LANES]
    for j in range(total.size):
        missing += int(highest[j] == infinite)
        total[j] = n
    if missing > 0:
        total[:] = 0
        for r in range(n):
            row = ranked[r * LANES : (r + 1) * LANES]
            for j in range(total.size):
                total[j] += np.int32(1) if row[j] < infinite else np.int32(0)


@inner
def sort_chunk(chunk: Chunk, n: int, size: int, pixels: int) -> None:
    """Count and sort the finite values of all pixels of a chunk; all of them are in use."""
    wide_vectors()
    first, last, unsure = chunk.state.first, chunk.state.last, chunk.unsure
    for t in range((pixels + LANES - 1) // LANES):
        at, end = t * LANES, min(pixels, (t + 1) * LANES)
        ranked, total = chunk.ranked[t * size : (t + 1) * size], chunk.total[at:end]
        values = chunk.values[t * size : (t + 1) * size]
        make_finite(values[: n * LANES])
        sort_tile(values, ranked, n)
        count_finite(ranked, n, total)
        for j in range(end - at):
            first[at + j], last[at + j], unsure[at + j] = 0, total[j], False
