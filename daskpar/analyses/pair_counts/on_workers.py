"""What tasks of this analysis import: local workers are forked from a process that imported this."""

import daskpar.analyses.pair_counts.preview as preview
from daskpar.analyses.pair_counts.with_dask import correlating
from daskpar.compiled import make_ready

__all__ = ["correlating", "preview"]

make_ready()
