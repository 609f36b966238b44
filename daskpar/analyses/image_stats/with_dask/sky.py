"""The WCS of stacks and results, also of an image that was cut out of another."""

from __future__ import annotations

from typing import Any

import numpy as np

from daskpar.errors import InputError
from daskpar.lazy import xr


def wcs(ds: xr.Dataset | xr.DataArray) -> Any:
    """Return the celestial WCS of a stack or of a combined image.

    Parameters
    ----------
    ds : xarray.Dataset or DataArray
        From `open_stack`, `combine` or a run; of a stack that was sliced, the WCS of the slice.

    Returns
    -------
    astropy.wcs.WCS
        Made anew; it may be changed. ``pixel_shape`` is set. Pixels are counted from 0 in numpy's order
        ``[y, x]``, as ``world_to_array_index`` gives them.

    Raises
    ------
    daskpar.errors.InputError
        There is none, or the slice has gaps, which a header cannot describe.
    """
    from astropy.wcs import WCS

    planes = ds.data_vars.values() if isinstance(ds, xr.Dataset) else ()
    one: Any = next((plane for plane in planes if plane.attrs.get("wcs_header")), ds)
    text = wcs_header(one)
    if not text:
        raise InputError("there is no celestial WCS", "see attrs['wcs_header'], which is empty", key="wcs")
    found = WCS(text, naxis=2)
    found.pixel_shape = one.sizes["x"], one.sizes["y"]
    return found


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
