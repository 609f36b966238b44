"""How items make blocks, and how the partials of all blocks make the result; for every version alike."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from daskpar.analyses.map import kernel
from daskpar.by_hand import Clock
from daskpar.errors import RecipeError
from daskpar.inputs.files import FileItem, unchanged

if TYPE_CHECKING:
    from daskpar.analyses.map import MapOptions

BLOCKS_OF_ONE = 4096  # up to so many items each is a block: what an item costs is not known beforehand
MAXIMUM_BLOCKS = 50_000
REFUSED_BLOCKS = 500_000


def partition(n_items: int, items_per_block: int | None) -> Iterator[tuple[int, int]]:
    """Yield the bounds of the blocks; they depend on the number of items alone.

    Raises
    ------
    daskpar.errors.RecipeError
        There would be more than 500 000.
    """
    size = items_per_block or max(min(64, -(-n_items // BLOCKS_OF_ONE)), -(-n_items // MAXIMUM_BLOCKS), 1)
    if n_items > REFUSED_BLOCKS * size:
        raise RecipeError(
            f"{n_items} items in blocks of {size} make more than {REFUSED_BLOCKS} blocks",
            "raise it, or leave it out",
            key="options.items_per_block",
        )
    for start in range(0, n_items, size):
        yield start, min(start + size, n_items)


def shown(item: Any) -> str | float | bool:
    """Return an item as the column ``item`` shows it: a file's name, a number or text as it is, else JSON."""
    if isinstance(item, FileItem):
        return item.name
    if isinstance(item, os.PathLike):
        return str(os.fspath(item))
    if isinstance(item, str | bool | int | float):
        return item
    try:
        return json.dumps(item)
    except TypeError:
        return repr(item)


def variables(
    partials: Sequence[kernel.Partial], items: Sequence[Any], on_error: str
) -> tuple[dict[str, Any], list[str]]:
    """Merge the partials to variables over `item`; return them, and the names of the columns.

    Missing floats are NaN; other missing values are marked by the variable that ``attrs["mask"]`` names.
    """
    columns, error = kernel.merge(partials, items)
    data: dict[str, Any] = {}
    for name, column in columns.items():
        dims = ("item", *(f"{name}_{axis}" for axis in range(1, column.values.ndim)))
        attrs = {"unit": column.unit} if column.unit else {}
        if column.missing.any() and column.values.dtype.kind not in "fc":
            attrs["mask"] = f"{name}_missing"
            data[attrs["mask"]] = (("item",), column.missing)
        data[name] = (dims, column.values, attrs)
    if on_error == "record":
        data["error"] = (("item",), error)
    return data, [*columns]


class Block(NamedTuple):
    """Some items, and their places in the whole list."""

    items: tuple[Any, ...]
    places: tuple[int, ...]


def compute(function: Callable[[Any], Any], options: MapOptions, block: Block) -> kernel.Partial:
    """Return the partial of one block: what a worker does."""
    with unchanged(block.items):
        return kernel.partial(
            function, _given(block.items), block.places, options.on_error, options.retries
        )


async def awaited(
    function: Callable[[Any], Awaitable[Any]], options: MapOptions, block: Block
) -> kernel.Partial:
    """Return the partial of one block of a coroutine function, in the event loop that runs."""
    with unchanged(block.items):
        return await kernel.awaited_partial(
            function, _given(block.items), block.places, options.on_error, options.retries
        )


def _given(items: Sequence[Any]) -> list[Any]:
    """Return items as functions get them: files as paths."""
    return [item.path if isinstance(item, FileItem) else item for item in items]


def in_rounds(
    record: Sequence[Any],
    options: MapOptions,
    compute_all: Callable[[list[Block]], list[kernel.Partial]],
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Compute all items, then those that failed once more in each further round; return the variables.

    Parameters
    ----------
    record : sequence
        The items.
    options : MapOptions
    compute_all : callable
        Gives the partials of blocks, in their order: what one version does in its way, and another in its.
    clock : Clock, optional
        Is told when blocks are computed, and when their partials are merged.
    """
    clock = clock or Clock()
    clock.phase("compute")
    names = [shown(item) for item in record]
    partials = compute_all(_blocks(record, range(len(record)), options.items_per_block))
    clock.phase("gather")
    found, _ = variables(partials, names, options.on_error)
    for _ in range(1, options.rounds):
        failed = np.flatnonzero(found["error"][1] != "").tolist() if "error" in found else []
        if not failed:
            break
        clock.phase("compute")
        partials += compute_all(_blocks(record, failed, 1))
        clock.phase("gather")
        found, _ = variables(partials, names, options.on_error)
    return {name: variable[:2] for name, variable in found.items()}


def _blocks(record: Sequence[Any], index: Sequence[int], size: int | None) -> list[Block]:
    spans = [index[start:stop] for start, stop in partition(len(index), size)]
    return [Block(tuple(record[i] for i in span), tuple(span)) for span in spans]
