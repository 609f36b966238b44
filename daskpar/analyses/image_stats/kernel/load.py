"""Filling a tile: bytes as they stand in a file become finite numbers and +inf."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled, reinterpret, swap_bytes

#: How the bits of a source are to be read.
FLOAT, SIGNED, UNSIGNED = 0, 1, 2


class Unit(NamedTuple):
    """What the bytes of a source mean: bytes a word, kind of number, byte order, and the FITS scaling."""

    size: int
    kind: int
    swap: bool
    rescale: bool
    bscale: float
    bzero: float
    has_blank: bool
    blank: int


class Frames(NamedTuple):
    """A row band of frames, flat over its pixels.

    source : ndarray of uint8, shape (n, pixels * unit.size), the bytes of the frames; what they mean is in ``unit``.
    masks : ndarray of bool, shape (n, pixels) or (0, 0), True where a value must not be used.
    affine : ndarray of float64, shape (n, 2) or (0, 2), zero level and scale of each frame: a value
    becomes (value - zero) * scale.
    """

    source: Array
    unit: Unit
    masks: Array
    affine: Array


@compiled
def frame_and_pixel_numbers(frames: Frames) -> tuple[int, int]:
    """Return the number of frames and of pixels in each."""
    return frames.source.shape[0], frames.source.shape[1] // frames.unit.size


@compiled
def decode_row(words: Array, like: Any, swap: bool, out: Array) -> None:
    """Turn a row of words into numbers whose bits are read as the type of ``like``."""
    if swap:
        for j in range(out.size):
            out[j] = reinterpret(swap_bytes(words[j]), like)
    else:
        for j in range(out.size):
            out[j] = reinterpret(words[j], like)


@compiled
def decode(words: Array, like: Any, swap: bool, start: int, lanes: int, tile: Array) -> None:
    """Decode ``lanes`` pixels of all frames. (Slices, because their indices are known not to be negative.)"""
    for frame in range(words.shape[0]):
        base = frame * LANES
        decode_row(words[frame, start : start + lanes], like, swap, tile[base : base + lanes])


@compiled
def decode_any(source: Array, unit: Unit, start: int, lanes: int, tile: Array) -> None:
    """Turn the bytes of all frames into numbers, whatever their type."""
    if unit.size == 4:
        four = source.view(np.uint32)
        if unit.kind == FLOAT:
            decode(four, np.float32(0), unit.swap, start, lanes, tile)
        elif unit.kind == SIGNED:
            decode(four, np.int32(0), unit.swap, start, lanes, tile)
        else:
            decode(four, np.uint32(0), unit.swap, start, lanes, tile)
    elif unit.size == 2:
        two = source.view(np.uint16)
        if unit.kind == SIGNED:
            decode(two, np.int16(0), unit.swap, start, lanes, tile)
        else:
            decode(two, np.uint16(0), unit.swap, start, lanes, tile)
    elif unit.size == 8:
        eight = source.view(np.uint64)
        if unit.kind == FLOAT:
            decode(eight, np.float64(0), unit.swap, start, lanes, tile)
        elif unit.kind == SIGNED:
            decode(eight, np.int64(0), unit.swap, start, lanes, tile)
        else:
            decode(eight, np.uint64(0), unit.swap, start, lanes, tile)
    elif unit.kind == SIGNED:
        decode(source, np.int8(0), False, start, lanes, tile)
    else:
        decode(source, np.uint8(0), False, start, lanes, tile)


@compiled
def rescale(unit: Unit, n: int, lanes: int, tile: Array) -> None:
    """Apply FITS BLANK, BSCALE and BZERO, in the type of the tile, as astropy does."""
    kind = tile.dtype.type
    bscale, bzero, blank, nan = kind(unit.bscale), kind(unit.bzero), kind(unit.blank), kind(np.nan)
    for frame in range(n):
        base = frame * LANES
        for j in range(lanes):
            word = tile[base + j]
            value = word * bscale
            tile[base + j] = nan if unit.has_blank and word == blank else value + bzero


@compiled
def hide(masks: Array, start: int, lanes: int, tile: Array) -> None:
    """Put NaN where a mask is set."""
    nan = tile.dtype.type(np.nan)
    for frame in range(masks.shape[0]):
        base = frame * LANES
        for j in range(lanes):
            tile[base + j] = nan if masks[frame, start + j] else tile[base + j]


@compiled
def transform(affine: Array, lanes: int, tile: Array) -> None:
    """Subtract the zero level of each frame, and multiply by its scale."""
    for frame in range(affine.shape[0]):
        base, zero, scale = frame * LANES, affine[frame, 0], affine[frame, 1]
        for j in range(lanes):
            tile[base + j] = (tile[base + j] - zero) * scale


@compiled
def finish_row(out: Array, count: Array) -> None:
    """Replace what is not finite by +inf, and count what is."""
    infinite, zero = out.dtype.type(np.inf), out.dtype.type(0.0)
    for j in range(out.size):
        value = out[j]
        # Adding zero turns -0.0 into 0.0: equal values must have equal bits, whatever their order.
        value = value + zero if abs(value) < infinite else infinite
        out[j] = value
        count[j] += np.int32(1) if value < infinite else np.int32(0)


@compiled
def load_tile(frames: Frames, start: int, lanes: int, tile: Array, count: Array) -> None:
    """Load ``lanes`` pixels of all frames into a tile, from pixel ``start``.

    Parameters
    ----------
    frames : Frames
        Where they come from.
    start, lanes : int
        Which pixels; at most LANES.
    tile : ndarray of float, flat
        Filled with the finite values, and +inf elsewhere.
    count : ndarray of int32, shape (LANES,)
        Set to the number of finite values of each pixel.
    """
    n = frames.source.shape[0]
    decode_any(frames.source, frames.unit, start, lanes, tile)
    if frames.unit.rescale or frames.unit.has_blank:
        rescale(frames.unit, n, lanes, tile)
    if frames.masks.size:
        hide(frames.masks, start, lanes, tile)
    if frames.affine.size:
        transform(frames.affine, lanes, tile)
    count[:] = 0
    for frame in range(n):
        base = frame * LANES
        finish_row(tile[base : base + lanes], count)
