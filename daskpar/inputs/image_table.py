"""From the rows of the scan to the columns of the record; rows that do not go together are refused."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from daskpar.errors import Fault, InputError
from daskpar.inputs.image_files import first_five
from daskpar.inputs.image_meta import without_comments
from daskpar.inputs.image_record import ImageStack, InputWarning, Plane
from daskpar.inputs.image_scan import Scanned
from daskpar.inputs.pixel_format import PixelFormat


def check_alike(rows: Sequence[Scanned], root: str) -> None:
    """Refuse frames that differ from most in shape or in the dtype of their pixel values.

    Raises
    ------
    InputError
        With the first five.
    """
    kinds = [(row.shape, row.format.dtype) for row in rows]
    (usual, count), *others = Counter(kinds).most_common()
    if not others:
        return
    todo = f"{count} of {len(rows)} frames are {_kind(*usual)}; combine equal frames only"
    faults = [
        Fault(f"the frame is {_kind(*kind)}", todo, os.path.join(root, row.source.path), f"[{row.hdu}]")
        for row, kind in zip(rows, kinds, strict=True)
        if kind != usual
    ]
    raise InputError(faults=first_five(faults))


def check_shape(
    rows: Sequence[Scanned], shape: tuple[int, int], root: str, name: str, *, integers: bool
) -> None:
    """Refuse masks or uncertainties of another shape than the frames, or of different dtypes.

    `integers` refuses those that are no whole numbers, which have no bits to choose from.

    Raises
    ------
    InputError
        With the first five.
    """
    faults = []
    for row in dict.fromkeys(rows):
        path = os.path.join(root, row.source.path)
        dtype = row.format.dtype
        if row.shape != shape:
            what = f"the {name} is {row.shape[1]} x {row.shape[0]}, the frames are {shape[1]} x {shape[0]}"
            faults.append(Fault(what, "give one of the same shape", path, f"[{row.hdu}]", name))
        elif integers and dtype.kind not in "iu":
            what, todo = f"bits are chosen, but the mask is {dtype}", "drop dq_bits, or name the DQ extension"
            faults.append(Fault(what, todo, path, f"[{row.hdu}]", name))
    if faults:
        raise InputError(faults=first_five(faults))
    check_alike(rows, root)


def _kind(shape: tuple[int, int], dtype: np.dtype[Any]) -> str:
    return f"{shape[1]} x {shape[0]} {dtype}"


def make_stack(rows: Sequence[Scanned], root: str) -> ImageStack:
    """Make the record of frames that go together, without masks and uncertainties."""
    texts: dict[bytes, int] = {}
    wcs = [texts.setdefault(without_comments(row.wcs), len(texts)) for row in rows]
    units = {row.meta.unit for row in rows}
    filters: dict[str, str] = {}
    return ImageStack(
        root=root,
        shape=rows[0].shape,
        data=make_plane(rows),
        exposure=_frozen([row.meta.exposure for row in rows], np.float64),
        mid_time=_frozen([row.meta.mid_time for row in rows], np.float64),
        # Equal strings are shared: a pickle then holds each filter once.
        filter=tuple(filters.setdefault(row.meta.filter, row.meta.filter) for row in rows),
        unit=units.pop() if len(units) == 1 else "",
        wcs_header=rows[0].wcs.decode("latin-1"),
        wcs_texts=tuple(texts),
        wcs=_frozen(wcs, np.uint32),
    )


def make_plane(rows: Sequence[Scanned]) -> Plane:
    """Make the columns of one plane."""
    forms: dict[PixelFormat, int] = {}
    digests = b"".join(row.digest for row in rows)
    return Plane(
        paths=tuple(row.source.path for row in rows),
        size=_frozen([row.size for row in rows], np.int64),
        mtime_ns=_frozen([row.mtime_ns for row in rows], np.int64),
        digest=np.frombuffer(digests, np.uint8).reshape(len(rows), 16),
        hdu=_frozen([row.hdu for row in rows], np.int32),
        offset=_frozen([row.offset for row in rows], np.int64),
        format=_frozen([forms.setdefault(row.format, len(forms)) for row in rows], np.uint32),
        formats=tuple(forms),
        storage=tuple(row.storage for row in rows),
        dtype=rows[0].format.dtype,
    )


def _frozen(values: Sequence[Any], dtype: Any) -> Any:
    array = np.array(values, dtype)
    array.flags.writeable = False
    return array


def make_warnings(frames: Sequence[Scanned], rows: Sequence[Scanned]) -> tuple[InputWarning, ...]:
    """Count the oddities of all rows, and different units of the frames."""
    found: dict[str, list[str]] = {}
    for row in dict.fromkeys(rows):
        for what in row.warnings:
            found.setdefault(what, []).append(row.source.path)
    units = Counter(row.meta.unit or "none" for row in frames)
    if len(units) > 1:
        (usual, _), *_ = units.most_common()
        text = ", ".join(f"{unit} in {count}" for unit, count in units.most_common(5))
        odd = [row.source.path for row in frames if (row.meta.unit or "none") != usual]
        found[f"BUNIT differs between frames: {text}"] = odd
    return tuple(InputWarning(what, len(paths), tuple(paths[:5])) for what, paths in found.items())
