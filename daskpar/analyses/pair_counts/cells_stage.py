"""From points in pieces to blocks of pairs: the plan, the catalog sorted by block, one block's count.

Plain functions on arrays, without dask, so that every version of the analysis can use them. A *piece* is some
points of a sample as they were read: ``positions`` (n, 3) and, where there are any, ``weights`` (n,). The
*plan* says how space is cut into cells and the cells into ranges, one a block. A *sorted piece* holds its
points by block: the array ``"17"`` has the rows (x, y, z), or (x, y, z, weight, patch) where weights or
patches matter, of those that lie in the cells of block 17, in the order they had.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.blocks import (
    imbalance,
    needed_cells,
    number_of_blocks,
    partition,
    predict_cost,
)
from daskpar.analyses.pair_counts.kernel.by_block import by_block
from daskpar.analyses.pair_counts.kernel.cells import Layout, cell_numbers, pack
from daskpar.analyses.pair_counts.kernel.layout import choose_layout, typical_density
from daskpar.analyses.pair_counts.kernel.partial import Partial, Wanted, partial
from daskpar.analyses.pair_counts.kernel.survey import along_axes, corners
from daskpar.analyses.pair_counts.patches import assign_patches
from daskpar.errors import InputError
from daskpar.stored_value import some_of

Floats = NDArray[np.float64]
Piece = Mapping[str, NDArray[Any]]

SAMPLE = 200_000
"""Points from which the density is measured."""
RICHER = 3.0
"""What a distance costs where more is asked than how many pairs lie in the bins of one axis."""
MOST_CELLS = 20_000_000
"""A grid has about half as many cells at most; the plan holds a few numbers for each."""


class Question(NamedTuple):
    """What is counted: binning, periodic box (0: not periodic), whether one sample or two are paired."""

    binning: Binning
    boxsize: tuple[float, float, float]
    auto: bool
    wanted: Wanted = Wanted()

    @property
    def doubled(self) -> bool:
        """Whether each pair is visited once and stands for two."""
        return self.auto and not self.binning.signed

    @property
    def columns(self) -> int:
        """What is kept of a point: its place, or also weight and patch."""
        return 5 if self.wanted.weights or self.wanted.n_patches else 3


def make_plan(
    question: Question, one: Sequence[Piece], two: Sequence[Piece], at_most: int
) -> dict[str, NDArray[Any]]:
    """Choose cells and blocks from all points, piece by piece.

    Parameters
    ----------
    question : Question
    one, two : sequences of pieces
        The samples; ``two`` is empty where the first is paired with itself.
    at_most : int
        Blocks.

    Returns
    -------
    dict of arrays
        ``layout``, float64 (13,); ``ranges``, int64 (blocks, 2), the cells of each block; ``costs``, of each,
        as predicted; ``distances``, their sum; and ``imbalance``, the dearest over the mean.

    Raises
    ------
    daskpar.errors.InputError
        Positions that span more than the periodic box.
    """
    low, high, sizes = extent([one, two])
    step = sample_step(sizes[0 if question.auto else 1])
    some = sampled(one if question.auto else two, step)
    layout = layout_from(question, low, high, sizes, some, step)
    first = occupation(question, layout, one)
    second = first if question.auto else occupation(question, layout, two)
    return plan_from(question, layout, first, second, at_most)


def plan_from(
    question: Question, layout: Layout, first: NDArray[np.int64], second: NDArray[np.int64], at_most: int
) -> dict[str, NDArray[Any]]:
    """Return the plan for a layout and the numbers of points in its cells; see `make_plan`."""
    cost = predict_cost(layout, question.binning.reach, first, second, half=question.doubled)
    plain = not (question.binning.two_axes or any(question.wanted))
    blocks = number_of_blocks(float(cost.sum()) * (1.0 if plain else RICHER), at_most=at_most)
    ranges = partition(cost, blocks)
    return {
        "layout": np.array(layout, np.float64),
        "ranges": np.array(ranges, np.int64).reshape(-1, 2),
        "costs": np.array([cost[a:b].sum() for a, b in ranges], np.float64),
        "distances": np.array(cost.sum()),
        "imbalance": np.array(imbalance(cost, ranges)),
    }


def extent(samples: Sequence[Sequence[Piece]]) -> tuple[Floats, Floats, list[int]]:
    """Return smallest and largest coordinates of all points, and how many each sample has."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    sizes = []
    for sample in samples:
        sizes.append(0)
        for piece in sample:
            positions = piece["positions"]
            sizes[-1] += len(positions)
            if len(positions):
                lowest, highest = corners(positions)
                low, high = np.minimum(low, lowest), np.maximum(high, highest)
    return low, high, sizes


def sample_step(points: int) -> int:
    """Return that every how-manieth point of a sample is enough to measure its density."""
    return max(1, -(-points // SAMPLE))


def sampled(pieces: Sequence[Piece], step: int) -> Floats:
    """Return some points of every piece."""
    # Copies, since a view would keep the whole piece in memory.
    return np.concatenate([np.empty((0, 3)), *(piece["positions"][::step].copy() for piece in pieces)])


def layout_from(
    question: Question, low: Floats, high: Floats, sizes: Sequence[int], some: Floats, step: int
) -> Layout:
    """Choose cells from what `extent` and `sampled` tell of all points.

    Raises
    ------
    daskpar.errors.InputError
        Positions that span more than the periodic box.
    """
    binning, order = question.binning, list(question.binning.axes)
    if not np.all(np.isfinite(low)):
        low = high = np.zeros(3)
    plane, along, space = binning.reach
    periods = tuple(question.boxsize[axis] for axis in order)
    try:
        return choose_layout(
            low[order],
            high[order],
            binning.reach,
            (periods[0], periods[1], periods[2]),
            points=min(max(sizes), MOST_CELLS),
            density=typical_density(some, min(max(plane, along), space)) * step,
        )
    except ValueError as error:
        raise InputError(str(error), "give the size of the box the points lie in", key="boxsize") from error


def occupation(question: Question, layout: Layout, pieces: Iterable[Piece]) -> NDArray[np.int64]:
    """Return the number of points in each cell."""
    found = np.zeros(layout.cells, np.int64)
    for piece in pieces:
        cells = cell_numbers(along_axes(piece["positions"], question.binning), layout)
        np.add.at(found, cells, 1)
    return found


def layout_of(plan: Mapping[str, NDArray[Any]]) -> Layout:
    """Return the layout that a plan holds."""
    numbers = plan["layout"].tolist()
    return Layout(*numbers[:6], *map(int, numbers[6:9]), *numbers[9:])


def sort_piece(
    question: Question, plan: Mapping[str, NDArray[Any]], piece: Piece, centres: Floats | None = None
) -> dict[str, NDArray[np.float64]]:
    """Sort the points of a piece by the block whose cells they lie in.

    Parameters
    ----------
    question : Question
    plan : from `make_plan`
    piece : Piece
    centres : float64, shape (n_patches, 3), optional
        The nearest says which patch a point belongs to.
    """
    positions, starts = piece["positions"], plan["ranges"][:, 0]
    placed = along_axes(positions, question.binning)
    rows = placed
    if question.columns > 3:
        rows = np.empty((len(positions), question.columns))
        rows[:, :3] = placed
        rows[:, 3] = piece["weights"] if "weights" in set(piece) else 1
        rows[:, 4] = 0 if centres is None or not len(positions) else assign_patches(positions, centres)
    rows, bounds = by_block(rows, cell_numbers(placed, layout_of(plan)), starts)
    spans = zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    return {str(k): rows[a:b] for k, (a, b) in enumerate(spans) if a < b}


def count_block(
    question: Question,
    plan: Mapping[str, NDArray[Any]],
    one: Sequence[Mapping[str, NDArray[Any]]],
    two: Sequence[Mapping[str, NDArray[Any]]],
    block: int,
) -> Partial:
    """Count the pairs whose first point lies in the cells of a block; zeros for a block beyond the plan's.

    Parameters
    ----------
    question : Question
    plan : from `make_plan`
    one, two : sequences of sorted pieces
        Only the blocks within reach are read of them. ``two`` is empty where the first is paired with itself.
    block : int
    """
    layout, ranges = layout_of(plan), plan["ranges"]
    if block >= len(ranges):
        nothing = _packed(question, layout, np.empty((0, question.columns)))
        return partial(layout, (0, 0), nothing, nothing if two else None, question.binning, question.wanted)
    first, last = map(int, ranges[block])
    buckets = needed_blocks(question, plan, block)
    points = _packed(question, layout, _gather(question, one, buckets if question.auto else [block]))
    others = None if question.auto else _packed(question, layout, _gather(question, two, buckets))
    return partial(layout, (first, last), points, others, question.binning, question.wanted)


def needed_blocks(question: Question, plan: Mapping[str, NDArray[Any]], block: int) -> list[int]:
    """Return the blocks, itself included, whose cells hold points within reach of a block."""
    ranges = plan["ranges"]
    first, last = map(int, ranges[block])
    return _buckets(ranges[:, 0], needed_cells(layout_of(plan), question.binning.reach, (first, last)))


def _buckets(starts: NDArray[np.int64], near: NDArray[np.int64]) -> list[int]:
    """Return the blocks that hold some ranges of cells."""
    low = np.maximum(np.searchsorted(starts, near[:, 0], side="right") - 1, 0)
    high = np.maximum(np.searchsorted(starts, near[:, 1] - 1, side="right") - 1, 0)
    wanted: set[int] = set()
    for a, b in zip(low.tolist(), high.tolist(), strict=True):
        wanted.update(range(a, b + 1))
    return sorted(wanted)


def _gather(
    question: Question, pieces: Sequence[Mapping[str, NDArray[Any]]], buckets: Sequence[int]
) -> Floats:
    """Return the rows of some blocks."""
    names = [str(block) for block in buckets]
    held = [some_of(piece, names) for piece in pieces]
    parts = [piece[name] for name in names for piece in held if name in piece]
    return np.concatenate([np.empty((0, question.columns)), *parts])


def _packed(question: Question, layout: Layout, rows: Floats) -> Any:
    wanted = question.wanted
    return pack(
        rows[:, :3],
        layout,
        np.ascontiguousarray(rows[:, 3]) if wanted.weights else None,
        rows[:, 4].astype(np.int64) if wanted.n_patches else None,
    )
