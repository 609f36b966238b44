"""Choosing the cells: from the reach of a pair, the density and the periods, by predicted cost."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.cells import Layout

Floats = NDArray[np.float64]

# Costs in the time of one group of eight distances.
WINDOW_COST = 5.0
# Widths that are tried, in units of the reach. Above 1 only sparse catalogs gain.
WIDTHS = (0.25, 1 / 3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0)
CELL_POINTS = 4.0
SAMPLE = 20_000


def choose_layout(
    low: Floats,
    high: Floats,
    reach: tuple[float, float, float],
    periods: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    points: int,
    density: float,
) -> Layout:
    """Lay cells over a catalog.

    Parameters
    ----------
    low, high : float64, shape (3,)
        Smallest and largest coordinates of all samples, along the grid's axes.
    reach : 3 floats
        `Binning.reach`: in the plane, along z, in space (inf: not limited).
    periods : 3 floats
        Lengths of the periodic box along the grid's axes; 0 where not periodic.
    points : int
        Points of the larger sample; bounds the number of cells.
    density : float
        Points in a unit of volume around a typical point, see `typical_density`.

    Raises
    ------
    ValueError
        A reach above half a period, or coordinates that span more than a period.
    """
    extent = np.maximum(np.asarray(high) - np.asarray(low), 0.0)
    plane, along, space = reach
    sides = [period or span for period, span in zip(periods, extent, strict=True)]
    for axis, (span, period) in enumerate(zip(extent, periods, strict=True)):
        far = min(along if axis == 2 else plane, space)
        if period and (far > period / 2 or span > period):
            raise ValueError(f"axis {axis}: separations to {far}, positions over {span}, period {period}")
    largest = max(float(np.abs(low).max()), float(np.abs(high).max()), max(periods))
    width = max(_best_width(plane, min(along, space), density), 1e-300)
    # A grid has at most about as many cells as there are points to fill them.
    width = max(width, float(np.sqrt(sides[0] * sides[1] / max(points / 8, 64.0))), max(sides[:2]) / 1e6)
    nx, ny = (_number(side, width) for side in sides[:2])
    height = max(min(along, space) / 8, CELL_POINTS / max(density * width * width, 1e-300))
    height = max(height, sides[2] * nx * ny / max(points / 2, 64.0), sides[2] / 1e6)
    nz = _number(sides[2], height)
    widths = [side / n if side > 0 else 1.0 for side, n in zip(sides, (nx, ny, nz), strict=True)]
    slack = 1e-9 * max(plane, along) + 16 * float(np.finfo(float).eps) * largest
    x0, y0, z0 = map(float, low)
    width_x, width_y, height = map(float, widths)
    return Layout(x0, y0, z0, width_x, width_y, height, nx, ny, nz, *periods, slack)


def typical_density(positions: Floats, scale: float) -> float:
    """Points in a unit of volume in a cube of a given side around a typical *point* (not a typical place).

    Parameters
    ----------
    positions : float64, shape (n, 3)
    scale : float
        Side of the cube; the reach of a pair.
    """
    n = len(positions)
    if n == 0:
        return 0.0
    step = max(1, n // SAMPLE)
    sample = positions[::step]
    cube = np.floor((sample - sample.min(axis=0)) / scale).astype(np.int64)
    size = cube.max(axis=0) + 1
    key = (cube[:, 0] * size[1] + cube[:, 1]) * size[2] + cube[:, 2]
    _, counts = np.unique(key, return_counts=True)
    others = float((counts * (counts - 1.0)).sum()) / len(sample)
    return max(others, 1 / len(sample)) * step / scale**3


def _number(side: float, width: float) -> int:
    return max(1, int(side / width))


def _best_width(plane: float, along: float, density: float) -> float:
    """Column width of the smallest predicted cost: windows to look up and groups of eight to compute."""
    width = plane * np.array(WIDTHS)
    columns = (np.pi * plane**2 + 4 * plane * width + width**2) / width**2
    window = 1.4 * along * density * width**2
    cost: Any = columns * (WINDOW_COST + window / 8 + 1)
    return float(width[np.argmin(cost)])
