"""Integer histograms with bins equally spaced in asinh((x - median) / interquartile range).

The edges are computed once, from batch 0, and stored. A value falls in the bin whose stored edges enclose
it, ``edges[i] <= x < edges[i + 1]``; single precision arithmetic only guesses the bin, and the guess is
compared with the edges wherever it lies near one. So counts are exact and the same on every processor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import arithmetic

Floats = NDArray[np.float64]
Bins = dict[str, Any]

BINS = 2**16
_CHUNK = 1024
_REACH = 40.0  # in asinh: 1e17 widths from the median; beyond are the two outer bins
_f4 = np.float32


def make_bins(columns: Floats, bins: int = BINS) -> Bins:
    """Bins for values like those of batch 0.

    Parameters
    ----------
    columns : (k, n) float64 array
        The finite values of batch 0.
    bins : int
        Number of bins between the outermost edges.

    Returns
    -------
    dict of arrays
        ``edges`` (k, bins + 3): the first is -inf and the last inf, so bin 0 holds the underflow and bin
        ``bins + 1`` the overflow. ``guess`` (k, 5): parameters of the guess. ``atom_column``, ``atom_bin``,
        ``atom_value``: bins in which batch 0 repeats one single value, as discrete data do.
    """
    rows = [_one_column(column, bins) for column in columns]
    atoms = [_atoms(column, edges) for column, (edges, _) in zip(columns, rows, strict=True)]
    return {
        "edges": np.stack([edges for edges, _ in rows]),
        "guess": np.stack([guess for _, guess in rows]),
        "atom_column": np.concatenate([np.full(len(at), i, np.int64) for i, (at, _) in enumerate(atoms)]),
        "atom_bin": np.concatenate([at for at, _ in atoms]),
        "atom_value": np.concatenate([value for _, value in atoms]),
    }


def _one_column(x: Floats, bins: int) -> tuple[Floats, Floats]:
    ordered = np.sort(x)
    centre = float(ordered[ordered.size // 2])
    width, low, high = _range(ordered, centre, bins)
    step = (high - low) / bins
    inner = centre + width * arithmetic.sinh(low + step * np.arange(bins + 1.0))
    edges = np.concatenate([[-np.inf], inner, [np.inf]])
    guess = np.array([centre, 1.0 / width, 1.0 / step, 1.0 - low / step, 0.5])
    # How far the guess strays from the truth at the edges decides how near an edge it is not trusted.
    places = np.empty(inner.size)
    _guess_all(np.clip(inner, -1.7e308, 1.7e308), guess, float(bins + 2), places)
    error = float(np.max(np.abs(places - np.arange(1.0, bins + 2.0))))
    guess[4] = min(0.5, 1.5 * error + 2.0**-9)
    return edges, guess


def _range(ordered: Floats, centre: float, bins: int) -> tuple[float, float, float]:
    """Width, and first and last edge in asinh: twice as far from the centre as batch 0 reaches."""
    n = ordered.size
    below, above = centre - float(ordered[0]), float(ordered[-1]) - centre
    width = float(ordered[(3 * n) // 4] - ordered[n // 4])
    least = 0.5
    if not width > 0.0:
        width = 0.5 * (below + above)
    if not width > 0.0:
        width, least = max(abs(centre), 1.0), 3.0
    width = min(max(width, 1e-290), 1e290)
    while True:
        low = -min(max(arithmetic.asinh(min(2.0 * (below / width), 1e18)), least), _REACH)
        high = min(max(arithmetic.asinh(min(2.0 * (above / width), 1e18)), least), _REACH)
        # A bin narrower than the spacing of floats would have no values.
        if width * (high - low) / bins >= 4.0 * np.spacing(abs(centre)):
            return width, low, high
        width *= 2.0


def _atoms(x: Floats, edges: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Bins where batch 0 has one value, at least three times: never so for a continuous variable."""
    values, counts = np.unique(x, return_counts=True)
    place = np.searchsorted(edges, values, side="right") - 1
    several = np.bincount(place, minlength=edges.size - 1)
    single = (counts >= 3) & (several[place] == 1)
    return place[single].astype(np.int64), values[single]


@njit(nogil=True, cache=True)
def _guess(x: Floats, guess: Floats, top: float, place: NDArray[np.float32], bits: NDArray[np.int32]) -> None:
    """Guess of the bin with its fraction, in single precision: log2(a + sqrt(a^2 + 1)) from the bits."""
    centre, inverse = guess[0], guess[1]
    scale, offset = _f4(guess[2] * 0.6931471805599453), _f4(guess[3])
    last = _f4(top)
    size = bits.view(np.float32)
    for j in range(x.size):
        u = _f4((x[j] - centre) * inverse)
        place[j] = u
        size[j] = abs(u) + np.sqrt(u * u + _f4(1.0))
    for j in range(x.size):
        exponent = _f4(np.int32(bits[j] >> np.int32(23)) - np.int32(127))
        mantissa = np.int32((bits[j] & np.int32(0x7FFFFF)) | np.int32(0x3F800000))
        bits[j] = mantissa
        z = size[j] - _f4(1.5)
        p = _f4(0.014778721)
        p = p * z + _f4(-0.025123203)
        p = p * z + _f4(0.037462939)
        p = p * z + _f4(-0.070589677)
        p = p * z + _f4(0.14252637)
        p = p * z + _f4(-0.32063234)
        p = p * z + _f4(0.96179599)
        p = p * z + _f4(0.58496279)
        t = (exponent + p) * scale
        t = (t if place[j] >= _f4(0.0) else -t) + offset
        t = t if t > _f4(0.0) else _f4(0.0)
        place[j] = t if t < last else last


@njit(nogil=True, cache=True)
def _guess_all(x: Floats, guess: Floats, top: float, out: Floats) -> None:
    place = np.empty(x.size, np.float32)
    _guess(x, guess, top, place, np.empty(x.size, np.int32))
    for j in range(x.size):
        out[j] = place[j]


@njit(nogil=True, cache=True)
def count_into(columns: Floats, edges: Floats, guess: Floats, histogram: NDArray[np.int64]) -> None:
    """Add the values of k columns to their histograms.

    Parameters
    ----------
    columns : (k, n) float64 array
        Finite values.
    edges, guess
        From `make_bins`.
    histogram : (k, bins + 2) int64 array
        Counts, changed in place.
    """
    place = np.empty(_CHUNK, np.float32)
    scratch = np.empty(_CHUNK, np.int32)
    near = np.empty(_CHUNK + 1, np.int64)
    top = histogram.shape[1] - 0.5
    for column in range(columns.shape[0]):
        for start in range(0, columns.shape[1], _CHUNK):
            x = columns[column, start : start + _CHUNK]
            _guess(x, guess[column], top, place[: x.size], scratch[: x.size])
            _count_chunk(x, place, scratch, near, edges[column], guess[column, 4], histogram[column])


@njit(nogil=True, cache=True)
def _count_chunk(
    x: Floats,
    place: NDArray[np.float32],
    bins: NDArray[np.int32],
    near: NDArray[np.int64],
    edges: Floats,
    tolerance: float,
    counts: NDArray[np.int64],
) -> None:
    trusted = _f4(0.5 - tolerance)
    for j in range(x.size):
        bins[j] = np.int32(place[j])
    for j in range(x.size):
        counts[np.uint32(bins[j])] += 1
    found = 0
    for j in range(x.size):
        near[found] = j
        found += abs((place[j] - _f4(bins[j])) - _f4(0.5)) >= trusted
    for i in range(found):
        value, first = x[near[i]], bins[near[i]]
        true = first
        while value < edges[true]:
            true -= 1
        while value >= edges[true + 1]:
            true += 1
        if true != first:
            counts[first] -= 1
            counts[true] += 1
