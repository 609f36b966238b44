"""Functions to map that ship with daskpar: small, deterministic, the same bits on every processor."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Mapping
from typing import Any

INTERVALS = 1024  # of Simpson's rule: good to 1e-9 up to redshift 10

WAIT = 0.05  # seconds

SPEED_OF_LIGHT = 299792.458
"""In km/s."""


def comoving_distance(parameters: Mapping[str, float]) -> dict[str, Any]:
    """Return distances in a flat universe of matter and a cosmological constant.

    Parameters
    ----------
    parameters : mapping
        ``redshift`` (at least 0), ``hubble`` (km/s/Mpc, above 0) and ``omega_matter`` (0 to 1).

    Returns
    -------
    dict
        The parameters, and the distances ``comoving`` and ``luminosity`` in Mpc.

    Raises
    ------
    ValueError
        A parameter is out of range.

    Notes
    -----
    Hogg 1999 (arXiv:astro-ph/9905116), equations 15 and 21, without radiation. Only + × ÷ √ and an exactly
    rounded sum: nothing here depends on the processor.
    """
    from astropy import units

    z, hubble, omega = (float(parameters[name]) for name in ("redshift", "hubble", "omega_matter"))
    if not (0 <= z < math.inf and 0 < hubble < math.inf and 0 <= omega <= 1):
        raise ValueError(f"redshift {z}, hubble {hubble}, omega_matter {omega}: out of range")
    # With u = 1 / √(1 + z) in place of z the integrand is smooth up to the highest redshifts.
    start = 1 / math.sqrt(1 + z)
    step = (1 - start) / INTERVALS
    weights = [1.0, *([4.0, 2.0] * (INTERVALS // 2))[:-1], 1.0]
    terms = [weight * _integrand(start + i * step, omega) for i, weight in enumerate(weights)]
    distance = SPEED_OF_LIGHT / hubble * (math.fsum(terms) * step / 3)
    distances = {"comoving": distance * units.Mpc, "luminosity": distance * (1 + z) * units.Mpc}
    return {"redshift": z, "hubble": hubble, "omega_matter": omega, **distances}


def _integrand(u: float, omega: float) -> float:
    return 2 / math.sqrt(omega + (1 - omega) * (u * u * u) * (u * u * u))


async def waiting(parameters: Mapping[str, float]) -> dict[str, float]:
    """Wait as for a server, and return the parameters: work that needs no processor.

    Parameters
    ----------
    parameters : mapping
        ``seconds`` to wait, at least 0 (0.05 if not given), and whatever else.

    Notes
    -----
    A coroutine function: `asyncio` has many of these calls wait at once in one thread. Wherever else it is
    mapped, each call is run to its end.
    """
    seconds = float(parameters.get("seconds", WAIT))
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds {seconds}: out of range")
    await asyncio.sleep(seconds)
    return dict(parameters)


def sky_background(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return level and noise of the sky in the first image of a FITS file.

    Returns
    -------
    dict
        ``sky``, the median, and ``noise``, the standard deviation (ddof 0), of what remains after clipping at
        3 standard deviations around the median, in units of the pixels; ``used``, the fraction that remains.
    """
    import numpy as np
    from astropy.io import fits

    with fits.open(path, memmap=False) as file:
        images = (hdu.data for hdu in file if hdu.is_image)
        pixels = next(np.asarray(data, np.float64) for data in images if data is not None)
    values = np.sort(pixels[np.isfinite(pixels)])
    if not values.size:
        raise ValueError("the image has no finite pixel")
    total = pixels.size
    while True:
        center, spread = np.median(values), np.std(values)
        inside = values[np.abs(values - center) <= 3 * spread]
        if inside.size == values.size:
            return {"sky": float(center), "noise": float(spread), "used": values.size / total}
        values = inside
