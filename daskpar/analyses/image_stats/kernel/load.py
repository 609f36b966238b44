"""Filling a tile: bytes as they stand in a file become finite numbers and +inf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled, swap_bytes

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


@compiled
def copy_row(source: Array, out: Array) -> None:
    """Convert a row of numbers."""
    for j in range(out.size):
        out[j] = source[j]


@compiled
def swap_row(source: Array, out: Array) -> Array:
    """Reverse the bytes of each word; return the words."""
    for j in range(source.size):
        out[j] = swap_bytes(source[j])
    return out[: source.size]


@compiled
def blank_row(source: Array, blank: int, out: Array) -> None:
    """Put NaN where the word is ``blank``."""
    for j in range(out.size):
        if source[j] == blank:
            out[j] = np.nan


@compiled
def rescale_row(unit: Unit, out: Array) -> None:
    """Apply FITS BSCALE and BZERO in the type of ``out``, as astropy does."""
    bscale, bzero = out.dtype.type(unit.bscale), out.dtype.type(unit.bzero)
    for j in range(out.size):
        value = out[j] * bscale
        out[j] = value + bzero


@compiled
def finish_integers(signed: Array, unsigned: Array, unit: Unit, out: Array) -> None:
    """Convert integers, signed or not, with their FITS scaling."""
    if unit.kind == SIGNED:
        copy_row(signed, out)
    else:
        copy_row(unsigned, out)
    if unit.rescale:
        rescale_row(unit, out)
    if unit.has_blank and unit.kind == SIGNED:
        blank_row(signed, unit.blank, out)
    elif unit.has_blank:
        blank_row(unsigned, unit.blank, out)


@compiled
def decode_row(raw: Array, unit: Unit, scratch: Array, out: Array) -> None:
    """Turn the bytes of a row into numbers; ``scratch`` holds a row of words of any size."""
    if unit.size == 4:
        four = raw.view(np.uint32)
        if unit.swap:
            four = swap_row(four, scratch.view(np.uint32))
        if unit.kind == FLOAT:
            copy_row(four.view(np.float32), out)
        else:
            finish_integers(four.view(np.int32), four, unit, out)
    elif unit.size == 2:
        two = raw.view(np.uint16)
        if unit.swap:
            two = swap_row(two, scratch.view(np.uint16))
        finish_integers(two.view(np.int16), two, unit, out)
    elif unit.size == 1:
        finish_integers(raw.view(np.int8), raw, unit, out)
    else:
        eight = raw.view(np.uint64)
        if unit.swap:
            eight = swap_row(eight, scratch.view(np.uint64))
        if unit.kind == FLOAT:
            copy_row(eight.view(np.float64), out)
        else:
            finish_integers(eight.view(np.int64), eight, unit, out)
    if unit.rescale and unit.kind == FLOAT:
        rescale_row(unit, out)


@compiled
def finish_row(out: Array, count: Array) -> None:
    """Replace what is not finite by +inf, count what is, and make zeros positive."""
    zero, infinite = out.dtype.type(0.0), out.dtype.type(np.inf)
    for j in range(out.size):
        value = out[j]
        finite = abs(value) < infinite
        # Adding zero turns -0.0 into 0.0: equal values must have equal bits, whatever their order.
        out[j] = value + zero if finite else infinite
        count[j] += np.int32(1) if finite else np.int32(0)


@compiled
def load_tile(
    source: Array, unit: Unit, masks: Array, affine: Array, start: int, lanes: int, scratch: Array, tile: Array,
    count: Array,
) -> None:  # fmt: skip
    """Load ``lanes`` pixels of all frames into a tile, from pixel ``start``.

    Parameters
    ----------
    source : ndarray of uint8, shape (n, pixels * unit.size)
        The bytes of the frames.
    unit : Unit
        What the bytes mean.
    masks : ndarray of bool, shape (n, pixels) or (0, 0)
        True where a pixel must not be used.
    affine : ndarray of float64, shape (n, 2) or (0, 2)
        Zero level and scale of each frame: a value becomes (value - zero) * scale.
    scratch : ndarray of uint64, shape (LANES,)
        Room for the swapped words of a row.
    tile : ndarray of float, flat
        Filled with the finite values, and +inf elsewhere.
    count : ndarray of int32, shape (LANES,)
        Set to the number of finite values of each pixel.
    """
    count[:] = 0
    begin, end = start * unit.size, (start + lanes) * unit.size
    for frame in range(source.shape[0]):
        out = tile[frame * LANES : frame * LANES + lanes]
        decode_row(source[frame, begin:end], unit, scratch, out)
        if masks.size:
            hidden = masks[frame, start : start + lanes]
            for j in range(lanes):
                if hidden[j]:
                    out[j] = np.nan
        if affine.size:
            zero, scale = affine[frame, 0], affine[frame, 1]
            for j in range(lanes):
                out[j] = (out[j] - zero) * scale
        finish_row(out, count)
