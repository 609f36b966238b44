"""What a block computes, and what of its input it holds at a time.

Both follow from the input alone, never from the cluster. A band of rows of all frames is held at a time:
32 MB, less where that gives too few to share out, never below 16 MB; one row is the least. It is higher where
it would read too little of each file, up to 48 MB and as long as there are sixteen bands.

A block is a run of bands, or of frames that are read one after the other: up to 256 MB, which take as long as
what a scheduler does for a block some twenty times over; less where that gives fewer than 32 blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from daskpar.inputs import reading_plan

Span = tuple[int, int]

BAND_BYTES = 32 << 20
LARGEST_BAND_BYTES = 48 << 20
LEAST_BAND_BYTES = 16 << 20
FEWEST_BANDS = 16
BLOCK_BYTES = 256 << 20
LEAST_BLOCKS = 32


def row_bands(frames: int, rows: int, row_bytes: int) -> list[Span]:
    """Return the bounds of bands of rows of `row_bytes` in each frame."""
    least = -(-reading_plan.MIN_READ // row_bytes)
    good = least * row_bytes * frames <= LARGEST_BAND_BYTES and least * FEWEST_BANDS <= rows
    return list(runs(rows, frames * row_bytes, BAND_BYTES, least if good else 1))


def row_blocks(bands: Sequence[Span], row_bytes: int) -> list[Span]:
    """Return the bounds of blocks: runs of bands whose rows hold `row_bytes` in all frames together."""
    highest = max((stop - start for start, stop in bands), default=1)
    together = max(1, min(BLOCK_BYTES // max(1, highest * row_bytes), len(bands) // LEAST_BLOCKS))
    return [
        (bands[first][0], bands[min(first + together, len(bands)) - 1][1])
        for first in range(0, len(bands), together)
    ]


def bands_within(bands: Sequence[Span], start: int, stop: int) -> list[Span]:
    """Return the bands of a block; a part of one, where the block is that."""
    return [(max(low, start), min(high, stop)) for low, high in bands if low < stop and high > start]


def frame_blocks(frames: int, frame_bytes: int) -> list[Span]:
    """Return the bounds of blocks of whole frames."""
    return list(runs(frames, frame_bytes, BLOCK_BYTES))


def runs(length: int, unit_bytes: int, most_bytes: int, least: int = 1) -> Iterator[Span]:
    """Yield the bounds of runs over `length` units of `unit_bytes` each, `least` of them or more."""
    total = length * unit_bytes
    number = max(-(-total // most_bytes), min(LEAST_BLOCKS, total // LEAST_BAND_BYTES), 1)
    size = max(least, -(-length // number))
    for start in range(0, length, size):
        yield start, min(start + size, length)
