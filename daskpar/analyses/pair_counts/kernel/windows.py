"""Where the neighbours of a point are: groups of eight points, and the shifts of their periodic images.

A point's neighbours lie in windows of the columns around it. All its windows are written out as one list of
groups, cut into runs of equal shift, so that the loop over distances is one long loop: short inner loops of
unpredictable length would cost more in mispredicted branches than the distances do.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.cells import Layout
from daskpar.analyses.pair_counts.kernel.compiled import inlined
from daskpar.analyses.pair_counts.kernel.lanes import LANES
from daskpar.analyses.pair_counts.kernel.memory import address, get_float, get_int, put_float, put_int

# Which pairs a count visits.
CROSS = 0  # all ordered pairs of two samples
EACH_ONCE = 1  # unordered pairs of one sample
BOTH_ORDERS = 2  # ordered pairs of one sample, without self-pairs


class Room(NamedTuple):
    """Room for the windows of one point: addresses of arrays.

    ``groups`` holds the index of the first number of each group in ``Packed.points``; run k is
    ``groups[ends[k] : ends[k + 1]]`` and its points are shifted by ``shifts[3 * k : 3 * k + 3]``.
    """

    groups: int
    ends: int
    shifts: int
    near_x: int
    near_y: int
    column_x: int
    column_y: int
    shift_x: int
    shift_y: int


def make_room(layout: Layout, start: NDArray[np.int64], plane: float) -> tuple[Room, list[NDArray[Any]]]:
    """Allocate `Room` for the fullest columns there are: addresses, and the arrays to be kept alive."""
    bounds = start.reshape(-1, layout.nz + 1)
    fullest = int((bounds[:, -1] - bounds[:, 0]).max())
    across, up = (
        2 * (int((plane + layout.slack) / width) + 1) + 1 for width in (layout.width_x, layout.width_y)
    )
    # At most three windows a column (periodic in z), which meet in at most two groups and two cells each.
    windows = 3 * across * up
    arrays: list[NDArray[Any]] = [
        np.empty(windows * (fullest // LANES + 2 + LANES), np.int64),
        np.zeros(windows + 2, np.int64),
        np.zeros(3 * (windows + 1)),
    ]
    arrays += [np.empty(n, kind) for kind in (np.float64, np.int64, np.float64) for n in (across, up)]
    return Room(*map(address, arrays)), arrays


@inlined
def _steps(layout: Any, plane: float, width: float) -> Any:
    return int((plane + layout.slack) / width) + 1


@inlined
def _columns(
    near: int,
    column: int,
    shift: int,
    at: float,
    origin: float,
    width: float,
    n: int,
    period: float,
    first: int,
    steps: int,
) -> Any:
    """List the columns within some steps along one axis: squared distance, number, shift of the image."""
    own = min(max(int((at - origin) / width), 0), n - 1)
    found = 0
    for step in range(first, steps + 1):
        number = own + step
        image = 0.0
        if number >= n:
            if period == 0.0:
                break
            number -= n
            image = period
        elif number < 0:
            if period == 0.0:
                continue
            number += n
            image = -period
        distance = 0.0
        if step > 0:
            distance = max(0.0, origin + (own + step) * width - at)
        elif step < 0:
            distance = max(0.0, at - (origin + (own + step + 1) * width))
        put_float(near, found, distance * distance)
        put_int(column, found, number)
        put_float(shift, found, image)
        found += 1
    return found


@inlined
def _append(groups: int, n: int, first: int, last: int, stride: int) -> Any:
    """Append groups first … last - 1 to a list of n; eight at a time, of which the last may be too many."""
    for k in range(LANES):
        put_int(groups, n + k, (first + k) * stride)
    for k in range(LANES, last - first):
        put_int(groups, n + k, (first + k) * stride)
    return n + max(last - first, 0)


@inlined
def _cell(layout: Any, height: float) -> Any:
    return min(max(int(height / layout.height), 0), layout.nz - 1)


@inlined
def find(
    room: Any,
    layout: Any,
    start: int,
    stride: int,
    x: float,
    y: float,
    z: float,
    reach: Any,
    visit: int,
    own: int,
) -> Any:
    """Write the windows of a point into ``room``; how many runs there are.

    Parameters
    ----------
    room : Neighbours
    layout : Layout
    start, stride
        Of the sample that neighbours come from.
    x, y, z : float
        The point, along the grid's axes.
    reach : 3 floats
        In the plane, along z, in space.
    visit : int
        `CROSS`, `EACH_ONCE` or `BOTH_ORDERS`.
    own : int
        The group that holds the point itself; left out where the two samples are one.
    """
    plane, along, space = reach
    limit = (plane + layout.slack) ** 2
    steps_x = _steps(layout, plane, layout.width_x)
    steps_y = _steps(layout, plane, layout.width_y)
    half = visit == EACH_ONCE
    many_x = _columns(
        room.near_x, room.column_x, room.shift_x, x, layout.x0, layout.width_x, layout.nx, layout.period_x,
        0 if half else -steps_x, steps_x,
    )  # fmt: skip
    many_y = _columns(
        room.near_y, room.column_y, room.shift_y, y, layout.y0, layout.width_y, layout.ny, layout.period_y,
        -steps_y, steps_y,
    )  # fmt: skip
    here_x = min(max(int((x - layout.x0) / layout.width_x), 0), layout.nx - 1)
    here_y = min(max(int((y - layout.y0) / layout.width_y), 0), layout.ny - 1)
    top = layout.height * layout.nz
    n = runs = run_start = 0
    last_x = last_y = last_z = 0.0
    put_int(room.ends, 0, 0)
    put_float(room.shifts, 0, 0.0)
    put_float(room.shifts, 1, 0.0)
    put_float(room.shifts, 2, 0.0)
    for a in range(many_x):
        shift_x = get_float(room.shift_x, a)
        at_home_x = get_int(room.column_x, a) == here_x and shift_x == 0.0
        for b in range(many_y):
            near = get_float(room.near_x, a) + get_float(room.near_y, b)
            if near >= limit:
                continue
            shift_y = get_float(room.shift_y, b)
            home = at_home_x and get_int(room.column_y, b) == here_y and shift_y == 0.0
            if half and at_home_x and not home:
                # Of the columns at the same x, the ones above; images above have a positive shift.
                if shift_y < 0.0 or (shift_y == 0.0 and get_int(room.column_y, b) < here_y):
                    continue
            high = min(along, math.sqrt(max(space * space - near, 0.0))) + layout.slack
            high = min(along + layout.slack, high)
            column = (get_int(room.column_x, a) * layout.ny + get_int(room.column_y, b)) * (layout.nz + 1)
            below = z - high - layout.z0
            above = z + high - layout.z0
            for image in range(-1, 2):
                shift_z = image * layout.period_z
                if image != 0:
                    if (
                        layout.period_z == 0.0
                        or (image == -1 and below >= 0.0)
                        or (image == 1 and above < top)
                    ):
                        continue
                    if half and home and image == -1:
                        continue
                first = get_int(start, column + _cell(layout, below - shift_z))
                last = get_int(start, column + _cell(layout, above - shift_z) + 1)
                if shift_x != last_x or shift_y != last_y or shift_z != last_z:
                    if n > run_start:
                        runs += 1
                        run_start = n
                        put_int(room.ends, runs, n)
                    last_x, last_y, last_z = shift_x, shift_y, shift_z
                    put_float(room.shifts, 3 * runs, shift_x)
                    put_float(room.shifts, 3 * runs + 1, shift_y)
                    put_float(room.shifts, 3 * runs + 2, shift_z)
                group = first // LANES
                end = (last + LANES - 1) // LANES
                if last == first:
                    continue
                if home and image == 0 and visit != CROSS:
                    if not half:
                        n = _append(room.groups, n, group, own, stride)
                    group = own + 1
                n = _append(room.groups, n, group, end, stride)
    put_int(room.ends, runs + 1, n)
    return runs + 1
