"""Rejecting the neighbours of rejected values, in the same frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from .columns import Scratch
from .compiled import LANES, Array, compiled
from .load import Frames, frame_and_pixel_numbers, load_tile
from .network import sort_tile

LOW, HIGH = 1, 2


@compiled
def mark_columns(frames: Frames, ranks: Array, scratch: Scratch, marks: Array) -> None:
    """Mark every rejected value as LOW or HIGH.

    Parameters
    ----------
    frames : Frames
        The band.
    ranks : ndarray of int32, shape (2, pixels)
        First rank used and end of the ranks used.
    scratch : Scratch
        Tiles of `padded_rows` rows filled with +inf.
    marks : ndarray of int8, shape (n, pixels)
        Result; zeros on entry.
    """
    n, pixels = frame_and_pixel_numbers(frames)
    count = np.zeros(LANES, np.int32)
    for start in range(0, pixels, LANES):
        lanes = min(LANES, pixels - start)
        load_tile(frames, start, lanes, scratch.values, count)
        sort_tile(scratch.values, scratch.ranked, n)
        for j in range(lanes):
            low, high = ranks[0, start + j], count[j] - ranks[1, start + j]
            below = scratch.ranked[max(low - 1, 0) * LANES + j]
            above = scratch.ranked[min(ranks[1, start + j], n - 1) * LANES + j]
            for frame in range(n):
                x = scratch.values[frame * LANES + j]
                if low > 0 and x <= below:
                    marks[frame, start + j] = LOW
                    low -= 1
                elif high > 0 and above <= x < np.inf:
                    marks[frame, start + j] = HIGH
                    high -= 1


def neighbourhood(radius: float) -> NDArray[np.bool_]:
    """Return the pixels within ``radius`` of the central one, the meaning of IRAF's ``grow``."""
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(y * y + x * x <= radius * radius)


def grown(rejected: NDArray[np.bool_], radius: float) -> NDArray[np.bool_]:
    """Return the rejected values and all within ``radius`` pixels of one in the same frame; shape (n, rows, x)."""
    shape = neighbourhood(radius)
    return np.stack([binary_dilation(frame, shape) for frame in rejected])
