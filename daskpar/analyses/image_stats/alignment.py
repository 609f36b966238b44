"""Frames brought to the pixels of the first one, by their celestial WCS.

``wcs_shift`` moves each frame by whole pixels and changes no value. The shift is what the WCS say at the
centre of the first frame, each axis rounded to the nearest integer (halves to even): stars are at most half a
pixel off on each axis, besides what the shifts differ over the image. Where that is more than half a pixel,
frames are rotated, scaled or distorted against each other, and refused.

``reproject`` interpolates bilinearly (the package reproject, `reproject_interp`): surface brightness stays,
a value made of masked ones is masked. Uncertainties are interpolated like values; that
neighbours are correlated afterwards is not taken into account.

What a frame does not cover is NaN, and masked where there are masks. Calibration comes first.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.image_stats.calibration import calibrated
from daskpar.errors import Fault, InputError, RecipeError
from daskpar.inputs.image_files import first_five
from daskpar.inputs.image_read import read_mask_rows, read_rows
from daskpar.inputs.image_record import PlaneName
from daskpar.inputs.image_wcs import check_aligned, wcs_of, wcs_offsets
from daskpar.inputs.images import ImageStack

METHODS = ("pixels", "wcs_shift", "reproject")

#: Share of an interpolated value that may come from masked ones: rounding alone is no reason to lose it.
MASKED_SHARE = 1e-3

#: Pixels that shifts may differ over the image.
MOST_DISTORTION = 0.5


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class AlignedStack(ImageStack):
    """A stack whose frames are read as they lie on the pixels of its first frame.

    Attributes
    ----------
    frames : ImageStack
        As they are, calibration included.
    align : {"wcs_shift", "reproject"}
        How.
    reference : bytes
        WCS of the first frame of the whole stack.
    offsets : int64 array (n, 2)
        Of ``wcs_shift``: row and column of a frame that come to lie on the first.
    """

    frames: ImageStack
    align: Literal["wcs_shift", "reproject"] = "wcs_shift"
    reference: bytes = b""
    offsets: NDArray[np.int64]

    @property
    def sliceable(self) -> bool:
        """Rows come from whole frames, so they are aligned once and stored."""
        return False

    def identity(self, frames: slice = slice(None)) -> str:
        """Return the digest of some frames and of how they are aligned, for keys."""
        text = f"{self.frames.identity(frames)} {self.align} {self.offsets[frames].tolist()}"
        return hashlib.blake2b(text.encode() + self.reference, digest_size=20).hexdigest()

    def take(self, frames: slice) -> AlignedStack:
        """Return the record of some of the frames; the one they are aligned with stays the same."""
        part = cast(AlignedStack, super().take(frames))
        return replace(part, frames=self.frames.take(frames), offsets=self.offsets[frames])


def aligned(stack: ImageStack, align: str | None) -> ImageStack:
    """Return a stack whose frames are aligned with the first; the stack itself where pixels decide.

    Raises
    ------
    RecipeError
        The way is unknown, or the package for it is not installed.
    InputError
        A frame has no celestial WCS, or is more than shifted; or nothing is said, and the WCS differ by more
        than 0.2 pixel.
    """
    if align not in (None, *METHODS):
        raise RecipeError(f"align is {align!r}", f"give one of {', '.join(METHODS)}", key="align")
    if isinstance(stack, AlignedStack):
        return stack
    if align is None:
        check_aligned(stack)
    if align in (None, "pixels"):
        return stack
    if align == "reproject" and importlib.util.find_spec("reproject") is None:
        raise RecipeError("reproject is not installed", "pip install 'daskpar[align]'", key="align")
    without = np.flatnonzero([not stack.wcs_texts[k] for k in stack.wcs]).tolist()
    if without:
        todo = "add one, or leave align out"
        faults = [Fault("it has no celestial WCS", todo, stack.path(i), key="align") for i in without]
        raise InputError(faults=first_five(faults))
    offsets = _whole_offsets(stack) if align == "wcs_shift" else np.zeros((len(stack), 2), np.int64)
    values = {field.name: getattr(stack, field.name) for field in fields(ImageStack)}
    wide = np.dtype(np.float32 if stack.dtype.itemsize <= (4 if stack.dtype.kind == "f" else 2) else "f8")
    values["data"] = replace(stack.data, dtype=wide)
    if stack.uncertainty is not None and stack.uncertainty.dtype.kind != "f":
        values["uncertainty"] = replace(stack.uncertainty, dtype=np.dtype("f8"))
    reference = stack.wcs_texts[stack.wcs[0]]
    return AlignedStack(**values, frames=stack, align=align, reference=reference, offsets=offsets)  # type: ignore[arg-type]


def _whole_offsets(stack: ImageStack) -> NDArray[np.int64]:
    """Return by how many rows and columns each frame is off the first; refuse what is not a shift."""
    offsets = wcs_offsets(stack)  # (frame, point, x and y); the point in the middle is the centre
    centre = offsets[:, offsets.shape[1] // 2]
    with np.errstate(invalid="ignore"):
        distortion = np.hypot(*np.moveaxis(offsets - centre[:, np.newaxis], -1, 0)).max(axis=1)
    bad = np.flatnonzero(~(distortion <= MOST_DISTORTION)).tolist()
    if bad:
        faults = [
            Fault(
                f"its WCS is rotated, scaled or distorted against that of the first: shifts differ by"
                f" {distortion[i]:.2f} pixels over the image",
                f"say align: reproject (wcs_shift goes up to {MOST_DISTORTION} pixel)",
                stack.path(i),
                key="align",
            )
            for i in bad
        ]
        raise InputError(faults=first_five(faults))
    return np.rint(centre[:, ::-1]).astype(np.int64)


def aligned_rows(
    stack: ImageStack, frame: int, start: int, stop: int, plane: PlaneName = "data"
) -> NDArray[Any]:
    """Read rows of one frame of an `AlignedStack`, on the pixels of the first.

    Returns
    -------
    array (stop - start, columns)
        Of the dtype of the plane; NaN, or True in masks, where the frame does not reach.
    """
    record = cast(AlignedStack, stack)
    height = stack.shape[0]
    if plane == "mask":
        values: NDArray[Any] = read_mask_rows(record.frames, frame, 0, height)
    else:
        one = record.frames.take(slice(frame, frame + 1))
        raw = read_rows(one, 0, 0, height, plane=plane)[np.newaxis]
        values = calibrated(one, plane, raw, 0, height)[0].astype(stack.plane(plane).dtype)
    if record.align == "wcs_shift":
        return shifted(values, *record.offsets[frame].tolist())[start:stop]
    text = stack.wcs_texts[stack.wcs[frame]]
    return (values if text == record.reference else interpolated(values, text, record.reference))[start:stop]


def shifted(values: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Return the array whose [y, x] is [y + rows, x + columns] of the given one; NaN or True beyond."""
    out = np.full_like(values, True if values.dtype == bool else np.nan)
    height, width = values.shape
    top, bottom = max(0, -rows), min(height, height - rows)
    left, right = max(0, -columns), min(width, width - columns)
    if top < bottom and left < right:
        out[top:bottom, left:right] = values[top + rows : bottom + rows, left + columns : right + columns]
    return out


def interpolated(values: NDArray[Any], text: bytes, reference: bytes) -> NDArray[Any]:
    """Interpolate an image at the pixels of the reference WCS; a mask is True where any of its parts is."""
    from reproject import reproject_interp

    masks = values.dtype == bool
    given = values.astype(np.float64)
    found = reproject_interp(
        (given, wcs_of(text)), wcs_of(reference), values.shape, order="bilinear", return_footprint=False
    )
    if masks:
        return np.asarray(~(found <= MASKED_SHARE))
    return np.asarray(found, values.dtype)
