"""Numbers that stand in the headers of frames under a keyword of the user's choice."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import Fault, InputError
from daskpar.inputs.file_access import is_gzip, reader
from daskpar.inputs.fits_file import find
from daskpar.inputs.image_files import first_five
from daskpar.inputs.image_read import unchanged
from daskpar.inputs.image_record import ImageStack


def keyword_numbers(stack: ImageStack, keyword: str) -> NDArray[np.float64]:
    """Read a number from the header of each frame: of its HDU, else of the primary one.

    Parameters
    ----------
    stack : ImageStack
        The record; each file is opened once more.
    keyword : str
        As in the header.

    Returns
    -------
    float64 array (n,)

    Raises
    ------
    InputError
        With the first five frames that have none, or no finite number.
    """
    found, faults = np.full(len(stack), np.nan), []
    for frame in range(len(stack)):
        value = _value(stack, frame, keyword)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            what = f"{keyword} is {value!r}, not a number" if value is not None else f"it has no {keyword}"
            faults.append(Fault(what, "mend the header, or give numbers", stack.path(frame), key=keyword))
        else:
            found[frame] = value
    if faults:
        raise InputError(faults=first_five(faults))
    return found


def _value(stack: ImageStack, frame: int, keyword: str) -> object:
    with unchanged(stack, frame) as file:
        zipped = is_gzip(file)
        with reader(file, zipped) as read_at:
            hdu, primary = find(read_at, None if zipped else file.size, int(stack.data.hdu[frame]))
    return next((header.get(keyword) for header in (hdu.header, primary) if keyword in header), None)
