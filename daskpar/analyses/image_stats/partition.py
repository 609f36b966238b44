"""How large blocks are.

Sizes follow from the input alone, never from the cluster: 32 MB of input, smaller where that gives too few
blocks to share out, never below 4 MB. One row, or one frame, is the least.
"""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_BYTES = 32 << 20
LEAST_BLOCK_BYTES = 4 << 20
LEAST_BLOCKS = 64


def runs(length: int, unit_bytes: int, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, int]]:
    """Yield the bounds of blocks over `length` rows or frames of `unit_bytes` each."""
    total = length * unit_bytes
    blocks = max(-(-total // block_bytes), min(LEAST_BLOCKS, total // LEAST_BLOCK_BYTES), 1)
    size = max(1, -(-length // blocks))
    for start in range(0, length, size):
        yield start, min(start + size, length)
