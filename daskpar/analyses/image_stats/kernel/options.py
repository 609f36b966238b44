"""What a combination can do: methods, rejections, and their parameters in the form the kernels take."""

from __future__ import annotations

import math
from typing import NamedTuple

from daskpar.errors import RecipeError

METHODS = ("mean", "median", "sum", "min", "max", "std", "var", "count", "percentile", "mad")
REJECTIONS = ("none", "sigma_clip", "minmax", "percentile", "winsorized", "ccd_noise")
NONE, SIGMA_CLIP, MINMAX, PERCENTILE, WINSORIZED, CCD_NOISE = range(6)
CENTERS = ("median", "mean")
SCALES = ("std", "mad_std")


class Rejection(NamedTuple):
    """Parameters of a rejection; see `rejection` for their meaning."""

    kind: int
    about_mean: bool
    by_mad: bool
    sigma_lower: float
    sigma_upper: float
    maxiters: int
    n_low: int
    n_high: int
    low_fraction: float
    high_fraction: float
    read_noise: float
    gain: float
    sensitivity_noise: float


def choice(key: str, value: str, allowed: tuple[str, ...]) -> int:
    """Return the place of ``value`` among those allowed, or raise RecipeError."""
    if value not in allowed:
        raise RecipeError(f"{key} is {value!r}", f"choose one of {', '.join(allowed)}", key=key)
    return allowed.index(value)


def at_least(key: str, value: float, low: float) -> float:
    """Return the number if it is one and not below ``low``, else raise RecipeError."""
    if not value >= low:
        raise RecipeError(f"{key} is {value}", f"give a number of at least {low}", key=key)
    return value


def rounds(maxiters: int | None) -> int:
    """Return the largest number of rounds."""
    return 2**31 if maxiters is None else int(at_least("maxiters", maxiters, 1))


def rejection(
    kind: str = "none", *, sigma: float = 3.0, sigma_lower: float | None = None,
    sigma_upper: float | None = None,
    maxiters: int | None = 5, center: str = "median", scale: str = "std", nlow: int = 1, nhigh: int = 1,
    low_fraction: float = 0.2, high_fraction: float = 0.1, read_noise: float = 0.0, gain: float = 1.0,
    sensitivity_noise: float = 0.0,
) -> Rejection:  # fmt: skip
    """Check the parameters of a rejection.

    Parameters
    ----------
    kind : str
        One of `REJECTIONS`.
    sigma, sigma_lower, sigma_upper : float
        Distance of the bounds from the centre, in scales (sigma_clip, winsorized, ccd_noise). The
        last two default to the first. May be infinite: no bound on that side.
    maxiters : int or None
        Rounds at most, at least 1; None: until nothing goes.
    center : {"median", "mean"}
        Centre of the bounds (sigma_clip, ccd_noise).
    scale : {"std", "mad_std"}
        Scale of sigma_clip: standard deviation with ddof 0, or 1.4826 median absolute deviations.
    nlow, nhigh : int
        Values that minmax rejects from a full pixel.
    low_fraction, high_fraction : float
        Distance of the bounds of the percentile rejection from the median, in medians.
    read_noise, gain, sensitivity_noise : float
        Noise model of ccd_noise: electrons, electrons a count, fraction of the signal.

    Raises
    ------
    RecipeError
        A name is unknown or a number out of range.
    """
    lower = sigma if sigma_lower is None else sigma_lower
    upper = sigma if sigma_upper is None else sigma_upper
    if gain <= 0 or math.isnan(gain):
        raise RecipeError(f"gain is {gain}", "give electrons a count, above 0", key="gain")
    code = choice("rejection", kind, REJECTIONS)
    return Rejection(
        kind=code,
        about_mean=choice("center", center, CENTERS) == 1,
        by_mad=choice("scale", scale, SCALES) == 1,
        sigma_lower=float(at_least("sigma_lower", lower, 0.0)),
        sigma_upper=float(at_least("sigma_upper", upper, 0.0)),
        maxiters=1 if code == PERCENTILE else rounds(maxiters),
        n_low=int(at_least("nlow", nlow, 0)),
        n_high=int(at_least("nhigh", nhigh, 0)),
        low_fraction=float(at_least("low_fraction", low_fraction, 0.0)),
        high_fraction=float(at_least("high_fraction", high_fraction, 0.0)),
        read_noise=float(at_least("read_noise", read_noise, 0.0)),
        gain=float(gain),
        sensitivity_noise=float(at_least("sensitivity_noise", sensitivity_noise, 0.0)),
    )
