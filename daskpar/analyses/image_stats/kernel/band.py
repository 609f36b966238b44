"""Combining a row band of a stack of frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskpar.errors import InputError, RecipeError

from .columns import Output, Scratch, combine_columns
from .compiled import LANES, Array, padded_rows
from .load import FLOAT, SIGNED, UNSIGNED, Unit
from .options import METHODS, Rejection, choice
from .options import rejection as make_rejection
from .settle import settle


def combine_band(
    frames: Array, *, method: str = "mean", rejection: str | Rejection = "none", percentile: float = 50.0,
    masks: NDArray[np.bool_] | None = None, scaling: ArrayLike | None = None, zero: ArrayLike | None = None,
    bscale: float = 1.0, bzero: float = 0.0, blank: int | None = None, **parameters: Any,
) -> dict[str, Array]:  # fmt: skip
    """Combine frames pixel by pixel.

    Parameters
    ----------
    frames : ndarray, shape (n, rows, x)
        A row band of n frames: integers or floats of any byte order, as read from a file.
        NaN and infinite values are never used.
    method : str
        One of `METHODS`. "std" and "var" have ddof 0, "mad" is not scaled to a standard deviation,
        "count" is the number of values used.
    rejection : str or Rejection
        One of `REJECTIONS`, with ``parameters`` as in `options.rejection`.
    percentile : float
        Percent, for ``method="percentile"``; linear interpolation.
    masks : ndarray of bool, shape (n, rows, x)
        True where a value must not be used.
    scaling, zero : array_like of float, shape (n,)
        A value becomes (value - zero) * scaling, in float64, before anything else.
    bscale, bzero, blank : float, float, int
        FITS scaling of the words: value = bscale * word + bzero, NaN where the word is ``blank``.

    Returns
    -------
    dict
        ``combined`` and ``uncertainty`` (rows, x), float32 for floats of 32 bits or fewer and integers of 16 or
        fewer, else float64; NaN where nothing is used. The uncertainty is the standard deviation (ddof 1) of
        the values used over the root of their number, times sqrt(pi/2) for a median; NaN for a single
        value. ``count``, ``rejected_low``, ``rejected_high`` (rows, x), int32. ``frame_rejected_low``,
        ``frame_rejected_high`` (n,), int64: values rejected in each frame of this band.

    Raises
    ------
    RecipeError
        An option is unknown or out of range.
    InputError
        Shapes or dtypes do not fit.

    Notes
    -----
    Every pixel is computed from its own sorted values in a fixed order: neither the order of the frames nor
    the partition into bands changes a bit.
    """
    rule = rejection if isinstance(rejection, Rejection) else make_rejection(rejection, **parameters)
    code = choice("method", method, METHODS)
    if not 0.0 <= percentile <= 100.0:
        raise RecipeError(f"percentile is {percentile}", "give percent, 0 to 100", key="percentile")
    n, rows, columns = checked_shape(frames)
    affine = affine_table(n, scaling, zero)
    source, unit = file_bytes(frames, bscale, bzero, blank)
    wide = result_dtype(frames.dtype) == np.float64 or affine.size > 0
    out = new_output(n, rows * columns, result_dtype(frames.dtype))
    hidden = np.zeros((0, 0), np.bool_) if masks is None else flat_masks(masks, frames.shape)
    if source.size:
        scratch = new_scratch(n, np.dtype(np.float64 if wide else np.float32))
        given = np.zeros((2, 0), np.int32)
        combine_columns(source, unit, hidden, affine, rule, given, code, float(percentile), scratch, out)
        if out.unsure.any():
            combine_unsure(source, unit, hidden, affine, rule, code, float(percentile), scratch, out)
    return named(out, rows, columns)


def combine_unsure(
    source: Array, unit: Unit, masks: Array, affine: Array, rule: Rejection, method: int, percent: float,
    scratch: Scratch, out: Output,
) -> None:  # fmt: skip
    """Combine the pixels marked as unsure again, with ranks from exact arithmetic."""
    where = np.flatnonzero(out.unsure)
    words = source.reshape(source.shape[0], -1, unit.size)[:, where]
    source, masks = words.reshape(source.shape[0], -1), masks[:, where] if masks.size else masks
    ranks = np.zeros((2, where.size), np.int32)
    settle(source, unit, masks, affine, rule, scratch, ranks)
    part = new_output(source.shape[0], where.size, out.combined.dtype)
    combine_columns(source, unit, masks, affine, rule, ranks, method, percent, scratch, part)
    for plane, values in zip(out[:5], part[:5], strict=True):
        plane[where] = values
    out.frame_low[:] += part.frame_low
    out.frame_high[:] += part.frame_high


def checked_shape(frames: Array) -> tuple[int, int, int]:
    """Return the shape (n, rows, x), or raise InputError."""
    if frames.ndim != 3 or frames.shape[0] == 0:
        raise InputError(f"frames have the shape {frames.shape}", "give at least one frame as (frame, row, x)")
    if frames.dtype.kind not in "iuf" or frames.dtype.itemsize > 8 or frames.dtype == np.float16:
        raise InputError(f"frames are of dtype {frames.dtype}", "give integers, float32 or float64")
    n, rows, columns = frames.shape
    return n, rows, columns


def result_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Float32 for floats of 32 bits and integers of up to 16, else float64."""
    narrow = dtype.itemsize <= (4 if dtype.kind == "f" else 2)
    return np.dtype(np.float32 if narrow else np.float64)


def affine_table(n: int, scaling: ArrayLike | None, zero: ArrayLike | None) -> NDArray[np.float64]:
    """Return zero level and scale of each frame, shape (n, 2), or (0, 2) when neither is given."""
    if scaling is None and zero is None:
        return np.zeros((0, 2))
    table = np.zeros((n, 2))
    for column, key, given in ((0, "zero", zero), (1, "scaling", scaling)):
        numbers = np.asarray(float(column) if given is None else given, np.float64)
        if numbers.shape not in ((), (n,)) or not np.isfinite(numbers).all():
            raise InputError(f"{key} has the shape {numbers.shape} or is not finite", f"give {n} numbers", key=key)
        table[:, column] = numbers
    return table


def file_bytes(frames: Array, bscale: float, bzero: float, blank: int | None) -> tuple[Array, Unit]:
    """Return the frames as bytes, shape (n, pixels * size), and what they mean."""
    dtype = frames.dtype
    unit = Unit(
        size=dtype.itemsize,
        kind={"f": FLOAT, "i": SIGNED, "u": UNSIGNED}[dtype.kind],
        swap=dtype.itemsize > 1 and not dtype.isnative,
        rescale=bscale != 1.0 or bzero != 0.0,
        bscale=float(bscale),
        bzero=float(bzero),
        has_blank=blank is not None,
        blank=0 if blank is None else int(blank),
    )
    return np.ascontiguousarray(frames).reshape(frames.shape[0], -1).view(np.uint8), unit


def flat_masks(masks: NDArray[np.bool_], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return masks of shape (n, pixels), or raise InputError."""
    if masks.shape != tuple(shape) or masks.dtype != np.bool_:
        raise InputError(f"masks are {masks.dtype} of shape {masks.shape}", f"give bool of shape {tuple(shape)}")
    return np.ascontiguousarray(masks).reshape(shape[0], -1)


def new_output(n: int, pixels: int, dtype: np.dtype[Any]) -> Output:
    """Return unset planes."""
    return Output(
        combined=np.full(pixels, np.nan, dtype),
        uncertainty=np.full(pixels, np.nan, dtype),
        used=np.zeros(pixels, np.int32),
        rejected_low=np.zeros(pixels, np.int32),
        rejected_high=np.zeros(pixels, np.int32),
        frame_low=np.zeros(n, np.int64),
        frame_high=np.zeros(n, np.int64),
        unsure=np.zeros(pixels, np.bool_),
    )


def new_scratch(n: int, dtype: np.dtype[Any]) -> Scratch:
    """Return the memory of one tile."""
    size = padded_rows(n) * LANES
    return Scratch(
        values=np.full(size, np.inf, dtype),
        ranked=np.full(size, np.inf, dtype),
        few=np.full(size, np.inf, dtype),
    )


def named(out: Output, rows: int, columns: int) -> dict[str, Array]:
    """Return the planes in the shape of the band, by name."""
    names = ("combined", "uncertainty", "count", "rejected_low", "rejected_high")
    planes = {name: plane.reshape(rows, columns) for name, plane in zip(names, out[:5], strict=True)}
    return planes | {"frame_rejected_low": out.frame_low, "frame_rejected_high": out.frame_high}
