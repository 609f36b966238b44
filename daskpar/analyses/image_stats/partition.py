"""How large blocks are.

Sizes follow from the input alone, never from the cluster: 32 MB of input, smaller where that gives too few
blocks to share out, never below 4 MB. One row, or one frame, is the least. A band of rows is higher where it
would read too little of each file, up to 48 MB and as long as there are sixteen bands.
"""

from __future__ import annotations

from collections.abc import Iterator

from daskpar.inputs import reading_plan

BLOCK_BYTES = 32 << 20
LARGEST_BAND_BYTES = 48 << 20
FEWEST_BANDS = 16
LEAST_BLOCK_BYTES = 4 << 20
LEAST_BLOCKS = 64


def row_runs(frames: int, rows: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the bounds of bands of rows of `row_bytes` in each frame."""
    least = -(-reading_plan.MIN_READ // row_bytes)
    good = least * row_bytes * frames <= LARGEST_BAND_BYTES and least * FEWEST_BANDS <= rows
    yield from runs(rows, frames * row_bytes, least if good else 1)


def runs(length: int, unit_bytes: int, least: int = 1) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks over `length` rows or frames of `unit_bytes` each, `least` or more."""
    total = length * unit_bytes
    blocks = max(-(-total // BLOCK_BYTES), min(LEAST_BLOCKS, total // LEAST_BLOCK_BYTES), 1)
    size = max(least, -(-length // blocks))
    for start in range(0, length, size):
        yield start, min(start + size, length)
