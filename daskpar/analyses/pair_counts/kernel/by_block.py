"""Points put together by the block whose cells they lie in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.compiled import compiled, given, inlined


def by_block(
    rows: NDArray[np.float64], cells: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sort points by block, those of one block in the order given.

    Parameters
    ----------
    rows : float64, shape (n, columns)
        What is known of each point.
    cells : int64, shape (n,)
        The cell of each.
    starts : int64, shape (blocks,), increasing
        First cell of each block. A cell between two blocks belongs to the one before it, cells before the
        first block to the first.

    Returns
    -------
    rows : float64, shape (n, columns)
    bounds : int64, shape (blocks + 1,)
        Block k holds rows ``bounds[k]`` to ``bounds[k + 1] - 1``.
    """
    rows = given(rows)
    if not len(starts):
        return rows, np.zeros(1, np.int64)
    placed, bounds = _by_block(rows, cells, np.ascontiguousarray(starts))
    return placed, bounds


@compiled
def _by_block(rows: Any, cells: Any, starts: Any) -> Any:
    bounds = np.zeros(len(starts) + 1, np.int64)
    blocks = np.empty(len(cells), np.int32)
    for i in range(len(cells)):
        blocks[i] = _last_at_or_below(starts, cells[i])
        bounds[blocks[i] + 1] += 1
    for k in range(len(starts)):
        bounds[k + 1] += bounds[k]
    free = bounds.copy()
    placed = np.empty_like(rows)
    for i in range(len(rows)):
        to = free[blocks[i]]
        free[blocks[i]] += 1
        for column in range(rows.shape[1]):
            placed[to, column] = rows[i, column]
    return placed, bounds


@inlined
def _last_at_or_below(starts: Any, cell: int) -> Any:
    """Find the last start at or below a cell, or the first: by halves, without branches to mispredict."""
    first, number = 0, len(starts)
    while number > 1:
        half = number // 2
        first += half if starts[first + half] <= cell else 0
        number -= half
    return first
