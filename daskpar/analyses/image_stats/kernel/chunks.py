"""The loop over a band, a few tiles at a time: load, sort, reject, combine.

A chunk of tiles stays in a core's own cache from stage to stage. Each stage is compiled on its own, when
it is first
needed, and releases Python's lock while it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .bounds import parts
from .clip import clip_chunk
from .compiled import LANES, Array, padded_rows
from .finish import MEAN, finish_chunk
from .load import Frames, load_chunk
from .moments import moments_chunk
from .network import sort_chunk
from .options import MINMAX, NONE, Rejection
from .rejected import count_rejected, new_gone
from .settle import settle_chunk
from .state import Chunk, new_chunk, new_scratch


class Task(NamedTuple):
    """What to do with a band: rejection, method and its percentile, dtypes of the results and of the work."""

    rule: Rejection
    method: int
    percent: float
    result: np.dtype[Any]
    work: np.dtype[Any]


class Output(NamedTuple):
    """Planes of a band, flat over its pixels, and the table of frames.

    ``numbers``, shape (3, pixels), are the values used, rejected below and rejected above.
    """

    combined: Array
    uncertainty: Array
    numbers: Array
    frame_low: Array
    frame_high: Array

    @property
    def used(self) -> Array:
        """Values used of each pixel."""
        plane: Array = self.numbers[0]
        return plane

    @property
    def rejected_low(self) -> Array:
        """Values rejected below, of each pixel."""
        plane: Array = self.numbers[1]
        return plane

    @property
    def rejected_high(self) -> Array:
        """Values rejected above, of each pixel."""
        plane: Array = self.numbers[2]
        return plane


def new_output(n: int, pixels: int, dtype: np.dtype[Any]) -> Output:
    """Return unset planes."""
    numbers = np.empty((3, pixels), np.int32)
    return Output(np.empty(pixels, dtype), np.empty(pixels, dtype), numbers, *np.zeros((2, n), np.int64))


def sorted_chunks(frames: Frames, work: np.dtype[Any]) -> Iterator[tuple[Chunk, int, int, int]]:
    """Load and sort a band chunk by chunk.

    Yields
    ------
    chunk : Chunk
        The same memory each time.
    size, start, pixels : int
        Values in a tile, first pixel, number of pixels.
    """
    n, total = frames.words.shape
    chunk, size = new_chunk(n, total, work), padded_rows(n) * LANES
    step = chunk.total.size
    for start in range(0, total, step):
        pixels = min(step, total - start)
        load_chunk(frames, start, pixels, size, chunk)
        sort_chunk(chunk, n, size, pixels)
        yield chunk, size, start, pixels


def reject_extremes(chunk: Chunk, n: int, rule: Rejection) -> None:
    """Drop the lowest and highest values of each pixel.

    Definition: IRAF's minmax. Of a pixel with fewer than n values, the same fractions, rounded down.
    """
    total = chunk.total.astype(np.int64)
    chunk.state.first[:] = total * rule.n_low // n
    chunk.state.last[:] = total - total * rule.n_high // n


def combine(
    frames: Frames, task: Task, then: Callable[[Chunk, int, int, int], None] | None = None
) -> Output:
    """Combine all pixels of a band.

    Sigma clipping repeats in exact arithmetic the pixels in which rounding might have decided.

    Parameters
    ----------
    frames, task
        The band, and what to do.
    then : callable, optional
        Called with what `sorted_chunks` yields when a chunk is done, while it is in the cache.
    """
    n, total = frames.words.shape
    out, scratch = new_output(n, total, task.result), new_scratch(n, task.work)
    gone = new_gone(n, task.work)
    for chunk, size, start, pixels in sorted_chunks(frames, task.work):
        if task.rule.kind in (NONE, MINMAX):
            if task.rule.kind == MINMAX:
                reject_extremes(chunk, n, task.rule)
            moments_chunk(chunk, size, pixels)
        else:
            clip_chunk(chunk, n, pixels, task.rule, scratch, *parts(task.rule))
            if chunk.unsure[:pixels].any():
                settle_chunk(chunk, size, pixels, task.rule)
                moments_chunk(chunk, size, pixels)
        if task.rule.kind != NONE:
            count_rejected(chunk, n, size, pixels, gone, out.frame_low, out.frame_high)
        percent = None if task.method == MEAN else task.percent
        planes = out.combined, out.uncertainty, out.numbers
        finish_chunk(chunk, size, start, pixels, task.method, percent, *planes)
        if then is not None:
            then(chunk, size, start, pixels)
    return out
