"""Putting the pixels of a frame in order, in little more time than selecting a few of them takes.

Pixels are dealt into many bins that are equally spaced between quantiles of a sample, so that a bin holds a
few of them; bins are then sorted one by one. Counts of 8 or 16 bits are tallied instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.compiled import compiled

from .compiled import Array

#: Pixels to a bin on average, and the bin size from which a bin is worth a general sort.
FILL, CROWDED = 4, 48

#: Pixels looked at to place the bins.
SAMPLE = 4096


@compiled
def tally(words: Array, offset: int, counts: Array) -> None:
    """Count how often each integer occurs; ``counts[k]`` belongs to the integer ``k - offset``."""
    for i in range(words.size):
        counts[int(words[i]) + offset] += 1


@compiled
def bin_numbers(pixels: Array, low: float, scale: float, top: int, numbers: Array, counts: Array) -> int:
    """Store the bin of each finite pixel, -1 for others, and count; return the number of finite pixels."""
    finite = 0
    for i in range(pixels.size):
        x = np.float64(pixels[i])
        if abs(x) < np.inf:
            place = min(max((x - low) * scale, 0.0), np.float64(top))
            k = np.int32(place)
            numbers[i] = k
            counts[k] += 1
            finite += 1
        else:
            numbers[i] = -1
    return finite


@compiled
def deal(pixels: Array, numbers: Array, starts: Array, out: Array) -> None:
    """Put each finite pixel in its bin; ``starts`` is left at the ends of the bins."""
    zero = out.dtype.type(0.0)
    for i in range(pixels.size):
        k = numbers[i]
        if k >= 0:
            out[starts[k]] = pixels[i] + zero
            starts[k] += 1


@compiled
def sort_bins(out: Array, ends: Array) -> None:
    """Sort each bin: by insertion, or a general sort where it is crowded."""
    start = 0
    for k in range(ends.size):
        end = ends[k]
        if end - start > CROWDED:
            out[start:end] = np.sort(out[start:end])
        else:
            for i in range(start + 1, end):
                x = out[i]
                j = i
                while j > start and out[j - 1] > x:
                    out[j] = out[j - 1]
                    j -= 1
                out[j] = x
        start = end


def place_dtype(pixels: int) -> type[np.signedinteger[Any]]:
    """Return the smallest integers that can number the pixels: the table of bins should stay in cache."""
    return np.int32 if pixels < 2**31 else np.int64


def ordered_counts(image: Array) -> Array:
    """Return the integers of an image of 8 or 16 bits in ascending order, as float32."""
    info = np.iinfo(image.dtype)
    counts = np.zeros(int(info.max) - int(info.min) + 1, np.int64)
    tally(image.reshape(-1), -int(info.min), counts)
    present = np.flatnonzero(counts)
    return np.repeat((present + int(info.min)).astype(np.float32), counts[present])


def ordered_pixels(image: Array) -> NDArray[np.floating]:
    """Return the finite pixels of an image in ascending order.

    Parameters
    ----------
    image : ndarray of integers or floats, native byte order
        Of any shape; not changed.

    Returns
    -------
    ndarray of float32 or float64, one-dimensional
        float32 for floats of 32 bits and integers of up to 16, else float64. Zeros are positive.
    """
    if image.dtype.kind in "iu" and image.dtype.itemsize <= 2:
        return ordered_counts(np.ascontiguousarray(image))
    pixels = np.ascontiguousarray(image).reshape(-1)
    if pixels.dtype.kind in "iu":
        pixels = pixels.astype(np.float64)
    sample = pixels[:: max(1, pixels.size // SAMPLE)].astype(np.float64)
    sample = np.sort(sample[np.isfinite(sample)])
    low, high = (float(sample[0]), float(sample[-1])) if sample.size else (0.0, 0.0)
    if sample.size > 100:
        low, high = float(sample[sample.size // 100]), float(sample[-sample.size // 100])
        # A core of 98 % and as much again on either side; what lies beyond shares the end bins.
        low, high = 1.5 * low - 0.5 * high, 1.5 * high - 0.5 * low
    bins = max(1, pixels.size // FILL)
    scale = bins / (high - low) if high - low > 0.0 else 0.0
    if not np.isfinite(scale) or not np.isfinite(low):
        low, scale = 0.0, 0.0
    numbers, counts = np.empty(pixels.size, np.int32), np.zeros(bins, place_dtype(pixels.size))
    finite = bin_numbers(pixels, low, scale, bins - 1, numbers, counts)
    out = np.empty(finite, pixels.dtype)
    ends = np.cumsum(counts, dtype=counts.dtype) - counts
    deal(pixels, numbers, ends, out)
    sort_bins(out, ends)
    return out
