"""The numbers of an output, whatever its format, to compare two files of one kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def farthest(one: Path, other: Path) -> float:
    """Return the largest difference of two outputs, relative to the largest value of each array.

    Infinite where they hold other arrays, texts or NaN, or cannot be compared, such as pictures.
    """
    values, others = dict(_arrays(one)), dict(_arrays(other))
    if not values or values.keys() != others.keys():
        return np.inf
    return max(_distance(values[name], others[name]) for name in values)


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        return 0.0 if np.array_equal(a, b) else np.inf
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x)
    if not np.array_equal(finite, np.isfinite(y)) or not np.array_equal(
        x[~finite], y[~finite], equal_nan=True
    ):
        return np.inf
    if not finite.any():
        return 0.0
    scale = max(float(np.abs(x[finite]).max()), float(np.abs(y[finite]).max()))
    return float(np.abs(x[finite] - y[finite]).max()) / scale if scale > 0.0 else 0.0


def _arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    if path.suffix in (".nc", ".zarr"):
        import xarray as xr

        from daskpar.outputs.grids import VARIABLE
        from daskpar.outputs.names import engine

        options: dict[str, Any] = {"consolidated": False} if path.suffix == ".zarr" else {}
        with xr.open_dataset(path, engine=engine(path.suffix), decode_times=False, **options) as opened:
            for name in opened.variables:
                if name != VARIABLE:
                    yield str(name), np.asarray(opened[name].values)
    elif path.suffix == ".fits":
        from astropy.io import fits

        with fits.open(path, memmap=False) as hdus:
            for number, hdu in enumerate(hdus):
                if hdu.data is not None and hdu.name != "PROVENANCE":
                    for field in hdu.data.dtype.names or ("",):
                        yield f"{number} {field}", np.asarray(hdu.data[field] if field else hdu.data)
    elif path.suffix == ".parquet":
        import pyarrow.parquet as parquet

        columns = parquet.read_table(path)
        for name in columns.column_names:
            yield name, columns[name].to_numpy()
    elif path.suffix != ".png":
        from astropy.table import Table

        table = Table.read(path)
        for name in table.colnames:
            yield name, np.ma.filled(np.ma.asarray(table[name]))
