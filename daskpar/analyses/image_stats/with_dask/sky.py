"""The WCS of an image that was cut out of another."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr


def wcs_header(stack: xr.DataArray) -> str:
    """Return the WCS header of a stack for the pixels that it has now.

    Rows and columns say which part of the frames it is; the reference pixel moves with it. ``""`` where they
    have gaps or run backwards, since a few cards cannot describe that, or where there is no WCS.
    """
    text = str(stack.attrs.get("wcs_header") or "")
    places = [_first(stack, "column", "x"), _first(stack, "row", "y")]
    if not text or places == [0, 0]:
        return text
    if None in places:
        return ""
    return _moved(text, places)


def _first(stack: xr.DataArray, name: str, dimension: str) -> int | None:
    """Return the number of the first row or column; None where they do not follow each other."""
    coordinate: Any = stack.coords.get(name)
    if coordinate is None or coordinate.dims != (dimension,):
        return 0
    numbers = np.asarray(coordinate.values)
    if numbers.size == 0 or (np.diff(numbers) != 1).any():
        return None
    return int(numbers[0])


def _moved(text: str, places: list[Any]) -> str:
    from astropy.io import fits

    header = fits.Header.fromstring(text)
    for axis, first in enumerate(places, start=1):
        header[f"CRPIX{axis}"] = float(header.get(f"CRPIX{axis}", 0.0)) - first
    moved: str = header.tostring(endcard=False, padding=False)
    return moved
