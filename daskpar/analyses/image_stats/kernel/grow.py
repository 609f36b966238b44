"""Rejecting the neighbours of rejected values, in the same frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .chunks import Output, Task, sorted_chunks
from .compiled import LANES, Array, compiled
from .load import Frames
from .options import rejection
from .state import Chunk
from .weighted import weigh

LOW, HIGH = 1, 2


@compiled
def mark_chunk(chunk: Chunk, n: int, size: int, start: int, pixels: int, ranks: Array, marks: Array) -> None:
    """Mark the rejected values of pixels from ``start``; see `marked`."""
    for j in range(pixels):
        base = j // LANES * size + j % LANES
        low, high = ranks[0, start + j], chunk.total[j] - ranks[1, start + j]
        below = chunk.ranked[base + max(low - 1, 0) * LANES]
        above = chunk.ranked[base + min(ranks[1, start + j], n - 1) * LANES]
        for frame in range(n):
            x = chunk.values[base + frame * LANES]
            if low > 0 and x <= below:
                marks[frame, start + j] = LOW
                low -= 1
            elif high > 0 and above <= x < np.inf:
                marks[frame, start + j] = HIGH
                high -= 1


def marked(frames: Frames, task: Task, out: Output) -> NDArray[np.int8]:
    """Return LOW or HIGH where a value was rejected, else 0; shape (n, pixels)."""
    n, total = frames.words.shape
    marks = np.zeros((n, total), np.int8)
    ranks = np.stack([out.rejected_low, out.rejected_low + out.used])
    for chunk, size, start, pixels in sorted_chunks(frames, task.work):
        mark_chunk(chunk, n, size, start, pixels, ranks, marks)
    return marks


def neighbourhood(radius: float) -> NDArray[np.bool_]:
    """Return the pixels within ``radius`` of the central one, the meaning of IRAF's ``grow``."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(y * y + x * x <= radius * radius)


def grow_rejected(
    frames: Frames, task: Task, out: Output, radius: float, shape: tuple[int, int, int],
    halo: tuple[int, int], weights: Array | None = None, errors: Array | None = None,
) -> tuple[Output, dict[str, Array]]:  # fmt: skip
    """Combine again without the values within ``radius`` pixels of a rejected one in the same frame.

    Parameters
    ----------
    frames, task, out
        The band, what was done, and what came of it.
    radius : float
        In pixels.
    shape : tuple of int
        Frames, rows, columns.
    halo : tuple of int
        Rows at top and bottom that do not belong in the table of frames.
    weights, errors
        As in `weigh`.

    Returns
    -------
    out : Output
        Rejection counts are those before growing.
    extra : dict
        ``rejected_grown``, values lost to their neighbours, and what `weigh` gives.
    """
    from scipy.ndimage import binary_dilation  # few grow, and it takes longer to import than all the rest

    n, rows, _ = shape
    marks = marked(frames, task, out).reshape(shape)
    near = neighbourhood(radius)
    gone = np.stack([binary_dilation(frame, near) for frame in marks != 0]).reshape(n, -1)
    frames = frames._replace(masks=gone | frames.masks if frames.masks.size else gone)
    again, extra = weigh(frames, task._replace(rule=rejection("none")), weights, errors)
    inside = marks[:, halo[0] : rows - halo[1]]
    merged = again._replace(
        numbers=np.stack([again.used, out.rejected_low, out.rejected_high]),
        frame_low=(inside == LOW).sum((1, 2), dtype=np.int64),
        frame_high=(inside == HIGH).sum((1, 2), dtype=np.int64),
    )
    return merged, {"rejected_grown": out.used - again.used, **extra}
