"""Image statistics as a dask graph of durable blocks.

`stack`: files as one lazy array. `combining`: one image from all frames; a block is a band of rows.
`frames`: the statistics of each frame; a block is a run of frames. `blocks`: how large blocks are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xarray as xr

from daskpar.analyses.image_stats.with_dask.combining import combine
from daskpar.analyses.image_stats.with_dask.frames import frame_stats
from daskpar.analyses.image_stats.with_dask.stack import lazy_plane, open_stack

if TYPE_CHECKING:
    from daskpar.analyses.image_stats import ImageStatsOptions
    from daskpar.inputs.images import ImageStack

__all__ = ["build", "combine", "frame_stats", "open_stack"]


def build(record: ImageStack, options: ImageStatsOptions) -> xr.Dataset:
    """Return the lazy result of the analysis: the combined image and the statistics of the frames."""
    planes = xr.Dataset({name: lazy_plane(record, name) for name in record.planes})
    stack = planes["data"]
    parts = []
    if options.combine is not None:
        parts.append(combine(planes, **options.combine.model_dump()))
    if options.frame_stats is not None:
        stats = frame_stats(stack, **options.frame_stats.model_dump())
        parts.append(stats.rename({name: f"frame_{name}" for name in stats.data_vars}))
    merged = xr.merge(parts, compat="override", join="override") if parts else xr.Dataset()
    attrs = {"unit": record.unit, "wcs_header": record.wcs_header, "inputs": list(record.paths)}
    return merged.assign_attrs(attrs)
