"""What tasks of this analysis import: local workers are forked from a process that imported this."""

import daskpar.analyses.image_stats.preview as preview
from daskpar.analyses.image_stats.with_dask import building, stack
from daskpar.compiled import make_ready

__all__ = ["building", "preview", "stack"]

make_ready()
