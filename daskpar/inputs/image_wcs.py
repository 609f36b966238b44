"""How far the celestial WCS of the frames of a stack are apart."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import Fault, InputError
from daskpar.inputs.image_files import first_five
from daskpar.inputs.image_record import ImageStack

#: Above this, frames are not aligned for the purpose of combining them pixel by pixel.
MAX_SHIFT = 0.2


def wcs_shifts(stack: ImageStack) -> NDArray[np.float64]:
    """Measure by how many pixels the WCS of each frame differs from that of the first.

    Nine points of the image (corners, edges, centre) go to the sky by the WCS of the first frame and back to
    pixels by that of each.

    Returns
    -------
    float64 array (n,)
        The largest distance of the nine, in pixels; infinite where a point does not project; NaN where the
        frame or the first has no celestial WCS.

    Raises
    ------
    InputError
        Where a WCS cannot be understood.
    """
    texts = stack.wcs_texts
    first = texts[stack.wcs[0]] if len(stack) else b""
    offsets = wcs_offsets(stack)
    known = np.array([bool(first and texts[k]) for k in stack.wcs.tolist()], bool)
    with np.errstate(invalid="ignore"):
        distance = np.hypot(offsets[..., 0], offsets[..., 1]).max(axis=1, initial=0.0)
    distance[~np.isfinite(distance)] = np.inf
    return np.where(known, distance, np.nan)


@lru_cache(maxsize=4)  # a run asks before it begins, for its plan, and for its graph
def wcs_offsets(stack: ImageStack) -> NDArray[np.float64]:
    """Measure where nine points of the first frame lie in each frame, by their WCS.

    Returns
    -------
    float64 array (n, 9, 2)
        Pixel x and y in the frame less those in the first; the points are corners, edges and, number 4, the
        centre. NaN where a point does not project, or a frame or the first has no celestial WCS. Read-only.

    Raises
    ------
    InputError
        Where a WCS cannot be understood.
    """
    texts = stack.wcs_texts
    first = texts[stack.wcs[0]] if len(stack) else b""
    offsets = np.full((len(texts), 9, 2), np.nan)
    if first:
        offsets[stack.wcs[0]] = 0
        rows, columns = stack.shape
        grid = np.meshgrid([0, (columns - 1) / 2, columns - 1], [0, (rows - 1) / 2, rows - 1])
        pixels = np.stack(grid, axis=-1).reshape(9, 2)
        # Taken frames keep the table of the whole stack: only what they use is computed.
        others = [k for k in np.unique(stack.wcs).tolist() if texts[k] and k != stack.wcs[0]]
        sky = _transform(stack, first, pixels, to_sky=True) if others else pixels
        for k in others:
            offsets[k] = _transform(stack, texts[k], sky, to_sky=False) - pixels
    found = offsets[stack.wcs]
    found.flags.writeable = False
    return found


def wcs_of(text: bytes) -> Any:
    """Return the `astropy.wcs.WCS` of an entry of ``wcs_texts``, made anew: it is not safe to share."""
    from astropy import wcs

    return wcs.WCS(_header(text), naxis=2)


def _header(text: bytes) -> str:
    cards = b"".join(line.ljust(80) for line in text.split(b"\n"))
    return (cards + b"END".ljust(80)).decode("latin-1")


def _transform(
    stack: ImageStack, text: bytes, points: NDArray[np.float64], *, to_sky: bool
) -> NDArray[np.float64]:
    from astropy import wcs

    cards = b"".join(line.ljust(80) for line in text.split(b"\n"))
    try:
        if b"A_ORDER" in text or b"B_ORDER" in text:
            # SIP is outside wcslib; the full object costs ten times as much.
            full = wcs_of(text)
            if to_sky:
                return np.asarray(full.all_pix2world(points, 0))
            return np.asarray(full.all_world2pix(points, 0, quiet=True))
        core = wcs.Wcsprm(header=cards)
        return np.asarray(core.p2s(points, 0)["world"] if to_sky else core.s2p(points, 0)["pixcrd"])
    except (wcs.WcsError, ValueError) as error:
        frame = stack.wcs_texts.index(text)
        path = stack.path(int(np.flatnonzero(stack.wcs == frame)[0]))
        reason = str(error).strip().splitlines()[-1] if str(error) else type(error).__name__
        what = f"the celestial WCS cannot be used: {reason}"
        raise InputError(what, "mend the header", path=path) from None


def check_aligned(stack: ImageStack, limit: float = MAX_SHIFT) -> None:
    """Refuse frames whose celestial WCS differs from that of the first by more than `limit` pixels.

    Raises
    ------
    InputError
        With the first five frames and by how much they are off.
    """
    shifts = wcs_shifts(stack)
    off = np.flatnonzero(shifts > limit).tolist()
    if off:
        todo = f"say how to combine them, align: pixels, wcs_shift or reproject (the limit is {limit} pixels)"
        name = os.path.basename(stack.paths[0])
        faults = [
            Fault(f"its WCS is {shifts[i]:.2f} pixels off that of {name}", todo, stack.path(i), key="align")
            for i in off
        ]
        raise InputError(faults=first_five(faults))
