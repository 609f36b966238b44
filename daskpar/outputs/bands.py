"""An array too large for memory, row band after row band."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

BAND_BYTES = 16 * 1024**2
_SPLIT = 4


def bands(variable: xr.DataArray, most: int = BAND_BYTES) -> Iterator[np.ndarray[Any, Any]]:
    """Yield a variable in pieces of about `most` bytes, in C order.

    Each piece is computed in this thread, whatever the default scheduler: what is written comes from stored
    results, and reading them needs no cluster.

    Parameters
    ----------
    variable : xarray.DataArray
        Of at least one dimension. Bands end at chunk borders where chunks are smaller than a band.
    most : int
        Bytes a piece, exceeded where a single row or chunk is larger. A chunk is split only from four times
        that on: each part of it is paid for with reading all of it.

    Yields
    ------
    numpy.ndarray
        Rows of the last two dimensions, or elements of the only one.
    """
    if variable.ndim > 2:
        for index in range(variable.shape[0]):
            yield from bands(variable[index], most)
        return
    for start, stop in pairwise(_borders(variable, most)):
        yield np.asarray(variable[start:stop].compute(scheduler="synchronous").values)


def _borders(variable: xr.DataArray, most: int) -> list[int]:
    length = variable.shape[0]
    row_bytes = max(1, variable.nbytes // max(1, length))
    rows = max(1, most // row_bytes)
    chunks = variable.chunks[0] if variable.chunks else (length,)
    borders = [0]
    end = 0
    for chunk in chunks:
        if end + chunk - borders[-1] > rows and end > borders[-1]:
            borders.append(end)
        end += chunk
        while end - borders[-1] >= _SPLIT * rows:
            borders.append(borders[-1] + rows)
    return [*borders, length] if length > borders[-1] else borders
