"""Reading pixels of a scanned stack: each call opens files, checks them against the record, closes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import InputError
from daskpar.inputs.file_access import OpenFile, opened, read_exactly
from daskpar.inputs.image_decode import inflate, untile
from daskpar.inputs.image_record import ImageStack, PlaneName
from daskpar.inputs.pixel_format import PixelFormat
from daskpar.inputs.reading_time import timed
from daskpar.reused import reused

SLAB_BYTES = 1 << 20


@contextmanager
def unchanged(stack: ImageStack, frame: int, plane: PlaneName = "data") -> Iterator[OpenFile]:
    """Open the file of a frame, and make sure before and after that it is the file that was scanned.

    Raises
    ------
    InputError
        Naming file and HDU: where it changed in length or modification time, vanished, or cannot be read.
    """
    table = stack.plane(plane)
    path = stack.path(frame, plane)
    known = (int(table.size[frame]), int(table.mtime_ns[frame]))
    try:
        with opened(path) as file:
            _compare(known, (file.size, file.mtime_ns))
            yield file
            status = os.fstat(file.fd)
            _compare(known, (status.st_size, status.st_mtime_ns))
    except InputError as error:
        what, todo, key = error.faults[0].what, error.faults[0].todo, error.faults[0].key
        raise InputError(what, todo, path=path, place=f"[{table.hdu[frame]}]", key=key) from None
    except OSError as error:
        what = f"it cannot be read: {error.strerror}"
        raise InputError(what, "look at the file system", path=path) from None


def _compare(known: tuple[int, int], found: tuple[int, int]) -> None:
    if known != found:
        raise InputError(
            f"the file changed since it was scanned: {known[0]} bytes then, {found[0]} now"
            if known[0] != found[0]
            else "the file changed since it was scanned: it was written again",
            "start again when it is complete; results of the old file are not mixed with the new",
        )


@timed
def read_rows_raw(
    stack: ImageStack,
    frame: int,
    start: int,
    stop: int,
    *,
    plane: PlaneName = "data",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Read a band of rows of one frame as it is stored: big-endian and unscaled.

    Parameters
    ----------
    stack : ImageStack
        The record.
    frame, start, stop : int
        Which frame; first row and the row after the last, ``0 <= start <= stop <= rows``.
    plane : {"data", "mask", "uncertainty"}
        Which image of the frame.
    out : C-contiguous array (stop - start, columns), optional
        Of the stored dtype.

    Returns
    -------
    array (stop - start, columns)
        Of the stored dtype, ``>f4`` say; scaling and BLANK are in ``plane.formats[plane.format[frame]]``.

    Raises
    ------
    InputError
        Where the file changed since it was scanned, or cannot be read.
    ValueError
        Where the rows are outside the image, or the file is compressed.
    """
    table = stack.plane(plane)
    if table.storage[frame] != "plain":
        raise ValueError("compressed frames have no rows to read: use read_frame")
    columns, form = stack.shape[1], table.formats[table.format[frame]]
    _check_rows(stack, start, stop)
    if out is None:
        out = np.empty((stop - start, columns), form.stored)
    if out.shape != (stop - start, columns) or out.dtype != form.stored:
        raise ValueError(f"out must be {(stop - start, columns)} {form.stored}, not {out.shape} {out.dtype}")
    with unchanged(stack, frame, plane) as file:
        _read_stored(stack, file, frame, start, out, plane)
    return out


def _read_stored(
    stack: ImageStack, file: OpenFile, frame: int, start: int, out: NDArray[Any], plane: PlaneName
) -> None:
    """Fill an array with the rows from `start` on."""
    offset = int(stack.plane(plane).offset[frame]) + start * stack.shape[1] * out.itemsize
    if read_exactly(file.fd, _bytes(out), offset) < out.nbytes:
        raise InputError("the data end too early", "fetch the file again")


def _bytes(array: NDArray[Any]) -> memoryview:
    if not array.flags.c_contiguous:
        raise ValueError("out must be C-contiguous")
    return memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]


@timed
def read_rows(
    stack: ImageStack,
    frame: int,
    start: int,
    stop: int,
    *,
    plane: PlaneName = "data",
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Read a band of rows of one frame as native pixel values.

    Parameters
    ----------
    stack, frame, start, stop, plane
        As in `read_rows_raw`; compressed frames are decoded whole.
    out : array (stop - start, columns), optional
        Of the dtype of the plane.

    Returns
    -------
    array (stop - start, columns)
        Native values of the dtype of the plane: scaled by BSCALE and BZERO, NaN where BLANK, the same bits
        as a whole read by ``astropy.io.fits``.

    Raises
    ------
    InputError
        Where the file changed since it was scanned, or cannot be read.
    """
    table = stack.plane(plane)
    form: PixelFormat = table.formats[table.format[frame]]
    _check_rows(stack, start, stop)
    if table.storage[frame] != "plain":
        return form.values(_decode(stack, frame, plane)[start:stop], out)
    columns = stack.shape[1]
    if out is None:
        out = reused((stop - start, columns), form.dtype)
    if out.shape != (stop - start, columns):
        raise ValueError(f"out must be {(stop - start, columns)}, not {out.shape}")
    # Some rows at a time: what is stored stays in the cache until it is converted, and is not held twice.
    step = max(1, SLAB_BYTES // (columns * form.stored.itemsize))
    raw = np.empty((min(step, stop - start), columns), form.stored)
    with unchanged(stack, frame, plane) as file:
        for row in range(start, stop, step):
            some = raw[: stop - row]
            _read_stored(stack, file, frame, row, some, plane)
            form.values(some, out[row - start : row - start + step])
    return out


def _decode(stack: ImageStack, frame: int, plane: PlaneName) -> NDArray[Any]:
    table = stack.plane(plane)
    form = table.formats[table.format[frame]]
    with unchanged(stack, frame, plane) as file:
        if table.storage[frame] == "gzip":
            return inflate(file, int(table.offset[frame]), stack.shape, form)
        return untile(file, int(table.hdu[frame]), stack.shape, form)


def _check_rows(stack: ImageStack, start: int, stop: int) -> None:
    if not 0 <= start <= stop <= stack.shape[0]:
        raise ValueError(f"rows {start}:{stop} are outside 0:{stack.shape[0]}")


def read_frame(
    stack: ImageStack, frame: int, *, plane: PlaneName = "data", out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Read a whole frame as native pixel values, compressed or not; (rows, columns). As `read_rows`."""
    return read_rows(stack, frame, 0, stack.shape[0], plane=plane, out=out)


def read_mask_rows(stack: ImageStack, frame: int, start: int, stop: int) -> NDArray[np.bool_]:
    """Read a band of rows of the mask of one frame; boolean (stop - start, columns), True where masked.

    Masked is where ``mask & dq_bits`` is not 0, or, where no bits were chosen, where the mask is not 0 (NaN
    included). Arguments and errors as `read_rows`.
    """
    values = read_rows(stack, frame, start, stop, plane="mask")
    if stack.dq_bits:
        # As unsigned numbers, so that the sign bit can be chosen like any other.
        unsigned = values.view(f"u{values.itemsize}")
        values = unsigned & unsigned.dtype.type(stack.dq_bits & ((1 << (8 * values.itemsize)) - 1))
    return np.asarray(values != 0)


def read_band(
    stack: ImageStack, start: int, stop: int, *, plane: PlaneName = "data", out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Read a band of rows of all frames as native pixel values; (frames, stop - start, columns).

    One file is open at a time. `out` is of the dtype of the plane; errors as `read_rows`.
    """
    table = stack.plane(plane)
    shape = (stop - start, stack.shape[1])
    if out is None:
        out = reused((len(stack), *shape), table.dtype)
    # One buffer for the stored numbers of all frames stays in the cache of the CPU.
    raw = {form.stored: np.empty(shape, form.stored) for form in table.formats if table.sliceable}
    for frame in range(len(stack)):
        form: PixelFormat = table.formats[table.format[frame]]
        if form.stored in raw:
            read_rows_raw(stack, frame, start, stop, plane=plane, out=raw[form.stored])
            form.values(raw[form.stored], out[frame])
        else:
            read_rows(stack, frame, start, stop, plane=plane, out=out[frame])
    return out


def read_band_raw(
    stack: ImageStack, start: int, stop: int, *, plane: PlaneName = "data", out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Read a band of rows of all frames as stored, for kernels that swap and scale themselves.

    Returns
    -------
    array (frames, stop - start, columns)
        Big-endian, unscaled, of dtype ``stack.plane(plane).stored``.

    Raises
    ------
    ValueError
        Where the frames are stored in different dtypes, or compressed.
    """
    stored = stack.plane(plane).stored
    if stored is None:
        raise ValueError("the frames are compressed or stored in different dtypes: use read_band")
    if out is None:
        out = reused((len(stack), stop - start, stack.shape[1]), stored)
    for frame in range(len(stack)):
        read_rows_raw(stack, frame, start, stop, plane=plane, out=out[frame])
    return out
