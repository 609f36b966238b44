"""The first stage of a staged reading: decode frames once, and lay their rows out by bands.

    stack, bands -> `staging_blocks` -> each: `decode_bands` (stored by the caller) -> `staged_band`

A block holds some frames and some neighbouring bands. What it decodes is a dict with one array a band, so
that whoever needs a band reads that array and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.inputs.image_read import read_mask_rows, read_rows
from daskpar.inputs.image_record import ImageStack, PlaneName

#: Decoded bytes of a block, at most; and at least, where that makes fewer than 64 blocks.
BLOCK_BYTES = 64 << 20
LEAST_BYTES = 4 << 20
LEAST_BLOCKS = 64
#: A block reads at least this much of each file that can be sliced; others it reads whole.
READ_BYTES = 1 << 20

Bands = Sequence[tuple[int, int]]
ReadRows = Callable[[ImageStack, int, int, int, PlaneName], NDArray[Any]]


class StagingBlock(NamedTuple):
    """Frames ``first:last`` and, of the list of bands, ``first_band:last_band``."""

    first: int
    last: int
    first_band: int
    last_band: int


def staging_blocks(stack: ImageStack, bands: Bands) -> Iterator[StagingBlock]:
    """Divide the decoding of a stack into blocks, from its headers alone.

    Compressed frames are decoded whole, each file once. Of others a block reads a run of bands that is about
    1 MiB a file, so that it can hold many frames: a band is later gathered from few blocks.

    Parameters
    ----------
    stack : ImageStack
        The record.
    bands : sequence of (int, int)
        Row bands, first row and the row after the last, in order and without gaps.

    Yields
    ------
    StagingBlock
        At most 64 MiB decoded, or one frame; runs of bands in order, and within, frames in order.
    """
    a_row = stack.shape[1] * sum(stack.plane(name).dtype.itemsize for name in stack.planes)
    total = a_row * stack.shape[0] * len(stack)
    room = min(BLOCK_BYTES, max(LEAST_BYTES, total // LEAST_BLOCKS))
    step = len(bands)
    if stack.sliceable:
        step = max(1, READ_BYTES // max(1, a_row * (bands[0][1] - bands[0][0])))
    for first_band in range(0, len(bands), step):
        last_band = min(first_band + step, len(bands))
        rows = bands[last_band - 1][1] - bands[first_band][0]
        frames = max(1, room // (a_row * rows))
        for first in range(0, len(stack), frames):
            yield StagingBlock(first, min(first + frames, len(stack)), first_band, last_band)


def stored_rows(stack: ImageStack, frame: int, start: int, stop: int, plane: PlaneName) -> NDArray[Any]:
    """Read rows of one plane of a frame as native values; masks as booleans."""
    if plane == "mask":
        return read_mask_rows(stack, frame, start, stop)
    return read_rows(stack, frame, start, stop, plane=plane)


def decode_bands(
    stack: ImageStack, bands: Bands, block: StagingBlock, read: ReadRows = stored_rows
) -> dict[str, NDArray[Any]]:
    """Read the frames of a block, each once, and lay them out by bands.

    Parameters
    ----------
    stack, bands
        As in `staging_blocks`.
    block : StagingBlock
        One of those it yields.
    read : callable
        Reads rows, as `stored_rows`.

    Returns
    -------
    dict of arrays (frames, rows, columns)
        ``data_00017`` holds band 17 of the frames of the block, native values; ``mask_00017`` (bool, True
        where masked) and ``uncertainty_00017`` where the stack has them.

    Raises
    ------
    InputError
        Where a file changed since it was scanned, or cannot be read or decoded.
    """
    count, columns = block.last - block.first, stack.shape[1]
    wanted = range(block.first_band, block.last_band)
    start, stop = bands[block.first_band][0], bands[block.last_band - 1][1]
    found: dict[str, NDArray[Any]] = {}
    for name in stack.planes:
        dtype = np.dtype(bool) if name == "mask" else stack.plane(name).dtype
        for band in wanted:
            found[_key(name, band)] = np.empty((count, bands[band][1] - bands[band][0], columns), dtype)
        for frame in range(block.first, block.last):
            rows = read(stack, frame, start, stop, name)
            for band in wanted:
                low, high = bands[band]
                found[_key(name, band)][frame - block.first] = rows[low - start : high - start]
    return found


def staged_band(
    parts: Sequence[Mapping[str, NDArray[Any]]], band: int, plane: PlaneName = "data"
) -> NDArray[Any]:
    """Put one band of all frames together; (frames, rows, columns).

    Parameters
    ----------
    parts : sequence of mappings
        What `decode_bands` gave for the blocks that hold the band, in the order of the frames; each may be a
        stored record that reads an array only when it is asked for.
    band : int
        Its number.
    plane : {"data", "mask", "uncertainty"}
        Which image of the frames.
    """
    return np.concatenate([part[_key(plane, band)] for part in parts])


def _key(plane: str, band: int) -> str:
    return f"{plane}_{band:05d}"
