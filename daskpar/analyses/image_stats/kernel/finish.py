"""From the ranks that are used to the value of a pixel, its uncertainty, and who was rejected."""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, compiled
from .mad import deviation
from .state import State

MEAN, MEDIAN, SUM, MIN, MAX, STD, VAR, COUNT, PERCENTILE, MAD = range(10)

#: Standard error of a median in units of that of a mean, for normal noise and many values: sqrt(pi / 2).
MEDIAN_FACTOR = 1.2533141373155003


@compiled
def quantile(tile: Array, j: int, first: int, last: int, percent: float) -> float:
    """Percentile with linear interpolation between ranks (Hyndman & Fan 1996, type 7; numpy's default)."""
    place = percent / 100.0 * (last - first - 1)
    rank = int(place)
    low = float(tile[(first + rank) * LANES + j])
    if first + rank + 1 >= last:
        return low
    return low + (float(tile[(first + rank + 1) * LANES + j]) - low) * (place - rank)


@compiled
def value(tile: Array, j: int, method: int, percent: float, s: State) -> float:
    """Combined value of one pixel with at least one value used."""
    first, last = s.first[j], s.last[j]
    n = float(last - first)
    if method == MEAN:
        return float(s.pivot[j] + s.sum1[j] / n)
    if method == MEDIAN:
        return float(s.pivot[j])
    if method == SUM:
        return float(s.pivot[j] * n + s.sum1[j])
    if method == MIN:
        return float(tile[first * LANES + j])
    if method == MAX:
        return float(tile[(last - 1) * LANES + j])
    if method == COUNT:
        return n
    if method == PERCENTILE:
        return quantile(tile, j, first, last, percent)
    if method == MAD:
        return deviation(tile, j, first, last, s.pivot[j])
    mean = s.sum1[j] / n
    variance = max(s.sum2[j] / n - mean * mean, 0.0)
    return float(variance if method == VAR else np.sqrt(variance))


@compiled
def finish_tile(
    tile: Array, lanes: int, method: int, percent: float, s: State, combined: Array, uncertainty: Array
) -> None:
    """Store value and uncertainty of every pixel; NaN where no value is used."""
    factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
    if method == MEAN:
        for j in range(lanes):
            combined[j] = s.pivot[j] + s.sum1[j] / np.float64(s.last[j] - s.first[j])
    else:
        for j in range(lanes):
            combined[j] = value(tile, j, method, percent, s) if s.last[j] > s.first[j] else np.nan
    for j in range(lanes):
        n = np.float64(s.last[j] - s.first[j])
        variance = max(s.sum2[j] - s.sum1[j] * (s.sum1[j] / n), 0.0) / (n - 1.0)
        uncertainty[j] = np.sqrt(variance / n) * factor
        if method == COUNT and n == 0.0:
            combined[j] = 0.0


@compiled
def count_rejected(
    source: Array, tile: Array, n: int, pixels: Array, s: State, count: Array, low: Array, high: Array
) -> None:
    """Add the rejected values of some pixels to the table of frames.

    Parameters
    ----------
    source, tile : ndarray of float, flat
        The values in frame order, and sorted.
    n : int
        Number of frames.
    pixels : ndarray of int
        The pixels in which something may have been rejected.
    s : State
        Ranks used.
    count : ndarray of int32
        Finite values of each pixel.
    low, high : ndarray of int64, shape (n,)
        Values rejected below and above, of each frame; added to.
    """
    for k in range(pixels.size):
        j = pixels[k]
        first, last = s.first[j], s.last[j]
        if first > 0:
            spare = first
            edge = tile[(first - 1) * LANES + j]
            for f in range(n):
                if source[f * LANES + j] <= edge and spare > 0:
                    low[f] += 1
                    spare -= 1
        if last < count[j]:
            spare = count[j] - last
            edge = tile[last * LANES + j]
            for f in range(n):
                if edge <= source[f * LANES + j] < np.inf and spare > 0:
                    high[f] += 1
                    spare -= 1
