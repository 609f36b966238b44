"""Columns of numbers, given as arrays or to be read from a table file by the task that needs them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import InputError, RecipeError
from daskpar.inputs.files import FileItem, unchanged
from daskpar.inputs.reading_time import timed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Some columns of one table.

    Attributes
    ----------
    names : tuple of str
        Names of the columns.
    file : FileItem, optional
        The table: ECSV, CSV, FITS, VOTable, Parquet; or ``.npy`` with one array, whose columns are ``0``,
        ``1``...
    arrays : tuple of float64 arrays
        The columns themselves, where there is no file.
    """

    names: tuple[str, ...]
    file: FileItem | None = None
    arrays: tuple[Any, ...] = ()

    @classmethod
    def of(cls, *arrays: Any) -> Columns:
        """Columns from arrays, which are copied."""
        held = tuple(np.array(array, dtype=np.float64).ravel() for array in arrays)
        return cls(tuple(str(i) for i in range(len(held))), None, held)

    def without_arrays(self) -> Columns:
        """Names and file only."""
        return Columns(self.names, self.file)

    def require(self, count: int, what: str) -> None:
        """Raise `RecipeError` unless there are that many columns."""
        if len(self.names) != count:
            raise RecipeError(
                f"{what} needs {count} column{'s' * (count > 1)}, not {len(self.names)}",
                "name them",
                key="columns",
            )

    @property
    def identity(self) -> list[Any]:
        """What says which data these are."""
        if self.file is not None:
            return [*self.names, self.file.identity]
        return [hashlib.sha256(array.tobytes()).hexdigest() for array in self.arrays]

    def read(self, ragged: bool = False) -> Any:
        """Return the values.

        Parameters
        ----------
        ragged : bool
            Whether NaN, as in a column shorter than others, is left out.

        Returns
        -------
        (c, m) float64 array, or a list of arrays where ragged

        Raises
        ------
        InputError
            If a column is missing or is not numbers, or a value is not finite; the first five rows are named.
        """
        place = "" if self.file is None else self.file.path
        columns = list(self.arrays) if self.file is None else self._from_file(self.file)
        if ragged:
            columns = [column[~np.isnan(column)] for column in columns]
        for name, column in zip(self.names, columns, strict=True):
            bad = np.flatnonzero(~np.isfinite(column))
            if bad.size:
                raise InputError(
                    f"{bad.size} of {column.size} values are not finite, "
                    f"in rows {', '.join(map(str, bad[:5]))}",
                    "remove these rows", path=place, key=name,
                )  # fmt: skip
        if ragged:
            return columns
        if len({column.size for column in columns}) > 1:
            raise InputError("the columns have unequal lengths", "give one value a row", path=place)
        return np.stack(columns)

    def _from_file(self, file: FileItem) -> list[Floats]:
        with unchanged([file]):
            try:
                table = _open_table(file.path, self.names)
                missing = [name for name in self.names if name not in table]
                if missing:
                    raise InputError(
                        f"there is no column {missing[0]!r}", f"there are {', '.join(list(table)[:20])}",
                        path=file.path, key="columns",
                    )  # fmt: skip
                return [np.asarray(table[name], dtype=np.float64).ravel() for name in self.names]
            except (OSError, ValueError, TypeError, KeyError) as fault:
                raise InputError(f"cannot be read as a table of numbers: {fault}", path=file.path) from fault


@timed
def _open_table(path: str, names: tuple[str, ...]) -> dict[str, Any]:
    suffix = Path(os.fspath(path)).suffix.lower()
    if suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        columns = array[None, :] if array.ndim == 1 else array.T
        return {str(i): column for i, column in enumerate(columns)}
    if suffix == ".parquet":
        import pyarrow.parquet as parquet

        known = parquet.read_schema(path).names
        chosen = [name for name in names if name in known]
        table = parquet.read_table(path, columns=chosen)
        return {**dict.fromkeys(known), **{name: table[name].to_numpy() for name in chosen}}
    from astropy.table import Table

    found = Table.read(path)
    return {name: np.ma.filled(np.ma.asarray(found[name]).astype(float), np.nan) if name in names else None
            for name in found.colnames}  # fmt: skip
