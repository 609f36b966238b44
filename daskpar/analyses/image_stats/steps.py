"""What every version does around its blocks: which there are, what one computes, what all make together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.calibration import CalibratedStack, calibrated
from daskpar.analyses.image_stats.partition import Span, bands_within, frame_blocks, row_bands, row_blocks
from daskpar.errors import InputError, RecipeError
from daskpar.inputs.images import check_aligned, read_band, read_band_raw, read_mask_rows, read_rows

if TYPE_CHECKING:
    from daskpar.analyses.image_stats import ImageStatsOptions
    from daskpar.by_hand import Variables
    from daskpar.inputs.images import ImageStack

Partial = Mapping[str, Any]


class Problem:
    """What is to be computed: row bands of all frames, and runs of whole frames.

    Parameters
    ----------
    record : ImageStack
    options : ImageStatsOptions

    Attributes
    ----------
    bands : list of (int, int)
        Rows of each block of the combination; empty where there is none.
    groups : list of (int, int)
        Frames of each block of the statistics; empty where there are none.

    Raises
    ------
    daskpar.errors.InputError
        Frames that have to be decoded whole: what the dask version does in a stage of its own.
    daskpar.errors.RecipeError
        Levels that have to be measured first.
    """

    def __init__(self, record: ImageStack, options: ImageStatsOptions) -> None:
        self.record, self.stats = record, options.frame_stats
        self.settings: dict[str, Any] = {}
        frames, (rows, columns) = len(record), record.shape
        self._held: list[Span] = []
        self.bands: list[Span] = []
        self.groups: list[Span] = []
        if options.combine is not None:
            if not record.sliceable:
                raise InputError("the frames are compressed", "by-hand versions read plain ones")
            if options.combine.align not in (None, "pixels"):
                raise RecipeError(
                    "frames are aligned in a stage of its own",
                    "align them before: by-hand versions have one stage",
                    key="options.combine.align",
                )
            if options.combine.align is None:
                check_aligned(record)
            self.settings = _settings(record, options.combine.model_dump(exclude={"align", "section"}))
            row_bytes = columns * record.dtype.itemsize
            self._held = row_bands(frames, rows, row_bytes)
            self.bands = row_blocks(self._held, frames * row_bytes)
        if self.stats is not None:
            self.groups = frame_blocks(frames, rows * columns * record.dtype.itemsize)

    def combine(self, rows: Span) -> dict[str, Any]:
        """Combine rows of all frames, one band that is held after the other."""
        return kernel.joined_bands([self._combine(*band) for band in bands_within(self._held, *rows)])

    def _combine(self, start: int, stop: int) -> dict[str, Any]:
        halo = math.ceil(self.settings["grow"])
        low, high = max(0, start - halo), min(self.record.shape[0], stop + halo)
        settings = {**self.settings, **_planes(self.record, low, high)}
        frames, units = _frames(self.record, low, high)
        if settings.get("weights") == "inverse_variance":
            with np.errstate(divide="ignore"):
                settings["weights"] = 1.0 / np.square(np.asarray(settings["uncertainty"], np.float64))
        return kernel.combine_band(frames, halo=(start - low, high - stop), **settings, **units)

    def statistics(self, frames: Span) -> dict[str, Any]:
        """Return the statistics of some frames, read one after the other."""
        chosen: Any = self.stats
        settings = {
            "sigma": chosen.sigma,
            "maxiters": chosen.maxiters,
            "percentiles": list(chosen.percentiles),
        }
        found = [
            kernel.frame_statistics(
                _frame(self.record, i), **settings, mask=_mask(self.record, i), overwrite_input=True
            )
            for i in range(*frames)
        ]
        return {name: np.stack([np.asarray(row[name]) for row in found]) for name in found[0]}

    def planes(self) -> dict[str, np.dtype[Any]]:
        """Return names and dtypes of the images that bands are parts of."""
        record = self.record
        settings = {k: v for k, v in self.settings.items() if k not in ("weights", "scaling", "zero")}
        if record.uncertainty is not None:
            settings["uncertainty"] = np.ones((len(record), 1, 0))
        empty = kernel.combine_band(np.zeros((len(record), 1, 0), record.dtype), **settings)
        return {name: array.dtype for name, array in empty.items() if not name.startswith("frame_")}

    def images(self, partials: Sequence[Partial]) -> Variables:
        """Return the images from bands in the order of their rows."""
        joined = kernel.joined_bands(partials) if partials else {}
        return {name: (("y", "x"), plane) for name, plane in joined.items() if not name.startswith("frame_")}

    def rejected(self, partials: Sequence[Partial]) -> Variables:
        """Return what all bands together rejected of each frame."""
        counts = [{name: one[name] for name in one if name.startswith("frame_")} for one in partials]
        joined = kernel.joined_bands(counts) if counts else {}
        return {name: (("frame",), total) for name, total in joined.items()}

    def table(self, partials: Sequence[Partial]) -> Variables:
        """Return the statistics of all frames from runs in their order."""
        found: dict[str, Any] = {}
        for name in partials[0] if partials else {}:
            array = np.concatenate([one[name] for one in partials])
            found[f"frame_{name}"] = (("frame", "q")[: array.ndim], array)
        return found


def _settings(record: ImageStack, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the kernel that are the same for all bands."""
    exposure = np.asarray(record.exposure, np.float64)
    if settings["scaling"] == "exposure":
        if not (exposure > 0).all():
            raise InputError("the exposure of a frame is not known", "give numbers", key="scaling")
        settings["scaling"] = list(exposure[0] / exposure)
    for key in ("scaling", "zero"):
        if isinstance(settings[key], str):
            raise RecipeError(
                f"{key} is measured in a stage of its own",
                "give numbers: by-hand versions have one stage",
                key=f"options.combine.{key}",
            )
    if settings["weights"] is None:
        del settings["weights"]
    return settings


def _planes(record: ImageStack, low: int, high: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if record.mask is not None:
        found["masks"] = np.stack([read_mask_rows(record, frame, low, high) for frame in range(len(record))])
    if record.uncertainty is not None:
        values = read_band(record, low, high, plane="uncertainty")
        found["uncertainty"] = calibrated(record, "uncertainty", values, low, high)
    return found


def _frames(record: ImageStack, low: int, high: int) -> tuple[Any, dict[str, Any]]:
    """Read a band as it is stored, where all frames are stored alike: the kernel swaps and scales."""
    table = record.data
    if isinstance(record, CalibratedStack) or table.stored is None or len(table.formats) > 1:
        return calibrated(record, "data", read_band(record, low, high), low, high), {}
    form = table.formats[0]
    raw = read_band_raw(record, low, high)
    return raw, {"bscale": form.bscale, "bzero": form.bzero, "blank": form.blank}


def _mask(record: ImageStack, frame: int) -> Any:
    return None if record.mask is None else read_mask_rows(record, frame, 0, record.shape[0])


def _frame(record: ImageStack, frame: int) -> Any:
    rows = record.shape[0]
    pixels = read_rows(record, frame, 0, rows)
    return calibrated(record.take(slice(frame, frame + 1)), "data", pixels[np.newaxis], 0, rows)[0]
