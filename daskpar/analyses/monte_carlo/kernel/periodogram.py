"""Largest Lomb-Scargle power of simulated series, all frequencies from one table of basis vectors."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel.arithmetic import sine_cosine

Floats = NDArray[np.float64]
_LANES = 64


def basis(times: Floats, errors: Floats, frequencies: Floats) -> Floats:
    """Orthonormal vectors of a constant and, for each frequency, of a cosine and a sine freed from it.

    Parameters
    ----------
    times, errors : (t,) float64 arrays
        Times and standard errors of the measurements.
    frequencies : (f,) float64 array
        In cycles per unit of time.

    Returns
    -------
    (1 + 2 f, t) float64 array
        For values divided by their errors. The sum of the two squared projections, over the squared length of
        what is left of the values without the constant, is the power of Zechmeister and Kürster (2009),
        doi:10.1051/0004-6361:200811296, between 0 and 1.
    """
    weight = 1.0 / errors
    constant = weight / _norm(weight)
    table = np.empty((1 + 2 * frequencies.size, times.size))
    table[0] = constant
    start = times.min()
    for i, frequency in enumerate(frequencies):
        sine, cosine = sine_cosine((times - start) * frequency)
        first = _without(weight * cosine, [constant])
        second = _without(weight * sine, [constant, first])
        table[1 + 2 * i], table[2 + 2 * i] = first, second
    return table


def _norm(vector: Floats) -> float:
    return float(np.sqrt(np.sum(vector * vector)))


def _without(vector: Floats, others: list[Floats]) -> Floats:
    """Return the unit vector of the part orthogonal to `others`; zero where nothing is left."""
    size = _norm(vector)
    for _ in range(2):  # the second pass removes what rounding left in the first
        for other in others:
            vector = vector - np.sum(vector * other) * other
    left = _norm(vector)
    return vector / left if left > 1e-8 * size else np.zeros_like(vector)


@njit(nogil=True, cache=True)
def powers(table: Floats, scaled: Floats) -> Floats:
    """Power at each frequency of one series, its values divided by their errors: shape (f,)."""
    count = (table.shape[0] - 1) // 2
    found = np.empty(count)
    rest = 0.0
    mean = 0.0
    for t in range(scaled.size):
        rest += scaled[t] * scaled[t]
        mean += scaled[t] * table[0, t]
    rest -= mean * mean
    for f in range(count):
        a, b = 0.0, 0.0
        for t in range(scaled.size):
            a += table[1 + 2 * f, t] * scaled[t]
            b += table[2 + 2 * f, t] * scaled[t]
        found[f] = (a * a + b * b) / rest if rest > 0.0 else 0.0
    return found


@njit(nogil=True, cache=True)
def largest_powers(table: Floats, series: Floats) -> Floats:
    """Largest power of each of s series, given as columns (t, s) of values over errors: shape (s,)."""
    times, count = series.shape
    frequencies = (table.shape[0] - 1) // 2
    found = np.zeros(count)
    rest, mean = np.empty(_LANES), np.empty(_LANES)
    a, b = np.empty(_LANES), np.empty(_LANES)
    lanes = np.zeros((times, _LANES))
    for start in range(0, count, _LANES):
        here = min(_LANES, count - start)
        rest[:] = 0.0
        mean[:] = 0.0
        for t in range(times):
            for s in range(here):
                lanes[t, s] = series[t, start + s]
            row, weight = lanes[t], table[0, t]
            for s in range(_LANES):
                rest[s] += row[s] * row[s]
                mean[s] += row[s] * weight
        for s in range(_LANES):
            rest[s] -= mean[s] * mean[s]
        for f in range(frequencies):
            a[:] = 0.0
            b[:] = 0.0
            for t in range(times):
                row, u, v = lanes[t], table[1 + 2 * f, t], table[2 + 2 * f, t]
                for s in range(_LANES):
                    a[s] += u * row[s]
                    b[s] += v * row[s]
            for s in range(here):
                power = (a[s] * a[s] + b[s] * b[s]) / rest[s] if rest[s] > 0.0 else 0.0
                if power > found[start + s]:
                    found[start + s] = power
    return found
