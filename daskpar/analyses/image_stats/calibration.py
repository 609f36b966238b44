"""Frames with their calibration: bias, dark and flat, applied to each band as it is read.

    value = (raw - bias - dark * exposure / exposure of the dark) / (flat / level of the flat)

in float64, rounded once. The dark has its bias subtracted already. The level is 1 for a flat that is
normalised, else its median, or that of a section, which is read when the recipe's inputs are. Where the flat
is 0 or one of them is NaN, the value is not finite, and never used. Uncertainties are divided by the flat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import Fault, InputError, RecipeError
from daskpar.inputs.image_files import first_five
from daskpar.inputs.images import ImageStack, read_rows
from daskpar.kept import Kept

NAMES = ("bias", "dark", "flat")

#: Most bytes of calibration frames that a process keeps from one frame to the next.
KEPT_BYTES = 192 << 20
_KEPT = Kept()

#: Rows that are calibrated at a time: in float64 they stay in the cache.
SLAB = 64


@dataclass(frozen=True, eq=False, repr=False)
class CalibratedStack(ImageStack):
    """A stack with the calibration frames that belong to it.

    Attributes
    ----------
    bias, dark, flat : ImageStack, optional
        Of one frame each.
    level : float
        By which the flat is divided.
    """

    bias: ImageStack | None = None
    dark: ImageStack | None = None
    flat: ImageStack | None = None
    level: float = 1.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the calibrated values: float32 for narrow ones, else float64."""
        raw = self.data.dtype
        return np.dtype(np.float32 if raw.itemsize <= (4 if raw.kind == "f" else 2) else np.float64)

    def identity(self, frames: slice = slice(None)) -> str:
        """Return the digest of some frames and of their calibration, for keys."""
        digest = hashlib.blake2b(super().identity(frames).encode(), digest_size=20)
        for name, stack in self.calibration.items():
            digest.update(f"{name} {stack.identity()}".encode())
        if self.level != 1.0:
            digest.update(self.level.hex().encode())
        return digest.hexdigest()

    @property
    def calibration(self) -> dict[str, ImageStack]:
        """Those of bias, dark and flat that there are."""
        return {name: getattr(self, name) for name in NAMES if getattr(self, name) is not None}


def flat_level(flat: ImageStack, section: Sequence[int] | None = None) -> float:
    """Return the median of the finite pixels of a flat, or of a section of it; reads the frame.

    Raises
    ------
    RecipeError
        The section lies outside the frame.
    InputError
        The median is not above 0.
    """
    top, bottom, left, right = section or (0, flat.shape[0], 0, flat.shape[1])
    if not (0 <= top < bottom <= flat.shape[0] and 0 <= left < right <= flat.shape[1]):
        todo = f"give first row, end of rows, first column, end of columns within {flat.shape}"
        raise RecipeError(f"flat_section is {list(section or ())}", todo, key="inputs.flat_section")
    values = read_rows(flat, 0, top, bottom)[:, left:right].astype(np.float64)
    values = values[np.isfinite(values)]
    level = float(np.median(values)) if values.size else 0.0
    if not level > 0.0:
        what = f"its median is {level:g}"
        raise InputError(what, "choose another section", path=flat.path(0), key="inputs.flat")
    return level


def with_calibration(
    stack: ImageStack, calibration: Mapping[str, ImageStack], level: float = 1.0
) -> ImageStack:
    """Return a stack together with its calibration frames; the stack itself where there are none.

    Raises
    ------
    InputError
        One is not a single frame of the same shape, or exposures are not known where a dark is scaled.
    """
    if not calibration:
        return stack
    for name, frame in calibration.items():
        if len(frame) != 1 or frame.shape != stack.shape:
            what = f"{name} is {len(frame)} frame(s) of {frame.shape}, the frames are {stack.shape}"
            raise InputError(what, "combine them to one first", path=frame.path(0), key=f"inputs.{name}")
    if "dark" in calibration:
        _check_exposures(stack, calibration["dark"])
    values = {field.name: getattr(stack, field.name) for field in fields(stack)} | dict(calibration)
    return CalibratedStack(**values, level=level)


def _check_exposures(stack: ImageStack, dark: ImageStack) -> None:
    todo = "put EXPTIME into the header, or leave the dark out"
    unknown = [stack.path(i) for i in np.flatnonzero(~(stack.exposure >= 0)).tolist()]
    unknown += [] if dark.exposure[0] > 0 else [dark.path(0)]
    if unknown:
        what = "its exposure is not known, by which a dark is scaled"
        raise InputError(faults=first_five([Fault(what, todo, path, key="inputs.dark") for path in unknown]))


def calibrated(record: ImageStack, plane: str, values: NDArray[Any], start: int, stop: int) -> NDArray[Any]:
    """Return what was read of a plane, calibrated if the record says so.

    Parameters
    ----------
    record : ImageStack
        Of these frames.
    plane : {"data", "mask", "uncertainty"}
        Which of their images.
    values : array (frames, stop - start, columns)
        Rows `start` to `stop` of all frames, native.
    start, stop : int
        The rows.
    """
    if not isinstance(record, CalibratedStack) or plane == "mask":
        return values
    known = {name: _rows(stack, start, stop) for name, stack in record.calibration.items()}
    out = np.empty(values.shape, record.dtype if plane == "data" else values.dtype)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if "flat" in known and record.level != 1.0:
            known["flat"] = known["flat"] / np.float64(record.level)
        for frame in range(len(values)):
            ratio = record.exposure[frame] / record.dark.exposure[0] if record.dark is not None else 1.0
            for top in range(0, stop - start, SLAB):
                part = slice(top, top + SLAB)
                some = {name: rows[part] for name, rows in known.items()}
                if plane != "data":
                    some = {"flat": np.absolute(some["flat"], dtype=np.float64)} if "flat" in some else {}
                out[frame, part] = _formula(values[frame, part], some, ratio)
    return out


def _formula(values: NDArray[Any], known: Mapping[str, NDArray[Any]], ratio: float) -> NDArray[np.float64]:
    """Return (values - bias - ratio * dark) / flat, of what there is, in float64."""
    work = values.astype(np.float64)
    if "bias" in known:
        work -= known["bias"]
    if "dark" in known:
        work -= np.multiply(known["dark"], ratio, dtype=np.float64)
    if "flat" in known:
        work /= known["flat"]
    return work


def kept(calibration: Mapping[str, ImageStack]) -> bool:
    """Whether a process keeps these frames, so that it reads each of them once."""
    sizes = [stack.shape[0] * stack.shape[1] * stack.dtype.itemsize for stack in calibration.values()]
    return sum(sizes) <= KEPT_BYTES


def _rows(stack: ImageStack, start: int, stop: int) -> NDArray[Any]:
    """Read rows of a calibration frame; of whole frames, those used last stay in memory.

    What is kept is what a record describes: of a file that was written again there is another record.
    """
    if (start, stop) != (0, stack.shape[0]):
        return read_rows(stack, 0, start, stop)
    key = f"{stack.path(0)} {stack.identity()}"
    with _KEPT.lock:  # threads that need the same frame wait for the one that reads it
        values: NDArray[Any] | None = _KEPT.get(key)
        if values is None:
            values = read_rows(stack, 0, start, stop)
            _KEPT.put(key, values, KEPT_BYTES)
    return values
