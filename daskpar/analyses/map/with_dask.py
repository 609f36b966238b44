"""One function over many items, as a dask graph of durable blocks.

Graph: a block for each run of `items_per_block` items, each holding its own items and nothing else; one node
above them merges the columns. Tasks: blocks + 1. Memory a task: what the function needs for one item, and
the rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed

from daskpar.analyses.map import kernel
from daskpar.analyses.map.rows import BLOCKS_OF_ONE, MAXIMUM_BLOCKS, partition, shown, variables
from daskpar.durable import Stage, code_digest, collect, durable
from daskpar.errors import UsageError
from daskpar.inputs.files import FileItem, unchanged
from daskpar.stored_value import all_of

__all__ = ["BLOCKS_OF_ONE", "MAXIMUM_BLOCKS", "build", "map", "more", "partition"]

if TYPE_CHECKING:
    import xarray as xr
    from astropy.table import Table

    from daskpar.analyses.map import MapOptions

def map(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    on_error: Literal["raise", "record"] = "raise",
    *,
    retries: int = 0,
    items_per_block: int | None = None,
) -> Delayed:
    """Call a function on every item; lazy, ``.compute()`` gives an `astropy.table.Table`.

    Parameters
    ----------
    function : callable
        Called with one item. Returns a dict of columns, or one value, which becomes the column ``value``:
        numbers, strings, booleans, quantities, or arrays of a fixed shape. A coroutine function (``async
        def``) is awaited by the task, one item after the other.
    items : sequence
        Files, parameters, or anything else that can be pickled.
    on_error : {"raise", "record"}
        ``"raise"`` ends with the first failure and names its item; ``"record"`` keeps failures as rows, with
        their message in the column ``error`` and the other columns masked.
    retries : int
        How often a failed item is tried again at once.
    items_per_block : int, optional
        Items that one task takes. By default one, and more from 4096 items on.

    Returns
    -------
    dask.delayed.Delayed
        A row an item, in item order: ``item``, then the columns in the order in which they first appear.

    Raises
    ------
    daskpar.errors.AnalysisError
        On computing: an item failed, or returned something that is no row.
    """
    if on_error not in ("raise", "record"):
        raise UsageError(f"on_error is {on_error!r}", "choose 'raise' or 'record'", key="on_error")
    if retries < 0 or (items_per_block is not None and items_per_block < 1):
        raise UsageError("retries must be 0 or more and items_per_block 1 or more", key="retries")
    work = MapWork(function, on_error, retries)
    listed = list(items)
    blocks = block_nodes(work, listed, range(len(listed)), items_per_block)
    return collect(_table, blocks, [shown(item) for item in listed], on_error)


@dataclass(frozen=True)
class MapWork:
    """What a block does: call the function on its items.

    Attributes
    ----------
    function, on_error, retries
        As in `map`.
    """

    function: Callable[[Any], Any]
    on_error: str = "raise"
    retries: int = 0

    @property
    def identity(self) -> list[Any]:
        """What decides the rows, besides the items."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return [code_digest(self.function), name, self.on_error, self.retries]


class Chunk:
    """Some items and their places. A plain class: dask does not look into it for collections."""

    def __init__(self, items: list[Any], index: list[int]) -> None:
        self.items, self.index = items, index


def block_nodes(
    work: MapWork, items: Sequence[Any], index: Sequence[int], items_per_block: int | None, attempt: int = 1
) -> list[Delayed]:
    """Return a durable node for each block of the chosen items, those at `index`."""
    nodes, identity = [], work.identity
    for start, stop in partition(len(index), items_per_block):
        chunk = Chunk([items[i] for i in index[start:stop]], list(index[start:stop]))
        key = [*identity, attempt, chunk.index, _identities(chunk.items)]
        label = f"map {shown(chunk.items[0])}" + (f" and {stop - start - 1} more" if stop - start > 1 else "")
        nodes.append(durable(map_block, work, chunk, key=key, label=label))
    return nodes


def map_block(work: MapWork, chunk: Chunk) -> dict[str, Any]:
    """Return the partial of one block."""
    with unchanged(chunk.items):
        paths = [item.path if isinstance(item, FileItem) else item for item in chunk.items]
        return kernel.partial(work.function, paths, chunk.index, work.on_error, work.retries)


def _identities(items: list[Any]) -> list[Any]:
    try:
        json.dumps(items)  # most often all are JSON: to ask each by itself takes ten times as long
    except TypeError:
        return [_identity(item) for item in items]
    return items


def _identity(item: Any) -> Any:
    if isinstance(item, FileItem):
        return item.identity
    try:
        json.dumps(item)
    except TypeError:
        return tokenize(item)
    return item


def build(
    record: Sequence[Any], options: MapOptions, function: Callable[[Any], Any]
) -> Generator[Stage, xr.Dataset, None]:
    """Yield the stage of all items, then, for each further round, one of those that failed.

    The stage of a later round holds all earlier blocks too, which are stored by then and only loaded.
    """
    work = MapWork(function, options.on_error, options.retries)
    items = [shown(item) for item in record]
    blocks = block_nodes(work, record, range(len(record)), options.items_per_block)
    then = ("failed items once more",) if options.rounds > 1 else ()
    dataset = yield Stage("items", collect(_dataset, blocks, items, options.on_error), then=then)
    for attempt in range(2, options.rounds + 1):
        failed = np.flatnonzero(dataset["error"].values != "").tolist() if "error" in dataset else []
        if not failed:
            return
        blocks = [*blocks, *block_nodes(work, record, failed, 1, attempt)]
        dataset = yield Stage(
            f"failed items, round {attempt}", collect(_dataset, blocks, items, options.on_error)
        )


def more(options: MapOptions, dataset: xr.Dataset) -> dict[str, Any] | None:
    """Ask for another round when items have failed."""
    if "error" in dataset and bool((dataset["error"] != "").any()):
        return {"rounds": options.rounds + 1}
    return None


def _dataset(partials: Sequence[kernel.Partial], items: Sequence[Any], on_error: str) -> xr.Dataset:
    """Merge the partials to a Dataset over `item`; see `rows.variables`."""
    import xarray as xr  # here, because workers need not load it

    data, columns = variables([all_of(one) for one in partials], items, on_error)
    return xr.Dataset(data, {"item": ("item", np.asarray(items))}, {"columns": columns})


def _table(partials: Sequence[kernel.Partial], items: Sequence[Any], on_error: str) -> Table:
    """Merge the partials to a table, a row an item."""
    from astropy.table import Column, MaskedColumn, Table

    columns, error = kernel.merge(partials, items)
    table = Table({"item": np.asarray(items)})
    for name, column in columns.items():
        unit = column.unit or None
        if column.missing.any():
            mask = np.broadcast_to(_expanded(column.missing, column.values.ndim), column.values.shape)
            table[name] = MaskedColumn(column.values, mask=mask, unit=unit)
        else:
            table[name] = Column(column.values, unit=unit)
    if on_error == "record":
        table["error"] = error
    return table


def _expanded(mask: np.ndarray[Any, Any], ndim: int) -> np.ndarray[Any, Any]:
    return mask.reshape(-1, *(1,) * (ndim - 1))
