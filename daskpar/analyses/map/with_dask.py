"""One function over many items, as a dask graph of durable blocks.

Graph: a block for each run of `items_per_block` items, each holding its own items and nothing else; one node above
them merges the columns. Tasks: blocks + 1. Memory a task: what the function needs for one item, and the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed, delayed

from daskpar.analyses.map import kernel
from daskpar.durable import code_digest, digest_of, durable
from daskpar.errors import AnalysisError, UsageError
from daskpar.inputs.files import FileItem, unchanged

if TYPE_CHECKING:
    from astropy.table import Table

BLOCKS_OF_ONE = 4096  # up to so many items each is a block: what an item costs is not known beforehand
MAXIMUM_BLOCKS = 50_000


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
        Called with one item. Returns a dict of columns, or one value, which becomes the column ``value``: numbers,
        strings, booleans, quantities, or arrays of a fixed shape.
    items : sequence
        Files, parameters, or anything else that can be pickled.
    on_error : {"raise", "record"}
        ``"raise"`` ends with the first failure and names its item; ``"record"`` keeps failures as rows, with their
        message in the column ``error`` and the other columns masked.
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
    listed = list(items)
    blocks = block_nodes(function, listed, range(len(listed)), on_error, retries, items_per_block)
    return delayed(_table, pure=True)(blocks, [kernel.describe(item) if not _plain(item) else item for item in listed],
                                      on_error)  # fmt: skip


def block_nodes(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    index: Sequence[int],
    on_error: str,
    retries: int,
    items_per_block: int | None,
    attempt: int = 1,
) -> list[Delayed]:
    """Return a durable node for each block of the chosen items."""
    code = [code_digest(function), getattr(function, "__qualname__", repr(function)), on_error, retries, attempt]
    nodes = []
    for start, stop in partition(len(index), items_per_block):
        chosen = [items[i] for i in index[start:stop]]
        label = f"map {_shown(chosen[0])}" + (f" and {stop - start - 1} more" if stop - start > 1 else "")
        key = [code, list(index[start:stop]), [item_identity(item) for item in chosen]]
        block = delayed(Items(chosen), name=f"items-{digest_of(key)}", traverse=False)
        nodes.append(durable(map_block, function, block, index[start], index[start:stop], on_error, retries, key=key, label=label))
    return nodes


def partition(n_items: int, items_per_block: int | None) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the blocks; they depend on the number of items alone."""
    size = items_per_block or max(1, min(64, -(-n_items // BLOCKS_OF_ONE)), -(-n_items // MAXIMUM_BLOCKS))
    for start in range(0, n_items, size):
        yield start, min(start + size, n_items)
