"""Statistics of one frame: moments, order statistics, and the same after sigma clipping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import InputError, RecipeError

from .compiled import Array, compiled, inner
from .finish import quantile_of
from .ordering import ordered_pixels

#: Values in a partial sum; sums over ranges of ranks are made of whole ones and what is left at the ends.
BLOCK = 4096


@inner
def add_range(pixels: Array, start: int, end: int, pivot: float) -> tuple[float, float]:
    """Add up deviations from the pivot, and squares: four interleaved sums, then those, then the rest."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    e, f, g, h = 0.0, 0.0, 0.0, 0.0
    row = pixels[start:end]
    whole = row.size // 4 * 4
    for i in range(0, whole, 4):
        p, q, r, s = row[i] - pivot, row[i + 1] - pivot, row[i + 2] - pivot, row[i + 3] - pivot
        a, b, c, d = a + p, b + q, c + r, d + s
        e, f, g, h = e + p * p, f + q * q, g + r * r, h + s * s
    first, second = (a + b) + (c + d), (e + f) + (g + h)
    for i in range(whole, row.size):
        p = row[i] - pivot
        first, second = first + p, second + p * p
    return first, second


@compiled
def block_sums(pixels: Array, pivot: float, sums: Array) -> None:
    """Store the sums of each whole block, shape (blocks, 2)."""
    for b in range(sums.shape[0]):
        sums[b, 0], sums[b, 1] = add_range(pixels, b * BLOCK, (b + 1) * BLOCK, pivot)


@compiled
def range_sums(pixels: Array, sums: Array, start: int, end: int, pivot: float) -> tuple[float, float]:
    """Return the sums of ranks ``start`` to ``end - 1``."""
    first_block, last_block = (start + BLOCK - 1) // BLOCK, end // BLOCK
    if first_block >= last_block:
        some: tuple[float, float] = add_range(pixels, start, end, pivot)
        return some
    one, two = add_range(pixels, start, first_block * BLOCK, pivot)
    for b in range(first_block, last_block):
        one += sums[b, 0]
        two += sums[b, 1]
    rest = add_range(pixels, last_block * BLOCK, end, pivot)
    return one + rest[0], two + rest[1]


@compiled
def nearest_deviation(pixels: Array, median: float, rank: int) -> float:
    """Return the deviation from the median of which ``rank`` others are smaller, of sorted values.

    The ``rank + 1`` values nearest to the median are consecutive; the place where they begin is found by
    bisection.
    """
    n = pixels.size
    low, high = 0, n - rank - 1
    while low < high:
        middle = (low + high) // 2
        if median - pixels[middle] > pixels[middle + rank + 1] - median:
            low = middle + 1
        else:
            high = middle
    return max(median - np.float64(pixels[low]), np.float64(pixels[low + rank]) - median)


def median_of(pixels: Array) -> float:
    """Return the median of sorted values."""
    n = pixels.size
    return 0.5 * float(pixels[(n - 1) // 2]) + 0.5 * float(pixels[n // 2])


def mean_and_std(pixels: Array, sums: Array, start: int, end: int, pivot: float) -> tuple[float, float]:
    """Return mean and standard deviation (ddof 0) of ranks ``start`` to ``end - 1``."""
    n = end - start
    one, two = range_sums(pixels, sums, start, end, pivot)
    return pivot + one / n, float(np.sqrt(max(two / n - (one / n) * (one / n), 0.0)))


def inward(bound: float, towards: float, dtype: np.dtype[Any]) -> Any:
    """Return the first number of a dtype from a bound on: it parts the same pixels, and is found sooner.

    A search for a number of another dtype would first convert all pixels.
    """
    with np.errstate(over="ignore"):
        number = dtype.type(bound)
    beyond = float(number) < bound if towards > 0 else float(number) > bound
    return np.nextafter(number, dtype.type(towards)) if beyond else number


def clipped(pixels: Array, sums: Array, pivot: float, sigma: float, maxiters: int | None) -> tuple[int, int]:
    """Return the ranks left by `astropy.stats.sigma_clip` about the median: first, and end."""
    start, end, turn = 0, pixels.size, 0
    while maxiters is None or turn < maxiters:
        turn += 1
        median = median_of(pixels[start:end])
        _, std = mean_and_std(pixels, sums, start, end, pivot)
        low = int(np.searchsorted(pixels, inward(median - sigma * std, np.inf, pixels.dtype), "left"))
        high = int(np.searchsorted(pixels, inward(median + sigma * std, -np.inf, pixels.dtype), "right"))
        kept = max(low, start), min(high, end)
        if kept == (start, end) or kept[0] >= kept[1] or turn == maxiters:
            # The last bounds judge all pixels, also those lost before.
            return low, high
        start, end = kept
    return start, end


def frame_statistics(
    image: Array,
    *,
    sigma: float = 3.0,
    maxiters: int | None = 5,
    percentiles: Sequence[float] = (),
    mask: NDArray[np.bool_] | None = None,
    overwrite_input: bool = False,
) -> dict[str, NDArray[np.generic]]:
    """Compute the statistics of one frame.

    Parameters
    ----------
    image : ndarray of integers or floats
        Any shape and byte order. NaN and infinite pixels are counted and not used.
    sigma : float
        Distance of the clipping bounds from the median, in standard deviations.
    maxiters : int or None
        Rounds of clipping at most, at least 1; None: until nothing goes.
    percentiles : sequence of float
        In percent.
    mask : ndarray of bool, optional
        In the shape of the image; where it is True, a pixel counts as NaN.
    overwrite_input : bool
        Whether the image may be changed, which takes less memory, and time.

    Returns
    -------
    dict
        ``count``, ``nan_count`` (int64: pixels used, pixels not finite or masked); ``min``, ``max``,
        ``mean``, ``std`` (ddof 0), ``median``, ``mad`` (not scaled), ``clipped_mean``, ``clipped_median``,
        ``clipped_std`` (as `astropy.stats.sigma_clipped_stats`), float64, in the unit of the image;
        ``percentile`` (q,), float64, linear between ranks as numpy's. NaN where nothing is used.

    Raises
    ------
    InputError
        The dtype is not an integer or float of 32 or 64 bits, or smaller integers.
    RecipeError
        An option is out of range.
    """
    wanted = np.asarray(percentiles, np.float64).reshape(-1)
    if not sigma >= 0 or (maxiters is not None and maxiters < 1):
        raise RecipeError(
            f"sigma is {sigma}, maxiters is {maxiters}", "give at least 0, and at least 1", key="sigma"
        )
    if not ((wanted >= 0) & (wanted <= 100)).all():
        raise RecipeError(f"percentiles are {percentiles}", "give percent, 0 to 100", key="percentile")
    if (
        image.dtype.kind not in "iuf"
        or image.dtype.itemsize > 8
        or image.dtype.newbyteorder("=") == np.float16
    ):
        raise InputError(f"the image is of dtype {image.dtype}", "give integers, float32 or float64")
    native = image.astype(image.dtype.newbyteorder("="), copy=False)
    if mask is not None:
        # Of floats, NaN is put in their place: that is faster than picking the others.
        native = (
            np.where(mask, native.dtype.type(np.nan), native) if native.dtype.kind == "f" else native[~mask]
        )
    pixels = ordered_pixels(native, overwrite_input or native is not image)
    numbers = dict.fromkeys(NAMES, np.nan)
    if pixels.size:
        numbers = statistics_of_sorted(pixels, sigma, maxiters)
    quantiles = [quantile_of(pixels, q) if pixels.size else np.nan for q in wanted]
    return {
        "count": np.asarray(pixels.size, np.int64),
        "nan_count": np.asarray(image.size - pixels.size, np.int64),
        **{name: np.asarray(numbers[name], np.float64) for name in NAMES},
        "percentile": np.asarray(quantiles, np.float64),
    }


NAMES = ("min", "max", "mean", "std", "median", "mad", "clipped_mean", "clipped_median", "clipped_std")


def statistics_of_sorted(pixels: Array, sigma: float, maxiters: int | None) -> dict[str, float]:
    """Return the statistics of sorted, finite pixels, of which there is at least one."""
    n = pixels.size
    median = median_of(pixels)
    sums = np.zeros((n // BLOCK, 2))
    block_sums(pixels, median, sums)
    mean, std = mean_and_std(pixels, sums, 0, n, median)
    mad = 0.5 * nearest_deviation(pixels, median, (n - 1) // 2) + 0.5 * nearest_deviation(
        pixels, median, n // 2
    )
    start, end = clipped(pixels, sums, median, sigma, maxiters)
    used = pixels[start:end]
    clipped_mean, clipped_std = (
        mean_and_std(pixels, sums, start, end, median) if used.size else (np.nan, np.nan)
    )
    clipped_median = median_of(used) if used.size else np.nan
    values = (pixels[0], pixels[-1], mean, std, median, mad, clipped_mean, clipped_median, clipped_std)
    return dict(zip(NAMES, map(float, values), strict=True))
