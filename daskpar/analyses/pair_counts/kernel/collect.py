"""The loop over pairs: what is measured of those that can fall into a bin, side by side in buffers."""

from __future__ import annotations

from typing import Any, NamedTuple

from daskpar.analyses.pair_counts.kernel.binning import (
    RADIAL,
    RP_PI_AXIS,
    RP_PI_MIDPOINT,
    S_MU_AXIS,
    S_MU_MIDPOINT,
)
from daskpar.analyses.pair_counts.kernel.compiled import inlined
from daskpar.analyses.pair_counts.kernel.lanes import (
    LANES,
    choose,
    compress,
    copysign,
    count,
    lane_numbers,
    load,
    root,
    splat,
    store,
)
from daskpar.analyses.pair_counts.kernel.memory import get_float, get_int

CAPACITY = 1024
"""Pairs that the buffers hold before they are tallied."""
CHUNK = 32
"""Groups between two looks at whether the buffers are full."""


class Buffers(NamedTuple):
    """Pairs on their way into bins: addresses of arrays, unused where nothing asks for them."""

    first: int
    second: int
    third: int
    weight: int
    patch: int
    bin: int


@inlined
def _apart(dx: Any, dy: Any, dz: Any, shift: Any, moved: bool) -> Any:
    """Separations along the axes, those of a periodic image where there is one: few runs have one."""
    return (dx + shift[0], dy + shift[1], dz + shift[2]) if moved else (dx, dy, dz)


@inlined
def measured(
    rule: Any, x: Any, y: Any, z: Any, x2: Any, y2: Any, z2: Any, shift: Any, moved: bool
) -> Any:
    """Three numbers of each of eight pairs, from which `resolve` makes what is compared with edges.

    Parameters
    ----------
    rule : Rule
    x, y, z, x2, y2, z2 : vector
        The first and the second point of each pair, along the grid's axes.
    shift : 3 vectors
        Added to the second minus the first: 0 or a period.
    moved : bool
        Whether any is not 0.

    Returns
    -------
    3 vectors
        For a line of sight along an axis rp² or s², and the separation along it; for the midpoint s², c and
        L.
    """
    dx, dy, dz = _apart(x2 - x, y2 - y, z2 - z, shift, moved)
    if rule.form == RP_PI_AXIS:
        return dx * dx + dy * dy, dz, dz
    # Added in the order of the caller's x, y, z, whichever of them lies along the grid's z.
    square = (dx * dx + dz * dz) + dy * dy if rule.swapped else (dx * dx + dy * dy) + dz * dz
    if rule.form == RADIAL or rule.form == S_MU_AXIS:
        return square, dz, dz
    lx, ly, lz = x + x2, y + y2, z + z2
    return square, (dx * lx + dy * ly) + dz * lz, (lx * lx + ly * ly) + lz * lz


@inlined
def resolve(buffers: Any, n: int, rule: Any) -> None:
    """Turn what `measured` left in the buffers into what is compared with edges; see `binning`."""
    if rule.form == RADIAL:
        return
    one = splat(1.0)
    for k in range(0, n, LANES):
        first, second = load(buffers.first, k), load(buffers.second, k)
        length = load(buffers.third, k)
        if rule.form == S_MU_AXIS:
            second = second / root(first)
        elif rule.form == S_MU_MIDPOINT:
            second = second / root(length * first)
        elif rule.form == RP_PI_MIDPOINT:
            across = first - (second * second) / length
            store(buffers.first, k, choose(splat(0.0) < across, across, splat(0.0)))
            second = second / root(length)
        store(buffers.second, k, second if rule.signed else copysign(second, one))


class Point(NamedTuple):
    """The first member of pairs: position along the grid's axes, weight, patch × number of patches."""

    x: float
    y: float
    z: float
    weight: float
    patch: float


@inlined
def point_at(points: int, stride: int, place: int, n_patches: int) -> Any:
    """Read the point at a place of a packed catalog."""
    first = place // LANES * stride + place % LANES
    weight = patch = 1.0
    if stride > 3 * LANES:
        weight = get_float(points, first + 3 * LANES)
        patch = get_float(points, first + 4 * LANES) * n_patches
    x, y = get_float(points, first), get_float(points, first + LANES)
    return Point(x, y, get_float(points, first + 2 * LANES), weight, patch)


@inlined
def _keep(buffers: Any, n: int, pair: Any, among: Any, points: int, group: int, point: Any, rule: Any) -> Any:
    """Append those pairs among eight that can fall into a bin to the buffers; how many there are then."""
    first, second, third = pair
    inside = (first < splat(rule.first_top)) & among
    if rule.form == RP_PI_AXIS:
        inside = inside & (copysign(second, splat(1.0)) < splat(rule.second_top))
    store(buffers.first, n, compress(first, inside))
    if rule.form != RADIAL:
        store(buffers.second, n, compress(second, inside))
    if rule.form == RP_PI_MIDPOINT or rule.form == S_MU_MIDPOINT:
        store(buffers.third, n, compress(third, inside))
    if rule.extra:
        store(buffers.weight, n, compress(load(points, group + 3 * LANES) * splat(point.weight), inside))
        store(buffers.patch, n, compress(load(points, group + 4 * LANES) + splat(point.patch), inside))
    return n + count(inside)


@inlined
def _pairs(point: Any, points: int, group: int, shift: Any, moved: bool, rule: Any) -> Any:
    """Measure the pairs of a point with a group."""
    return measured(
        rule, splat(point.x), splat(point.y), splat(point.z),
        load(points, group), load(points, group + LANES), load(points, group + 2 * LANES), shift, moved,
    )  # fmt: skip


@inlined
def _distances_in_run(
    distances: int, n: int, point: Any, points: int, groups: int, begin: int, end: int, shift: Any,
    moved: bool, top: float,
) -> Any:  # fmt: skip
    """`pairs_in_run` where squared distances are all that is asked for: without decisions in the loop."""
    x, y, z, limit = splat(point.x), splat(point.y), splat(point.z), splat(top)
    for k in range(begin, end):
        group = get_int(groups, k)
        x2, y2, z2 = load(points, group), load(points, group + LANES), load(points, group + 2 * LANES)
        dx, dy, dz = _apart(x2 - x, y2 - y, z2 - z, shift, moved)
        square = (dx * dx + dy * dy) + dz * dz
        inside = square < limit
        store(distances, n, compress(square, inside))
        n += count(inside)
    return n


@inlined
def _two_in_run(
    buffers: Any, n: int, point: Any, points: int, groups: int, begin: int, end: int, shift: Any, moved: bool,
    rule: Any,
) -> Any:  # fmt: skip
    """`pairs_in_run` for rp² and π along an axis."""
    x, y, z, limit = splat(point.x), splat(point.y), splat(point.z), splat(rule.first_top)
    one, highest = splat(1.0), splat(rule.second_top)
    for k in range(begin, end):
        group = get_int(groups, k)
        x2, y2, z2 = load(points, group), load(points, group + LANES), load(points, group + 2 * LANES)
        dx, dy, dz = _apart(x2 - x, y2 - y, z2 - z, shift, moved)
        across = dx * dx + dy * dy
        inside = (across < limit) & (copysign(dz, one) < highest)
        store(buffers.first, n, compress(across, inside))
        store(buffers.second, n, compress(dz, inside))
        n += count(inside)
    return n


@inlined
def pairs_in_run(
    buffers: Any, n: int, point: Any, points: int, groups: int, begin: int, end: int, shift: int, rule: Any
) -> Any:
    """Append the pairs of a point with ``groups[begin:end]``, shifted; how many the buffers then hold."""
    # Two loops, the constants of which the compiler sees: adding nothing would cost a fifth of the time.
    if get_float(shift, 0) == 0.0 and get_float(shift, 1) == 0.0 and get_float(shift, 2) == 0.0:
        return _in_run(buffers, n, point, points, groups, begin, end, shift, False, rule)
    return _in_run(buffers, n, point, points, groups, begin, end, shift, True, rule)


@inlined
def _in_run(
    buffers: Any, n: int, point: Any, points: int, groups: int, begin: int, end: int, shift: int, moved: bool,
    rule: Any,
) -> Any:  # fmt: skip
    by = (splat(get_float(shift, 0)), splat(get_float(shift, 1)), splat(get_float(shift, 2)))
    if rule.form == RADIAL and not rule.extra:
        return _distances_in_run(
            buffers.first, n, point, points, groups, begin, end, by, moved, rule.first_top
        )
    if rule.form == RP_PI_AXIS and not rule.extra:
        return _two_in_run(buffers, n, point, points, groups, begin, end, by, moved, rule)
    everyone = lane_numbers() < splat(float(LANES))
    for k in range(begin, end):
        group = get_int(groups, k)
        pair = _pairs(point, points, group, by, moved, rule)
        n = _keep(buffers, n, pair, everyone, points, group, point, rule)
    return n


@inlined
def pairs_in_own_group(
    buffers: Any, n: int, point: Any, lane: int, points: int, group: int, both: bool, rule: Any
) -> Any:
    """Append the pairs of a point with those after it in its own group, or with all others of it."""
    none = splat(0.0)
    pair = _pairs(point, points, group, (none, none, none), False, rule)
    own, lanes = splat(float(lane)), lane_numbers()
    n = _keep(buffers, n, pair, own < lanes, points, group, point, rule)
    if both:
        n = _keep(buffers, n, pair, lanes < own, points, group, point, rule)
    return n
