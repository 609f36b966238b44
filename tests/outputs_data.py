"""Results as analyses return them, for the tests of outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from astropy.wcs import WCS

from daskpar.outputs.names import ENGINES, FORMATS, engine
from daskpar.provenance import provenance

FRAMES = 7
SUFFIXES = [suffix for suffix in FORMATS if suffix not in ENGINES or engine(suffix)]
"""Of the formats that can be written here."""


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return what the files below a folder hold, by name."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def wcs_header() -> str:
    """Return a tangential projection, turned by 0.3 rad, as header text."""
    world = WCS(naxis=2)
    world.wcs.ctype = "RA---TAN", "DEC--TAN"
    world.wcs.crval = 250.4, 36.4
    world.wcs.crpix = 100, 150
    world.wcs.cdelt = -1e-4, 1e-4
    world.wcs.pc = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    return str(world.to_header_string())


def image(dtype: str, shape: tuple[int, int] = (61, 43), seed: int = 0, **attributes: Any) -> xr.Variable:
    rng = np.random.default_rng(seed)
    values = rng.normal(1000, 300, shape) if dtype[0] == "f" else rng.integers(0, 2**62, shape)
    return xr.Variable(("y", "x"), da.from_array(values.astype(dtype), chunks=(17, shape[1])), attributes)


def stack_result() -> xr.Dataset:
    """Return what an image analysis gives: images over (y, x), columns over frame, lazy."""
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {
            "count": image("u2"),
            "combined": image("f4", unit="adu", wcs_header=wcs_header()),
            "uncertainty": image("f8", unit="adu"),
            "rejected_low": image("i4"),
            "rejected_high": image("i8"),
            "mean": ("frame", rng.random(FRAMES), {"unit": "adu", "long_name": "mean of the used pixels"}),
            "nan_count": ("frame", np.arange(FRAMES)),
            "percentile": (("q", "frame"), rng.random((3, FRAMES))),
        },
        coords={
            "path": ("frame", [f"night 1/ü{i}.fits" for i in range(FRAMES)]),
            "hdu": ("frame", np.zeros(FRAMES, int)),
            "exposure": ("frame", np.array([60.0] * (FRAMES - 1) + [np.nan])),
            "mid_time": ("frame", 60000.0 + np.arange(FRAMES)),
            "q": [5.0, 50.0, 95.0],
        },
    )


def map_result() -> xr.Dataset:
    """Return what ``map`` gives: text, missing values, array cells, messages."""
    return xr.Dataset(
        {
            "value": ("item", np.arange(4), {"mask": "value_mask", "unit": "adu / s"}),
            "value_mask": ("item", [False, True, False, True]),
            "flux": ("item", [1.5, np.nan, 0.1, np.inf]),
            "name": ("item", ["a", "b c", "", 'd,"e" #']),
            "vector": (("item", "k"), np.arange(8.0).reshape(4, 2)),
            "ok": ("item", [True, False, True, False]),
            "error": ("item", np.array(["", "boom\nline 2", "", "é"])),
        },
        coords={"item": ["x.fits", "ü.fits", "z z.fits", "q"]},
    )


def record(**more: Any) -> dict[str, Any]:
    """Return provenance with what is hard to store: accents, spaces at ends, slashes, quotes, many inputs."""
    inputs = [{"path": f"night 1/ü{i}.fits   ", "size": i, "mtime": 1.5e9 + i} for i in range(300)]
    recipe = "name: m13\noptions:\n\tx: 'é \"q\"'   \n# " + "long " * 60
    return provenance(recipe, "ab" * 32, {"a/b.py": "cd", "empty key ": "é"}, inputs, nothing={}, **more)
