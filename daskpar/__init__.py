"""Write an analysis once as a dask graph; run it anywhere, block by durable block, with the same bits."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public names and where they live. They are imported when first used, so that `import daskpar` costs nothing.
_PUBLIC = {
    "Analysis": "daskpar.analysis",
    "Stage": "daskpar.durable",
    "combine": "daskpar.analyses.image_stats.with_dask",
    "compare": "daskpar.comparison.comparing",
    "correlation": "daskpar.analyses.pair_counts.with_dask",
    "count_pairs": "daskpar.analyses.pair_counts.with_dask",
    "frame_stats": "daskpar.analyses.image_stats.with_dask",
    "map": "daskpar.analyses.map.with_dask",
    "open_catalog": "daskpar.inputs.catalogs",
    "open_client": "daskpar.clusters",
    "open_run": "daskpar.submission",
    "open_stack": "daskpar.analyses.image_stats.with_dask",
    "run": "daskpar.driver",
    "simulate": "daskpar.analyses.monte_carlo.notebook",
    "submit": "daskpar.submission",
    "wcs": "daskpar.analyses.image_stats.with_dask",
}

__all__ = [
    "Analysis",
    "Stage",
    "combine",
    "compare",
    "correlation",
    "count_pairs",
    "frame_stats",
    "map",
    "open_catalog",
    "open_client",
    "open_run",
    "open_stack",
    "run",
    "simulate",
    "submit",
    "wcs",
]

if TYPE_CHECKING:
    from daskpar.analyses.image_stats.with_dask import combine, frame_stats, open_stack, wcs
    from daskpar.analyses.map.with_dask import map
    from daskpar.analyses.monte_carlo.notebook import simulate
    from daskpar.analyses.pair_counts.with_dask import correlation, count_pairs
    from daskpar.analysis import Analysis
    from daskpar.clusters import open_client
    from daskpar.comparison.comparing import compare
    from daskpar.driver import run
    from daskpar.durable import Stage
    from daskpar.inputs.catalogs import open_catalog
    from daskpar.submission import open_run, submit


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'daskpar' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
