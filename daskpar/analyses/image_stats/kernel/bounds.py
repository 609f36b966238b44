"""The bounds beyond which values are rejected, from median and moments of the values in use."""

from __future__ import annotations

import numpy as np

from .compiled import LANES, MAD_TO_STD, Array, inner, whole_vectors, wide_vectors
from .mad import deviations
from .options import CCD_NOISE, PERCENTILE, WINSORIZED, Rejection
from .state import Bounds, State
from .winsorized import winsorized_std

ULP = 2.0**-52


@inner
def sigma_bounds(tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds, mad: bool | None) -> None:
    """Fill in the bounds of sigma clipping from median and moments; ``mad`` is None unless they need MADs.

    The doubt is an upper limit to the error of (x - centre) - distance for an x near the bound: one
    rounding of the pivot, and (n + a few) roundings relative to the root mean square deviation, which about
    a median is at most sqrt(2) standard deviations.
    """
    wide_vectors()
    if mad is not None:
        deviations(tile, lanes, s.first, s.last, s.pivot, b.mads, b.scratch)
    widest = 0.0
    for sigma in (rule.sigma_lower, rule.sigma_upper):
        widest = max(widest, sigma) if sigma < np.inf else widest
    first, last, pivot, sum1, sum2 = s.first, s.last, s.pivot, s.sum1, s.sum2
    centres, lowers, uppers, doubts, mads = b.centre, b.lower, b.upper, b.doubt, b.mads
    for j in range(whole_vectors(lanes)):
        n = np.float64(last[j] - first[j])
        square, offset = sum2[j] / n, sum1[j] / n
        std = np.sqrt(max(square - offset * offset, 0.0))
        scale = mads[j] * MAD_TO_STD if rule.by_mad else std
        centres[j] = pivot[j] + offset if rule.about_mean else pivot[j]
        lowers[j] = scaled(rule.sigma_lower, scale)
        uppers[j] = scaled(rule.sigma_upper, scale)
        doubts[j] = ULP * (4.0 * abs(pivot[j]) + (4.0 * n + 32.0) * (1.0 + widest) * (1.5 * std + scale))
    for j in range(lanes):
        square = sum2[j]
        if not 1e-270 < square < 1e280:
            # Equal values make exact bounds; squares that overflow or underflow make none at all.
            low, high = tile[first[j] * LANES + j], tile[(last[j] - 1) * LANES + j]
            doubts[j] = 0.0 if low == high else np.inf
        elif rule.by_mad and mads[j] == 0.0 and not rule.about_mean:
            # The middle values are equal: centre and bounds are exact.
            doubts[j] = 0.0


@inner
def percentile_bounds(lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Fractions of the median below and above it: Siril's and PixInsight's percentile clipping, one round."""
    for j in range(lanes):
        b.centre[j] = s.pivot[j]
        b.lower[j], b.upper[j] = rule.low_fraction * abs(s.pivot[j]), rule.high_fraction * abs(s.pivot[j])


@inner
def noise_bounds(lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Multiples of the noise of a CCD at the centre: IRAF's ccdclip.

    noise^2 = (read_noise / gain)^2 + centre / gain + (sensitivity_noise centre)^2, in counts.
    """
    floor = (rule.read_noise / rule.gain) * (rule.read_noise / rule.gain)
    for j in range(lanes):
        centre = s.pivot[j]
        if rule.about_mean:
            centre += s.sum1[j] / np.float64(s.last[j] - s.first[j])
        signal = max(centre, 0.0)
        gain_noise = rule.sensitivity_noise * signal
        noise = np.sqrt(floor + signal / rule.gain + gain_noise * gain_noise)
        b.centre[j] = centre
        b.lower[j], b.upper[j] = scaled(rule.sigma_lower, noise), scaled(rule.sigma_upper, noise)


@inner
def scaled(sigma: float, scale: float) -> float:
    """Return the product, infinite where sigma is: no bound, even for a scale of 0."""
    return sigma * scale if sigma < np.inf else np.inf


@inner
def winsorized_bounds(tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds) -> None:
    """Multiples of the winsorized standard deviation about the median; see `winsorized`."""
    winsorized_std(tile, lanes, s, b.mads, b.scratch, b.room)
    for j in range(lanes):
        b.centre[j] = s.pivot[j]
        b.lower[j], b.upper[j] = scaled(rule.sigma_lower, b.mads[j]), scaled(rule.sigma_upper, b.mads[j])


@inner
def set_bounds(
    tile: Array, lanes: int, rule: Rejection, s: State, b: Bounds,
    mad: bool | None, winsorized: bool | None, simple: bool | None,
) -> None:  # fmt: skip
    """Fill in the bounds of the rule in force; see `parts` for the last three."""
    wide_vectors()
    if winsorized is not None:
        b.doubt[:lanes] = 0.0
        winsorized_bounds(tile, lanes, rule, s, b)
    elif simple is not None:
        b.doubt[:lanes] = 0.0
        if rule.kind == CCD_NOISE:
            noise_bounds(lanes, rule, s, b)
        else:
            percentile_bounds(lanes, rule, s, b)
    else:
        sigma_bounds(tile, lanes, rule, s, b, mad)


def parts(rule: Rejection) -> tuple[bool | None, bool | None, bool | None]:
    """Say what of `set_bounds` a rule needs: MADs, winsorizing, a simple rule; None what it does not.

    A branch that an argument None excludes is not compiled, and compiling all of them takes seconds.
    """
    needed = rule.by_mad, rule.kind == WINSORIZED, rule.kind in (CCD_NOISE, PERCENTILE)
    mad, winsorized, simple = (True if part else None for part in needed)
    return mad, winsorized, simple
