"""The analysis: one stage where files are read directly, else a first one that decodes them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

from dask.delayed import delayed

from daskpar.analyses.image_stats.alignment import aligned
from daskpar.analyses.image_stats.with_dask.combining import combined
from daskpar.analyses.image_stats.with_dask.frames import frame_stats
from daskpar.analyses.image_stats.with_dask.sources import FileBands
from daskpar.analyses.image_stats.with_dask.stack import lazy_plane, row_bands
from daskpar.analyses.image_stats.with_dask.staging import staging_nodes
from daskpar.durable import Stage
from daskpar.inputs.images import reading_plan
from daskpar.lazy import xr

if TYPE_CHECKING:
    from daskpar.analyses.image_stats import ImageStatsOptions
    from daskpar.inputs.images import ImageStack


def build(record: ImageStack, options: ImageStatsOptions) -> xr.Dataset | Generator[Stage, xr.Dataset, None]:
    """Return the lazy result of the analysis, or its stages.

    Raises
    ------
    daskpar.errors.InputError
        The celestial WCS of frames differ by more than 0.2 pixel, and `align` says nothing; or frames cannot
        be aligned as it says.
    """
    if options.combine is not None:
        frames = aligned(record, options.combine.align)
        bands = row_bands(frames)
        if reading_plan(frames, bands[0][1] - bands[0][0]).mode == "staged":
            return _in_stages(record, frames, options)
    return result(record, options)


def _in_stages(
    record: ImageStack, frames: ImageStack, options: ImageStatsOptions
) -> Generator[Stage, xr.Dataset, None]:
    nodes = staging_nodes(FileBands(frames), row_bands(frames), durably=True)
    name = "staging" if frames is record else "aligning"
    parts = delayed(_handles, pure=False)(nodes, dask_key_name="staged-parts")
    decoded = yield Stage(name, parts, scratch=True, then=("combining",))
    yield Stage("combining", result(record, options, decoded.attrs["parts"]))


def _handles(parts: Sequence[Any]) -> xr.Dataset:
    return xr.Dataset(attrs={"parts": parts})


def result(record: ImageStack, options: ImageStatsOptions, parts: Sequence[Any] | None = None) -> xr.Dataset:
    """Return the combined image and the statistics of the frames, lazily."""
    stack = lazy_plane(record, "data")
    found = []
    if options.combine is not None:
        settings = options.combine.model_dump(exclude={"align"})
        planes = {"frames": stack, "weights": settings.pop("weights")}
        for name, plane in (("masks", "mask"), ("uncertainty", "uncertainty")):
            planes[name] = lazy_plane(record, plane) if plane in record.planes else None
        found.append(combined(stack, planes, settings, options.combine.align, parts))
    if options.frame_stats is not None:
        mask = lazy_plane(record, "mask") if "mask" in record.planes else None
        stats = frame_stats(stack, **options.frame_stats.model_dump(), mask=mask)
        found.append(stats.rename({name: f"frame_{name}" for name in stats.data_vars}))
    merged = xr.merge(found, compat="override", join="override") if found else xr.Dataset()
    attrs = {"unit": record.unit, "wcs_header": record.wcs_header, "inputs": list(record.paths)}
    return merged.assign_attrs(attrs)
