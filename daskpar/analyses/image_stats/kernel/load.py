"""Filling a tile: bytes as they stand in a file become finite numbers and +inf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .compiled import LANES, Array, compiled, swap_bytes

#: How the bits of a source are to be read.
FLOAT, SIGNED, UNSIGNED = 0, 1, 2


class Unit(NamedTuple):
    """What the words of a source mean: kind of number, byte order, and the FITS scaling."""

    kind: int
    swap: bool
    rescale: bool
    bscale: float
    bzero: float
    has_blank: bool
    blank: int


@compiled
def decode_row(source: Array, unit: Unit, bits: Array, floats: Array, signed: Array, out: Array) -> None:
    """Read one row of raw words into numbers."""
    lanes = source.size
    kind = unit.kind
    if unit.swap:
        for j in range(lanes):
            bits[j] = swap_bytes(source[j])
    else:
        for j in range(lanes):
            bits[j] = source[j]
    if kind == FLOAT:
        for j in range(lanes):
            out[j] = floats[j]
    elif kind == SIGNED:
        for j in range(lanes):
            out[j] = signed[j]
    else:
        for j in range(lanes):
            out[j] = bits[j]


@compiled
def rescale_row(out: Array, signed: Array, kind: int, bits: Array, unit: Unit) -> None:
    """Apply FITS BSCALE, BZERO and BLANK, in the type of ``out``, as astropy does."""
    bscale, bzero, blank = out.dtype.type(unit.bscale), out.dtype.type(unit.bzero), unit.blank
    for j in range(out.size):
        value = out[j] * bscale
        out[j] = value + bzero
    if unit.has_blank:
        for j in range(out.size):
            if (signed[j] if kind == SIGNED else np.int64(bits[j])) == blank:
                out[j] = np.nan


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
    source: Array, unit: Unit, masks: Array, affine: Array, start: int, lanes: int,
    bits: Array, floats: Array, signed: Array, tile: Array, count: Array,
) -> None:  # fmt: skip
    """Load ``lanes`` pixels of all frames into a tile, from pixel ``start``.

    Parameters
    ----------
    source : ndarray of unsigned integers, shape (n, pixels)
        The words of the frames, of any byte order.
    unit : Unit
        What the words mean.
    masks : ndarray of bool, shape (n, pixels) or (0, 0)
        True where a pixel must not be used.
    affine : ndarray of float64, shape (n, 2) or (0, 2)
        Zero level and scale of each frame: a value becomes (value - zero) * scale.
    bits, floats, signed : ndarray, shape (LANES,)
        Views of one scratch row.
    tile : ndarray of float, flat
        Filled with the finite values, and +inf elsewhere.
    count : ndarray of int32, shape (LANES,)
        Set to the number of finite values of each pixel.
    """
    count[:] = 0
    for frame in range(source.shape[0]):
        out = tile[frame * LANES : frame * LANES + lanes]
        decode_row(source[frame, start : start + lanes], unit, bits, floats, signed, out)
        if unit.rescale:
            rescale_row(out, signed, unit.kind, bits, unit)
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
