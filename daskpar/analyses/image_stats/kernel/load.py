"""Filling tiles: words as they stand in a file become numbers, without a copy of the band in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .compiled import LANES, Array, inner, reinterpret, swap_bytes, wide_vectors


class Frames(NamedTuple):
    """A row band of frames, flat over its pixels.

    Attributes
    ----------
    words : ndarray of unsigned integers, shape (n, pixels)
        The words of a file, in either byte order.
    like : scalar
        A number of the type whose bits the words are.
    swap : bool
        The words have to be turned around.
    fits : tuple of float, float, bool, float
        BSCALE, BZERO, whether there is a BLANK, and BLANK.
    masks : ndarray of bool, shape (n, pixels) or (0, 0)
        True where a value must not be used.
    affine : ndarray of float64, shape (n, 2) or (0, 2)
        Zero level and scale of each frame: a value becomes (value - zero) * scale.
    """

    words: Array
    like: Any
    swap: bool
    fits: tuple[float, float, bool, float]
    masks: Array
    affine: Array


@inner
def decode_row(words: Array, like: Any, swap: bool, shift: Any, out: Array) -> None:
    """Turn a row of words into numbers whose bits are read as the type of ``like``, and add the shift."""
    if shift is None:
        if swap:
            for j in range(out.size):
                out[j] = reinterpret(swap_bytes(words[j]), like)
        else:
            for j in range(out.size):
                out[j] = reinterpret(words[j], like)
    else:
        kind = out.dtype.type
        if swap:
            for j in range(out.size):
                out[j] = kind(reinterpret(swap_bytes(words[j]), like)) + shift
        else:
            for j in range(out.size):
                out[j] = kind(reinterpret(words[j], like)) + shift


@inner
def decode_chunk(
    words: Array, like: Any, swap: bool, shift: Any, start: int, pixels: int, size: int, values: Array
) -> None:
    """Decode pixels from ``start`` of all frames into tiles of ``size`` values.

    The shift, of the type of the tiles, is added; None adds nothing, and is not compiled.
    """
    wide_vectors()
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = start + t * LANES, min(LANES, pixels - t * LANES)
        for frame in range(words.shape[0]):
            base = t * size + frame * LANES
            decode_row(words[frame, at : at + lanes], like, swap, shift, values[base : base + lanes])


@inner
def adjust_row(out: Array, fits: tuple[float, float, bool, float]) -> None:
    """Apply FITS BLANK, BSCALE and BZERO, in the type of the tile, as astropy does."""
    kind = out.dtype.type
    bscale, bzero, has_blank, blank, nan = kind(fits[0]), kind(fits[1]), fits[2], kind(fits[3]), kind(np.nan)
    for j in range(out.size):
        word = out[j]
        value = word * bscale
        out[j] = nan if has_blank and word == blank else value + bzero


@inner
def adjust_chunk(
    n: int, fits: tuple[float, float, bool, float], masks: Array, affine: Array, start: int, pixels: int,
    size: int,
    values: Array,
) -> None:  # fmt: skip
    """Apply the FITS scaling, put NaN where a mask is set, and apply zero level and scale of each frame."""
    wide_vectors()
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = start + t * LANES, min(LANES, pixels - t * LANES)
        for frame in range(n):
            base = t * size + frame * LANES
            out = values[base : base + lanes]
            adjust_row(out, fits)
            if masks.size:
                hidden = masks[frame, at : at + lanes]
                for j in range(lanes):
                    if hidden[j]:
                        out[j] = np.nan
            if affine.size:
                zero, scale = affine[frame, 0], affine[frame, 1]
                for j in range(lanes):
                    out[j] = (out[j] - zero) * scale


UNSCALED = (1.0, 0.0, False, 0.0)


def steps_to_load(frames: Frames, work: np.dtype[Any]) -> tuple[Frames, Any, bool | None]:
    """Say how words become numbers of a type: frames, what to add while they are decoded, what to do after.

    The shift is None where nothing is added, the last is None where nothing is left to `adjust_chunk`.
    """
    shift, fits = None, frames.fits
    if frames.like.dtype.kind in "iu" and fits[0] == 1.0 and not fits[2]:
        # Integers without a sign, as FITS has them: no second look at the numbers.
        shift, frames = work.type(fits[1]), frames._replace(fits=UNSCALED)
    adjust = frames.fits != UNSCALED or frames.masks.size > 0 or frames.affine.size > 0
    return frames, shift, adjust or None


@inner
def load_chunk(
    frames: Frames, shift: Any, adjust: bool | None, start: int, pixels: int, size: int, values: Array
) -> None:
    """Load pixels from ``start`` of all frames into the tiles of a chunk, in frame order.

    Parameters
    ----------
    frames, shift, adjust
        What `steps_to_load` says.
    start, pixels, size : int
        Which pixels, and how many values a tile has.
    values : ndarray of float, flat
        The tiles; NaN or infinite where a value must not be used.
    """
    decode_chunk(frames.words, frames.like, frames.swap, shift, start, pixels, size, values)
    if adjust is not None:
        n = frames.words.shape[0]
        adjust_chunk(n, frames.fits, frames.masks, frames.affine, start, pixels, size, values)
