"""Which batches make a block: aligned runs of 2**k batches whose size follows from the batch number alone.

A block lasts long enough to make dask's own cost small, grows with the round it lies in, so that very large
runs have not too many, and does not depend on the number of samples asked for: a run that is extended later
finds the same blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from daskpar.analyses.monte_carlo.kernel.stopping import FIRST_ROUND

_BLOCKS_IN_FIRST_ROUND = 5  # 2**5 blocks of one batch, and as many in each later round, until long enough
_MOST_IN_A_ROUND = 14  # 2**14 blocks, then blocks grow again
# At least, so that dask's 3 ms a block stay below 1 %; at most, because workers wait for the last block.
LEAST_SECONDS, MOST_SECONDS = 0.3, 0.6


@dataclass(frozen=True)
class Run:
    """Consecutive batches ``first .. first + count - 1``."""

    first: int
    count: int


def blocks(n_batches: int, batch_seconds: float, cuts: Sequence[int] = ()) -> list[Run]:
    """Blocks of the batches ``0 .. n_batches - 1``.

    Parameters
    ----------
    n_batches : int
        Number of batches.
    batch_seconds : float
        Predicted time of one batch on a reference core, from stated costs and never from a clock.
    cuts : sequence of int
        Batch numbers at which a block must begin: the ends of earlier, shorter runs and the first
        short batch, so that their nodes are found again.

    Returns
    -------
    list of Run
        In ascending order. Each is an aligned power of two; the rest at the end is cut into such runs.
    """
    stops = sorted({cut for cut in cuts if 0 < cut < n_batches} | {n_batches})
    found: list[Run] = []
    first = 0
    for stop in stops:
        while first < stop:
            count = _largest(first, stop, batch_seconds)
            found.append(Run(first, count))
            first += count
    return found


def _largest(first: int, stop: int, batch_seconds: float) -> int:
    count = 1 << block_level(first, batch_seconds)
    while first % count or first + count > stop:
        count //= 2
    return count


def block_level(batch: int, batch_seconds: float) -> int:
    """Exponent k of the block of 2**k batches that holds a batch."""
    order = max(batch // FIRST_ROUND, 0).bit_length()  # 0 for batches 0-31, 1 for 32-63, 2 for 64-127
    # batches in round: 32 for orders 0 and 1, then doubling
    round_level = _BLOCKS_IN_FIRST_ROUND + max(order - 1, 0)
    least, most = _level(LEAST_SECONDS, batch_seconds), _level(MOST_SECONDS, batch_seconds)
    wanted = round_level - _BLOCKS_IN_FIRST_ROUND
    level = max(least, min(wanted, most), round_level - _MOST_IN_A_ROUND)
    return min(level, round_level)


def _level(seconds: float, batch_seconds: float) -> int:
    """Smallest k at which 2**k batches last that long."""
    level = 0
    while batch_seconds * (1 << level) < seconds and level < 40:
        level += 1
    return level
