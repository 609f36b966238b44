"""The grid of cells, and a catalog packed cell by cell for the vector loops.

The grid's x–y plane is cut into square columns, each column along z into low cells. Cells are numbered
column by column, upwards in z, so that a column's points between two heights lie side by side: a window of
a neighbouring column is a range of memory, found by two look-ups. Inside a column points are packed in
groups of eight, ``x[8], y[8], z[8]`` (and ``weight[8], patch[8]`` where there are any); a column's last group
is filled up with points that are far from everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.aligned import aligned
from daskpar.analyses.pair_counts.kernel.compiled import compiled, given
from daskpar.analyses.pair_counts.kernel.lanes import LANES
from daskpar.analyses.pair_counts.kernel.memory import address

Floats = NDArray[np.float64]
FAR = 1e150
"""Coordinate of a point that belongs to no pair; its square is still finite."""


class Layout(NamedTuple):
    """Where the cells are: origin, widths and numbers along the grid's axes, and the periods (0: none)."""

    x0: float
    y0: float
    z0: float
    width_x: float
    width_y: float
    height: float
    nx: int
    ny: int
    nz: int
    period_x: float
    period_y: float
    period_z: float
    slack: float

    @property
    def columns(self) -> int:
        """Number of columns."""
        return self.nx * self.ny

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.nx * self.ny * self.nz


class Packed(NamedTuple):
    """Points in the order of their cells.

    ``start[column * (nz + 1) + k]`` is the place of the first point of cell k of a column, and ``k = nz`` the
    end of the column; the point at place p has its x at ``points[p // 8 * stride + p % 8]``, y eight further
    on.
    """

    start: NDArray[np.int64]
    points: Floats
    stride: int

    @property
    def located(self) -> Located:
        """The same by address, for the loops over pairs."""
        return Located(address(self.start), address(self.points), self.stride)


class Located(NamedTuple):
    """A `Packed` by the addresses of its arrays."""

    start: int
    points: int
    stride: int


def cell_numbers(positions: Floats, layout: Layout) -> NDArray[np.int64]:
    """Cell of each point, shape (n,).

    Parameters
    ----------
    positions : float64, shape (n, 3)
        Along the grid's axes.
    layout : Layout
    """
    return np.asarray(_cell_numbers(given(positions), layout))


def pack(
    positions: Floats,
    layout: Layout,
    weights: Floats | None = None,
    patches: NDArray[np.integer[Any]] | None = None,
) -> Packed:
    """Put points in the order of their cells, those of one cell in the order given.

    Parameters
    ----------
    positions : float64, shape (n, 3)
        Along the grid's axes. All points, or those of the cells that a block touches: other cells are empty.
    layout : Layout
    weights : float64, shape (n,), optional
    patches : int, shape (n,), optional
        Below 2**53.
    """
    extra = weights is not None or patches is not None
    n = len(positions)
    ones = np.ones(n if extra else 0)
    cells = _cell_numbers(given(positions), layout)
    start, place, total = _places(cells, layout.columns, layout.nz)
    stride = LANES * (5 if extra else 3)
    points = aligned(total // LANES * stride)
    points[:] = FAR
    _fill(
        points,
        stride,
        place,
        np.ascontiguousarray(positions, dtype=np.float64),
        ones if weights is None else np.ascontiguousarray(weights, dtype=np.float64),
        ones * 0 if patches is None else np.ascontiguousarray(patches, dtype=np.float64),
    )
    return Packed(start, points, stride)


@compiled
def _cell_numbers(positions: Any, layout: Any) -> Any:
    cells = np.empty(len(positions), np.int64)
    for i in range(len(positions)):
        x = int((positions[i, 0] - layout.x0) / layout.width_x)
        y = int((positions[i, 1] - layout.y0) / layout.width_y)
        z = int((positions[i, 2] - layout.z0) / layout.height)
        column = min(x, layout.nx - 1) * layout.ny + min(y, layout.ny - 1)
        cells[i] = column * layout.nz + min(z, layout.nz - 1)
    return cells


@compiled
def _places(cells: Any, columns: int, nz: int) -> Any:
    """Start of each cell, place of each point, and the number of places."""
    free = np.zeros(columns * nz, np.int64)
    for cell in cells:
        free[cell] += 1
    start = np.empty(columns * (nz + 1), np.int64)
    total = 0
    for column in range(columns):
        for k in range(nz):
            start[column * (nz + 1) + k] = total
            number = free[column * nz + k]
            free[column * nz + k] = total
            total += number
        start[column * (nz + 1) + nz] = total
        total = (total + LANES - 1) // LANES * LANES
    place = np.empty(len(cells), np.int64)
    for i in range(len(cells)):
        place[i] = free[cells[i]]
        free[cells[i]] += 1
    return start, place, total


@compiled
def _fill(points: Any, stride: int, place: Any, positions: Any, weights: Any, patches: Any) -> None:
    for i in range(len(place)):
        first = place[i] // LANES * stride + place[i] % LANES
        for axis in range(3):
            points[first + axis * LANES] = positions[i, axis]
        if len(weights):
            points[first + 3 * LANES] = weights[i]
            points[first + 4 * LANES] = patches[i]
    if len(weights) and len(points):
        # A filled-up lane belongs to no pair, but its weight and patch are read: keep them harmless.
        for first in range(0, len(points), stride):
            for lane in range(LANES):
                if points[first + lane] == FAR:
                    points[first + 3 * LANES + lane] = 0.0
                    points[first + 4 * LANES + lane] = 0.0
