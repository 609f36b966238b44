"""Blocks of work: their predicted cost, a balanced partition, and the cells that a block needs.

Costs are distances: a window of a column costs `WINDOW_DISTANCES` more than the distances in it. They come
from the number of points in each cell, so a clustered catalog gets blocks as balanced as a uniform one.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.cells import Layout
from daskpar.analyses.pair_counts.kernel.compiled import compiled
from daskpar.analyses.pair_counts.kernel.lanes import LANES

Ints = NDArray[np.int64]

WINDOW_DISTANCES = 40.0
"""What finding a window costs, in distances."""
SECONDS_PER_DISTANCE = 0.5e-9
"""On the reference core."""


def predict_cost(
    layout: Layout, reach: tuple[float, float, float], one: Ints, two: Ints, *, half: bool
) -> NDArray[np.float64]:
    """Distances that the points of each cell will cost.

    Parameters
    ----------
    layout : Layout
    reach : 3 floats
        `Binning.reach`.
    one, two : int64, shape (cells,)
        Points of the first and the second sample in each cell.
    half : bool
        Whether each pair is visited once: a sample with itself, not signed.

    Returns
    -------
    float64, shape (cells,)
    """
    columns = (layout.columns, layout.nz)
    above = np.zeros((layout.columns, layout.nz + 1), np.int64)
    np.cumsum(two.reshape(columns), axis=1, out=above[:, 1:])
    cost = _cost(layout, reach, np.ascontiguousarray(one, np.int64), above)
    return np.asarray(cost) * (0.5 if half else 1.0)


def partition(cost: NDArray[np.float64], blocks: int) -> list[tuple[int, int]]:
    """Cut the cells into consecutive ranges of about equal cost.

    Parameters
    ----------
    cost : float64, shape (cells,)
    blocks : int
        At most so many; fewer where single cells are dear, as a cell is never cut.

    Returns
    -------
    list of (first cell, last cell + 1)
        Non-empty ranges of non-zero cost, which together hold all cells of non-zero cost.
    """
    total = np.concatenate([[0.0], np.cumsum(cost)])
    if total[-1] <= 0:
        return []
    cuts = np.searchsorted(total, total[-1] * np.arange(1, blocks) / blocks)
    edges = np.unique(np.concatenate([[0], cuts, [cost.size]]))
    return [(int(a), int(b)) for a, b in pairwise(edges) if total[b] > total[a]]


def number_of_blocks(
    distances: float,
    *,
    shortest: float = 0.02,
    longest: float = 1.0,
    at_least: int = 64,
    at_most: int = 50_000,
) -> int:
    """How many blocks a count is cut into, from its cost alone.

    Parameters
    ----------
    distances : float
        Total predicted cost.
    shortest, longest : float
        Seconds on the reference core: a block takes the longest at most, until there are ``at_most`` of them;
        there are ``at_least`` many while each still takes the shortest.
    at_least, at_most : int
    """
    seconds = distances * SECONDS_PER_DISTANCE
    return max(1, min(at_most, max(math.ceil(seconds / longest), min(at_least, int(seconds / shortest)))))


def imbalance(cost: NDArray[np.float64], ranges: list[tuple[int, int]]) -> float:
    """Cost of the dearest block over the mean: 1 is perfect."""
    costs = [float(cost[a:b].sum()) for a, b in ranges]
    return max(costs) / (sum(costs) / len(costs)) if costs else 1.0


def needed_cells(layout: Layout, reach: tuple[float, float, float], block: tuple[int, int]) -> Ints:
    """Ranges of cells that hold all points within reach of a block, the block itself included.

    Parameters
    ----------
    layout : Layout
    reach : 3 floats
        `Binning.reach`.
    block : (first cell, last cell + 1)

    Returns
    -------
    int64, shape (n, 2)
        First cell and last cell + 1 of each range, increasing and apart.
    """
    low = np.full(layout.columns, layout.nz, np.int64)
    high = np.zeros(layout.columns, np.int64)
    _needed(layout, reach, block[0], block[1], low, high)
    wanted = np.flatnonzero(low < high)
    ranges = np.stack([wanted * layout.nz + low[wanted], wanted * layout.nz + high[wanted]], axis=1)
    if len(ranges) == 0:
        return ranges
    apart = np.concatenate([[True], ranges[1:, 0] > ranges[:-1, 1]])
    ends = ranges[np.concatenate([apart[1:], [True]]), 1]
    return np.stack([ranges[apart, 0], ends], axis=1)


@compiled
def _span(own: int, step: int, width: float) -> Any:
    """Smallest distance between points of two columns some steps apart along an axis."""
    return max(abs(step) - 1, 0) * width


@compiled
def _wrap(number: int, n: int, period: float) -> Any:
    """Find the number of a column beyond the end: its periodic image's, or -1 where there is none."""
    if 0 <= number < n:
        return number
    return number % n if period > 0.0 else -1


@compiled
def _rise(layout: Any, reach: Any, near: float) -> Any:
    """Cells up and down that a window of a column at a squared distance can take in."""
    high = min(reach[1], math.sqrt(max(reach[2] * reach[2] - near, 0.0)) + layout.slack)
    return min(int(high / layout.height) + 1, layout.nz)


@compiled
def _between(above: Any, column: int, low: int, high: int, nz: int, periodic: bool) -> Any:
    """Points of cells low … high - 1 of a column, periodic images included."""
    number = above[column, min(high, nz)] - above[column, max(low, 0)]
    if periodic and low < 0:
        number += above[column, nz] - above[column, max(low + nz, 0)]
    if periodic and high > nz:
        number += above[column, min(high - nz, nz)]
    return number


@compiled
def _cost(layout: Any, reach: Any, one: Any, above: Any) -> Any:
    cost = np.zeros(one.size)
    nz = layout.nz
    steps_x = int((reach[0] + layout.slack) / layout.width_x) + 1
    steps_y = int((reach[0] + layout.slack) / layout.width_y) + 1
    limit = (reach[0] + layout.slack) ** 2
    for x in range(layout.nx):
        for y in range(layout.ny):
            own = (x * layout.ny + y) * nz
            if one[own : own + nz].sum() == 0:
                continue
            for step_x in range(-steps_x, steps_x + 1):
                there_x = _wrap(x + step_x, layout.nx, layout.period_x)
                for step_y in range(-steps_y, steps_y + 1):
                    there_y = _wrap(y + step_y, layout.ny, layout.period_y)
                    # Between the nearest and the middle: a typical point of the column.
                    near = (max(abs(step_x) - 0.5, 0.0) * layout.width_x) ** 2
                    near += (max(abs(step_y) - 0.5, 0.0) * layout.width_y) ** 2
                    if there_x < 0 or there_y < 0 or near >= limit:
                        continue
                    rise = _rise(layout, reach, near)
                    column = there_x * layout.ny + there_y
                    for k in range(nz):
                        if one[own + k]:
                            found = _between(above, column, k - rise, k + rise + 1, nz, layout.period_z > 0.0)
                            cost[own + k] += one[own + k] * (found + LANES / 2 + WINDOW_DISTANCES)
    return cost


@compiled
def _needed(layout: Any, reach: Any, first: int, last: int, low: Any, high: Any) -> None:
    nz = layout.nz
    steps_x = int((reach[0] + layout.slack) / layout.width_x) + 1
    steps_y = int((reach[0] + layout.slack) / layout.width_y) + 1
    for own in range(first // nz, (last + nz - 1) // nz):
        bottom = max(first - own * nz, 0)
        top = min(last - own * nz, nz)
        for step_x in range(-steps_x, steps_x + 1):
            there_x = _wrap(own // layout.ny + step_x, layout.nx, layout.period_x)
            for step_y in range(-steps_y, steps_y + 1):
                there_y = _wrap(own % layout.ny + step_y, layout.ny, layout.period_y)
                if there_x < 0 or there_y < 0:
                    continue
                near = _span(own, step_x, layout.width_x) ** 2 + _span(own, step_y, layout.width_y) ** 2
                if near >= (reach[0] + layout.slack) ** 2:
                    continue
                rise = _rise(layout, reach, near)
                column = there_x * layout.ny + there_y
                if layout.period_z > 0.0 and (bottom - rise < 0 or top + rise > nz):
                    low[column], high[column] = 0, nz
                else:
                    low[column] = min(low[column], max(bottom - rise, 0))
                    high[column] = max(high[column], min(top + rise, nz))
