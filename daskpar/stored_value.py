"""What a block may give, and what comes back from the ledger: a dict of arrays, one array, or a Dataset.

The ledger holds dicts of arrays only. One array is stored under a name of its own, and beside the variables
of a Dataset stands what else it is, as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.errors import AnalysisError
from daskpar.kept import Kept

if TYPE_CHECKING:
    import xarray as xr

    from daskpar.ledger import Stored

ARRAY, DATASET = "<array>", "<dataset>"

#: Bytes of arrays that a process keeps from one block to the next.
MOST_KEPT = 96 << 20
_kept = Kept()
_UNKNOWN = object()


def as_partial(value: Any, label: str) -> Mapping[str, Any]:
    """Return what a block computed as a dict of arrays.

    Raises
    ------
    daskpar.errors.AnalysisError
        It is neither a dict of arrays, an array or a number, nor an `xarray.Dataset` or `DataArray`.
    """
    if hasattr(value, "to_dataset") and hasattr(value, "dims"):
        value = value.to_dataset(name=value.name or "result")
    if hasattr(value, "data_vars"):
        return _of_dataset(value)
    if isinstance(value, Mapping):
        return value
    if isinstance(value, np.ndarray | np.generic | int | float | complex | bool | str):
        return {ARRAY: np.asarray(value)}
    raise AnalysisError(
        f"block {label!r} gave a {type(value).__name__}",
        "return a dict of arrays, one array or a Dataset; or make smaller parts of the result durable",
    )


def load(record: Stored) -> Any:
    """Return a stored block as it was: a dict's arrays are read on demand, all else now."""
    names = tuple(record)
    if names == (ARRAY,):
        return record[ARRAY]
    return _to_dataset(record) if DATASET in names else record


def some_of(partial: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    """Return the arrays of these names that a partial has.

    A stored one opens its file once for all, and what was read of it is kept, read-only, for the next block:
    neighbours want the same.
    """
    record: Any = partial
    if not hasattr(record, "digest"):
        return {name: partial[name] for name in names if name in partial}
    found = {name: _kept.get((record.digest, name), _UNKNOWN) for name in names}
    missing = [name for name, array in found.items() if array is _UNKNOWN]
    found |= dict.fromkeys(missing) | (record.some(missing) if missing else {})
    for name in missing:
        _kept.put((record.digest, name), found[name], MOST_KEPT)
    return {name: array for name, array in found.items() if array is not None}


@dataclass(frozen=True)
class Remembered(Mapping[str, Any]):
    """A partial that is asked for the same arrays several times: what was read is kept, see `some_of`."""

    partial: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return some_of(self.partial, [name])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.partial)

    def __len__(self) -> int:
        return len(self.partial)


def all_of(partial: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arrays of a partial; a stored one opens its file once for all."""
    record: Any = partial
    return record.some() if hasattr(record, "digest") else dict(partial)


def forget() -> None:
    """Let go of what is kept."""
    _kept.clear()


def _of_dataset(dataset: xr.Dataset) -> dict[str, Any]:
    from daskpar.dataset_store import plain

    layout = {
        "variables": {str(n): [list(v.dims), plain(v.attrs)] for n, v in dataset.variables.items()},
        "coords": list(map(str, dataset.coords)),
        "attrs": plain(dataset.attrs),
    }
    arrays = {str(name): np.asarray(variable.values) for name, variable in dataset.variables.items()}
    return {DATASET: np.asarray(json.dumps(layout)), **arrays}


def _to_dataset(record: Stored) -> xr.Dataset:
    import xarray as xr

    layout = json.loads(str(record[DATASET]))
    variables = {n: xr.Variable(dims, record[n], attrs) for n, (dims, attrs) in layout["variables"].items()}
    coords = {name: variables.pop(name) for name in layout["coords"]}
    return xr.Dataset(variables, coords, layout["attrs"])
