"""From positions to a layout: what is measured on a catalog before it is cut into cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.cells import Layout
from daskpar.analyses.pair_counts.kernel.compiled import compiled, given
from daskpar.analyses.pair_counts.kernel.layout import choose_layout, typical_density

Floats = NDArray[np.float64]


def along_axes(positions: Floats, binning: Binning) -> Floats:
    """Positions along the grid's axes, shape (n, 3): the line of sight last. A view where nothing changes."""
    return positions if binning.axes == (0, 1, 2) else positions[:, binning.axes]


def corners(positions: Floats) -> tuple[Floats, Floats]:
    """Return the smallest and the largest coordinates of some points, shape (n, 3); NaN where one is NaN."""
    low, high = _corners(given(positions))
    return np.asarray(low), np.asarray(high)


@compiled
def _corners(positions: Any) -> Any:
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in range(len(positions)):
        for axis in range(3):
            x = positions[i, axis]
            if x < low[axis] or x != x:
                low[axis] = x
            if x > high[axis] or x != x:
                high[axis] = x
    return low, high


def lay_out(
    one: Floats, two: Floats | None, binning: Binning, boxsize: tuple[float, float, float] | None = None
) -> Layout:
    """Choose the cells for a count in memory.

    Parameters
    ----------
    one, two : float64, shape (n, 3)
        Samples, in the caller's x, y, z; unit vectors for ``theta``. ``two`` is None where a sample is paired
        with itself.
    binning : Binning
    boxsize : 3 floats, optional
        Lengths of the periodic box along x, y and z; 0 where an axis is not periodic.

    Raises
    ------
    ValueError
        A periodic box for ``theta`` or the midpoint; separations beyond half the box; positions that span
        more.
    """
    periods = (0.0, 0.0, 0.0) if boxsize is None else boxsize
    if any(periods) and (binning.midpoint or binning.metric == "theta"):
        raise ValueError("a periodic box has no midpoint and no angles")
    period = periods[binning.axes[2]]
    if binning.metric == "rp_pi" and binning.signed and period and binning.reach[1] >= period / 2:
        raise ValueError("signed separations of half the period have no sign")
    samples = [sample for sample in (one, two) if sample is not None and len(sample)]
    order = list(binning.axes)
    ends = [corners(sample) for sample in samples] or [(np.zeros(3), np.zeros(3))]
    low = np.min([lowest for lowest, _ in ends], axis=0)[order]
    high = np.max([highest for _, highest in ends], axis=0)[order]
    plane, along, space = binning.reach
    neighbours = one if two is None else two
    return choose_layout(
        low,
        high,
        binning.reach,
        (periods[order[0]], periods[order[1]], periods[order[2]]),
        points=max([len(sample) for sample in samples] or [0]),
        density=typical_density(neighbours, min(max(plane, along), space)),
    )
