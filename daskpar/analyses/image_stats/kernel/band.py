"""Combining a row band of a stack of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskpar.errors import InputError, RecipeError

from .chunks import Output, Task, combine
from .compiled import Array
from .finish import MEAN, MEDIAN, SUM
from .grow import grow_rejected
from .load import Frames
from .options import METHODS, MINMAX, Rejection, at_least, choice
from .options import rejection as make_rejection
from .weighted import weigh


def combine_band(
    frames: Array, *, method: str = "mean", rejection: str | Rejection = "none", percentile: float = 50.0,
    masks: NDArray[np.bool_] | None = None, weights: ArrayLike | None = None, scaling: ArrayLike | None =
    None,
    zero: ArrayLike | None = None, uncertainty: ArrayLike | None = None, grow: float = 0.0,
    halo: tuple[int, int] = (0, 0), bscale: float = 1.0, bzero: float = 0.0, blank: int | None = None,
    **parameters: Any,
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
    weights : array_like of float, shape (n,) or (n, rows, x)
        Weights of frames or values, for mean and sum. A value of weight 0 or NaN is not used.
    scaling, zero : array_like of float, shape (n,)
        A value becomes (value - zero) * scaling, in float64, before anything else.
    uncertainty : array_like of float, shape (n,) or (n, rows, x)
        Standard deviations of the values before scaling, carried to mean, sum and median. Values without a
        finite one are not used.
    grow : float
        After rejection, values within this many pixels of a rejected one in the same frame go too (IRAF's
        grow).
    halo : tuple of int
        Rows at the top and at the bottom of the band that are there only for ``grow``: left out of the
        results.
    bscale, bzero, blank : float, float, int
        FITS scaling of the words: value = bscale * word + bzero, NaN where the word is ``blank``.

    Returns
    -------
    dict
        ``combined`` and ``uncertainty`` (rows, x), float32 for floats of 32 bits or fewer and integers of
        16 or fewer, else float64; NaN where nothing is used. The uncertainty is the standard deviation
        (ddof 1) of the values used over the root of their number, times sqrt(pi/2) for a median; NaN for a
        single value. ``count``, ``rejected_low``, ``rejected_high`` (rows, x), int32; with ``grow`` also
        ``rejected_grown``. ``uncertainty_propagated`` where ``uncertainty`` was given: root of the sum of
        squares of weight times uncertainty, over the sum of weights for a mean, times sqrt(pi/2) for a
        median.
        ``frame_rejected_low``, ``frame_rejected_high`` (n,), int64: values rejected in each frame,
        without those grown; of equal values the ones in earlier frames.

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
    shape = checked_shape(frames)
    n, rows, columns = shape
    check_options(rule, n, percentile, grow, halo, rows)
    code = choice("method", method, METHODS)
    affine = affine_table(n, scaling, zero)
    weight = value_table("weights", weights, shape, code in (MEAN, SUM))
    error = value_table("uncertainty", uncertainty, shape, code in (MEAN, SUM, MEDIAN))
    hidden = all_masks(masks, weight, error, shape)
    result = result_dtype(frames.dtype)
    task = Task(rule, code, float(percentile), result, np.dtype(np.float64) if affine.size else result)
    data = band_frames(frames, hidden, affine, (float(bscale), float(bzero), blank))
    if grow:
        out, extra = grow_rejected(data, task, combine(data, task), grow, shape, halo, weight, error)
    else:
        out, extra = weigh(data, task, weight, error)
    return named(out, extra, rows, columns, halo)


def check_options(
    rule: Rejection, n: int, percentile: float, grow: float, halo: tuple[int, int], rows: int
) -> None:
    """Raise RecipeError where options do not fit the frames."""
    if rule.kind == MINMAX and rule.n_low + rule.n_high >= n:
        raise RecipeError(f"minmax rejects {rule.n_low + rule.n_high} of {n} frames", "leave one", key="nlow")
    if not 0.0 <= percentile <= 100.0:
        raise RecipeError(f"percentile is {percentile}", "give percent, 0 to 100", key="percentile")
    at_least("grow", grow, 0.0)
    if min(halo) < 0 or sum(halo) > rows:
        raise RecipeError(f"halo is {halo} for {rows} rows", "give rows at top and bottom", key="halo")


def checked_shape(frames: Array) -> tuple[int, int, int]:
    """Return the shape (n, rows, x), or raise InputError."""
    if frames.ndim != 3 or frames.shape[0] == 0:
        raise InputError(
            f"frames have the shape {frames.shape}", "give at least one frame as (frame, row, x)"
        )
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
            raise InputError(
                f"{key} has the shape {numbers.shape} or is not finite", f"give {n} numbers", key=key
            )
        table[:, column] = numbers
    return table


def band_frames(
    frames: Array,
    masks: NDArray[np.bool_],
    affine: NDArray[np.float64],
    fits: tuple[float, float, int | None],
) -> Frames:
    """Return the frames as words, and what these mean."""
    kind = frames.dtype.newbyteorder("=")
    words = np.ascontiguousarray(frames).reshape(frames.shape[0], -1).view(f"=u{kind.itemsize}")
    bscale, bzero, blank = fits
    return Frames(
        words=words,
        like=kind.type(0),
        swap=not frames.dtype.isnative,
        fits=(bscale, bzero, blank is not None, 0.0 if blank is None else float(blank)),
        masks=masks,
        affine=affine,
    )


def value_table(
    key: str, given: ArrayLike | None, shape: tuple[int, int, int], allowed: bool
) -> NDArray[np.float64] | None:
    """Return numbers of frames (n, 1) or of values (n, pixels), or None."""
    if given is None:
        return None
    if not allowed:
        raise RecipeError(f"{key} are given with a method that cannot use them", "leave them out", key=key)
    numbers = np.asarray(given, np.float64)
    if numbers.shape not in ((shape[0],), shape):
        raise InputError(f"{key} have the shape {numbers.shape}", f"give {shape[:1]} or {shape}", key=key)
    if (numbers < 0).any():
        raise InputError(f"{key} are negative in places", "give numbers of at least 0", key=key)
    return np.ascontiguousarray(numbers.reshape(shape[0], -1))


def all_masks(
    masks: NDArray[np.bool_] | None, weight: NDArray[np.float64] | None, error: NDArray[np.float64] | None,
    shape: Sequence[int],
) -> NDArray[np.bool_]:  # fmt: skip
    """Return what must not be used, shape (n, pixels), or (0, 0) where nothing is excluded."""
    n, pixels = shape[0], shape[1] * shape[2]
    hidden = np.zeros((0, 0), np.bool_)
    if masks is not None:
        if masks.shape != tuple(shape) or masks.dtype != np.bool_:
            raise InputError(
                f"masks are {masks.dtype} of shape {masks.shape}", f"give bool of shape {tuple(shape)}"
            )
        hidden = np.ascontiguousarray(masks).reshape(n, pixels)
    if weight is not None and not (ok := (weight > 0) & (weight < np.inf)).all():
        hidden = np.broadcast_to(~ok, (n, pixels)) | (hidden if hidden.size else False)
    if error is not None and not (ok := np.isfinite(error)).all():
        hidden = np.broadcast_to(~ok, (n, pixels)) | (hidden if hidden.size else False)
    return hidden


def named(
    out: Output, extra: dict[str, Array], rows: int, columns: int, halo: tuple[int, int]
) -> dict[str, Array]:
    """Return the planes in the shape of the band without its halo, by name."""
    names = ("combined", "uncertainty", "count", "rejected_low", "rejected_high")
    planes = dict(zip(names, (out.combined, out.uncertainty, *out.numbers), strict=True)) | extra
    inside = {name: plane.reshape(rows, columns)[halo[0] : rows - halo[1]] for name, plane in planes.items()}
    return inside | {"frame_rejected_low": out.frame_low, "frame_rejected_high": out.frame_high}


def joined_bands(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return what `combine_band` would have given for neighbouring bands together."""
    if len(parts) == 1:
        return dict(parts[0])
    return {
        name: np.sum([part[name] for part in parts], axis=0)
        if name.startswith("frame_")
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
