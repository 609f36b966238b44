"""The loop over a band, a few tiles at a time: load, sort, reject, combine.

A chunk of tiles stays in a core's own cache from stage to stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .bounds import parts
from .clip import clip_chunk
from .compiled import LANES, Array, compiled, inner, padded_rows
from .finish import MEAN, finish_chunk
from .load import Frames, load_chunk, steps_to_load
from .moments import moments_chunk
from .network import sort_chunk
from .options import MINMAX, NONE, Rejection
from .rejected import Gone, count_rejected, new_gone
from .settle import settle_chunk
from .state import Chunk, Scratch, new_chunk, new_scratch


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


@compiled
def load_and_sort(
    frames: Frames, shift: Any, adjust: bool | None, start: int, pixels: int, size: int, chunk: Chunk
) -> None:
    """Load a chunk and sort it."""
    load_chunk(frames, shift, adjust, start, pixels, size, chunk.values)
    sort_chunk(chunk, frames.words.shape[0], size, pixels)


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
    steps = steps_to_load(frames, work)
    for start in range(0, total, chunk.total.size):
        pixels = min(chunk.total.size, total - start)
        load_and_sort(*steps, start, pixels, size, chunk)
        yield chunk, size, start, pixels


@inner
def reject_extremes(chunk: Chunk, n: int, rule: Rejection) -> None:
    """Drop the lowest and highest values of each pixel.

    Definition: IRAF's minmax. Of a pixel with fewer than n values, the same fractions, rounded down.
    """
    first, last, totals = chunk.state.first, chunk.state.last, chunk.total
    low, high = rule.n_low, rule.n_high
    for j in range(totals.size):
        total = np.int64(totals[j])
        first[j], last[j] = total * low // n, total - total * high // n


@compiled
def work_chunks(
    frames: Frames, shift: Any, adjust: bool | None, start: int, end: int, size: int, chunk: Chunk,
    rule: Rejection, clip: bool | None, extremes: bool | None, mad: bool | None, winsorized: bool | None,
    simple: bool | None, scratch: Scratch, gone: Gone, low: Array, high: Array, method: int,
    percent: float | None, combined: Array, uncertainty: Array, numbers: Array,
) -> int:  # fmt: skip
    """Do everything to pixels from ``start`` to ``end``, chunk by chunk; return where this stops.

    That is at the end; or at the first pixel of a chunk that is clipped, but has pixels that are unsure. All
    this time other threads have the interpreter's lock. Parts that an argument None leaves out are not
    compiled.
    """
    n, step = frames.words.shape[0], chunk.total.size
    while start < end:
        pixels = min(step, end - start)
        load_chunk(frames, shift, adjust, start, pixels, size, chunk.values)
        sort_chunk(chunk, n, size, pixels)
        if clip is None:
            if extremes is not None:
                reject_extremes(chunk, n, rule)
            moments_chunk(chunk, size, pixels)
        else:
            clip_chunk(chunk, n, pixels, rule, scratch, mad, winsorized, simple)
            for j in range(pixels):
                if chunk.unsure[j]:
                    return start
        if not (clip is None and extremes is None):
            count_rejected(chunk, n, size, pixels, gone, low, high)
        finish_chunk(chunk, size, start, pixels, method, percent, combined, uncertainty, numbers)
        start += pixels
    return start


@compiled
def finish_settled(
    n: int, start: int, pixels: int, size: int, chunk: Chunk, gone: Gone, low: Array, high: Array,
    method: int, percent: float | None, combined: Array, uncertainty: Array, numbers: Array,
) -> None:  # fmt: skip
    """Do what is left of a chunk whose unsure pixels have been settled."""
    moments_chunk(chunk, size, pixels)
    count_rejected(chunk, n, size, pixels, gone, low, high)
    finish_chunk(chunk, size, start, pixels, method, percent, combined, uncertainty, numbers)


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
    (n, total), rule = frames.words.shape, task.rule
    out, scratch, gone = new_output(n, total, task.result), new_scratch(n, task.work), new_gone(n, task.work)
    chunk, size = new_chunk(n, total, task.work), padded_rows(n) * LANES
    clip = True if rule.kind not in (NONE, MINMAX) else None
    extremes = True if rule.kind == MINMAX else None
    percent = None if task.method == MEAN else task.percent
    tables, planes = (gone, out.frame_low, out.frame_high), (out.combined, out.uncertainty, out.numbers)
    steps, step, start = steps_to_load(frames, task.work), chunk.total.size, 0
    while start < total:
        end = total if then is None else min(start + step, total)
        stop = work_chunks(
            *steps, start, end, size, chunk, rule, clip, extremes, *parts(rule), scratch, *tables,
            task.method, percent, *planes,
        )  # fmt: skip
        if stop < end:
            pixels = min(step, total - stop)
            settle_chunk(chunk, size, pixels, rule)
            finish_settled(n, stop, pixels, size, chunk, *tables, task.method, percent, *planes)
            stop += pixels
        if then is not None:
            then(chunk, size, start, end - start)
        start = stop
    return out
