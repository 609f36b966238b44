"""What tasks of this analysis import: local workers are forked from a process that imported this."""

import daskpar.analyses.map.preview as preview
import daskpar.analyses.map.with_dask as with_dask

__all__ = ["preview", "with_dask"]
