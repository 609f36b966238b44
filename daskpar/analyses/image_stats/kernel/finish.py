"""From the ranks that are used to the value of a pixel, its uncertainty, and who was rejected."""

from __future__ import annotations

import numpy as np

from .compiled import LANES, Array, inner, wide_vectors
from .mad import deviation
from .state import Chunk, State, tile_state

MEAN, MEDIAN, SUM, MIN, MAX, STD, VAR, COUNT, PERCENTILE, MAD = range(10)

#: Standard error of a median in units of that of a mean, for normal noise and many values: sqrt(pi / 2).
MEDIAN_FACTOR = 1.2533141373155003


@inner
def quantile(tile: Array, j: int, first: int, last: int, percent: float) -> float:
    """Percentile with linear interpolation between ranks (Hyndman & Fan 1996, type 7; numpy's default)."""
    place = percent / 100.0 * (last - first - 1)
    rank = int(place)
    low = float(tile[(first + rank) * LANES + j])
    if first + rank + 1 >= last:
        return low
    return low + (float(tile[(first + rank + 1) * LANES + j]) - low) * (place - rank)


def quantile_of(ordered: Array, percent: float) -> float:
    """Percentile of a sorted array, as `quantile`."""
    place = percent / 100.0 * (ordered.size - 1)
    rank = int(place)
    low, high = float(ordered[rank]), float(ordered[min(rank + 1, ordered.size - 1)])
    return low + (high - low) * (place - rank)


@inner
def value(tile: Array, j: int, method: int, percent: float, s: State) -> float:
    """Return the combined value of one pixel with at least one value used; not mean, median or sum."""
    first, last = s.first[j], s.last[j]
    n = float(last - first)
    if method == MIN:
        return float(tile[first * LANES + j])
    if method == MAX:
        return float(tile[(last - 1) * LANES + j])
    if method == COUNT:
        return n
    if method == PERCENTILE:
        return float(quantile(tile, j, first, last, percent))
    if method == MAD:
        return float(deviation(tile, j, first, last, s.pivot[j]))
    mean = s.sum1[j] / n
    variance = max(s.sum2[j] / n - mean * mean, 0.0)
    return float(variance if method == VAR else np.sqrt(variance))


@inner
def finish_tile(
    tile: Array, lanes: int, method: int, percent: float | None, s: State, combined: Array,
    uncertainty: Array,
) -> None:  # fmt: skip
    """Store value and uncertainty of every pixel; NaN where no value is used.

    For a mean ``percent`` is None: the other methods are then not compiled, which takes a while.
    """
    wide_vectors()
    factor = MEDIAN_FACTOR if method == MEDIAN else 1.0
    if percent is None:
        for j in range(lanes):
            combined[j] = s.pivot[j] + s.sum1[j] / np.float64(s.last[j] - s.first[j])
    elif method == MEDIAN:
        for j in range(lanes):
            combined[j] = s.pivot[j] if s.last[j] > s.first[j] else np.nan
    elif method == SUM:
        for j in range(lanes):
            total = s.pivot[j] * np.float64(s.last[j] - s.first[j]) + s.sum1[j]
            combined[j] = total if s.last[j] > s.first[j] else np.nan
    else:
        for j in range(lanes):
            combined[j] = value(tile, j, method, percent, s) if s.last[j] > s.first[j] else np.nan
    for j in range(lanes):
        n = np.float64(s.last[j] - s.first[j])
        variance = max(s.sum2[j] - s.sum1[j] * (s.sum1[j] / n), 0.0) / (n - 1.0)
        uncertainty[j] = np.sqrt(variance / n) * factor
        if method == COUNT and n == 0.0:
            combined[j] = 0.0


@inner
def finish_chunk(
    chunk: Chunk, size: int, start: int, pixels: int, method: int, percent: float | None, combined: Array,
    uncertainty: Array, numbers: Array,
) -> None:  # fmt: skip
    """Store what is asked of all pixels of a chunk, from pixel ``start`` of the band; see `finish_tile`."""
    wide_vectors()
    end, state = start + pixels, chunk.state
    used, low, high = numbers[0, start:end], numbers[1, start:end], numbers[2, start:end]
    first, last, total = state.first[:pixels], state.last[:pixels], chunk.total[:pixels]
    for j in range(pixels):
        used[j], low[j], high[j] = last[j] - first[j], first[j], total[j] - last[j]
    for t in range((pixels + LANES - 1) // LANES):
        at, lanes = t * LANES, min(LANES, pixels - t * LANES)
        tile, to = chunk.ranked[t * size : (t + 1) * size], slice(start + at, start + at + lanes)
        finish_tile(tile, lanes, method, percent, tile_state(chunk, at), combined[to], uncertainty[to])
