"""Decoding whole compressed frames: gzip streams, and tile-compressed images through astropy."""

from __future__ import annotations

import gzip
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import InputError
from daskpar.inputs.file_access import OpenFile, check_inflation, gzip_errors
from daskpar.inputs.pixel_format import PixelFormat


def inflate(file: OpenFile, offset: int, shape: tuple[int, int], form: PixelFormat) -> NDArray[Any]:
    """Read the stored numbers of an image inside a gzip stream.

    The stream is read to its end, since only there its checksum shows damage; all within the caps on size.

    Returns
    -------
    array of shape `shape`
        Of the stored dtype.

    Raises
    ------
    InputError
        Where the stream is damaged, cut off, or inflates beyond the caps.
    """
    out = np.empty(shape, form.stored)
    check_inflation(offset + out.nbytes, file.size)
    with os.fdopen(os.dup(file.fd), "rb") as source, gzip_errors():
        source.seek(0)
        stream = gzip.GzipFile(fileobj=source)
        stream.seek(offset)
        buffer = memoryview(out.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
        done = 0
        while done < out.nbytes and (count := stream.readinto(buffer[done : done + (1 << 20)])):
            done += count
        if done < out.nbytes:
            raise InputError("the inflated data end too early", "fetch the file again")
        while stream.read(1 << 20):
            check_inflation(stream.tell(), file.size)
    return out


def untile(file: OpenFile, hdu: int, shape: tuple[int, int], form: PixelFormat) -> NDArray[Any]:
    """Decompress a tile-compressed image (FITS 4.0, section 10) to its stored numbers.

    Returns
    -------
    array of shape `shape`
        Of the stored dtype; quantised floats are restored, with their dither, by astropy.

    Raises
    ------
    InputError
        Where astropy cannot decode it.
    """
    from astropy.io import fits

    with os.fdopen(os.dup(file.fd), "rb") as source:
        source.seek(0)
        try:
            with fits.open(source, memmap=False, do_not_scale_image_data=True) as hdus:
                data = hdus[hdu].data
        # Damaged tiles end in errors of many kinds inside astropy and its C code.
        except Exception as error:
            raise InputError(f"the tiles cannot be decompressed: {error}", "fetch the file again") from None
    if data is None or data.size != shape[0] * shape[1]:
        raise InputError("the tiles do not fill the image", "fetch the file again")
    return np.asarray(data).reshape(shape).astype(form.stored, copy=False)
