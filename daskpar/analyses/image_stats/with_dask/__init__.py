"""Image statistics as a dask graph of durable blocks.

`stack`: files as one lazy array. `combining`: one image from all frames; a block is a band of rows. `frames`:
the statistics of each frame; a block is a run of frames. `building`: both, as an analysis. Behind these:
`blocks` (how large blocks are), `planes` (the arguments of `combine`), `sources` and `staging` (where
blocks find their pixels), `selection` and `expression` (slices and arithmetic on stacks), `sky` (the WCS of a
slice).
"""

from daskpar.analyses.image_stats.with_dask.building import build
from daskpar.analyses.image_stats.with_dask.combining import combine
from daskpar.analyses.image_stats.with_dask.frames import frame_stats
from daskpar.analyses.image_stats.with_dask.sky import wcs
from daskpar.analyses.image_stats.with_dask.stack import open_stack

__all__ = ["build", "combine", "frame_stats", "open_stack", "wcs"]
