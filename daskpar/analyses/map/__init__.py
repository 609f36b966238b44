"""One function over many files, or over a grid of parameters: a table with a row an item."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from daskpar.analyses.map.preview import preview
from daskpar.analysis import Analysis, Where, load_code
from daskpar.errors import RecipeError
from daskpar.inputs.files import FileItem, describe_files

if TYPE_CHECKING:
    import xarray as xr


class MapOptions(BaseModel):
    """Options of the analysis `map`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str = Field(
        description="module:function, called with one item: a path, or a dict of parameters",
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        examples=["mylab.photometry:measure"],
    )
    on_error: Literal["raise", "record"] = Field(
        "raise", description="End at the first failure, or keep failures as rows with their message"
    )
    retries: int = Field(0, ge=0, le=100, description="How often a failed item is tried again at once")
    rounds: int = Field(
        1, ge=1, le=1000, description="Passes over the items that failed; daskpar resume adds one"
    )
    items_per_block: int | None = Field(
        None, ge=1, description="Items that one task takes; default: one, and more from 4096 items on"
    )


def open_items(inputs: Mapping[str, Any], where: Where) -> tuple[Any, ...]:
    """Return the items: descriptions of files, or a dict for each combination of the grid's values.

    The grid's last parameter varies fastest.
    """
    files, grid = inputs.get("files"), inputs.get("grid")
    if (files is None) == (grid is None):
        raise RecipeError("map needs files, or a grid of parameters", "give one of the two", key="inputs")
    if grid is None:
        return describe_files(where.resolve(files), where.root)
    values = {name: value if isinstance(value, list) else [value] for name, value in grid.items()}
    return tuple(dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values()))


def identity(record: tuple[Any, ...]) -> list[Any]:
    """Return what says which items these are."""
    return [item.identity if isinstance(item, FileItem) else item for item in record]


def _build(record: Any, options: MapOptions) -> Any:
    from daskpar.analyses.map.with_dask import build

    return build(record, options, load_code(options.function))


def _more(options: MapOptions, dataset: xr.Dataset) -> Any:
    from daskpar.analyses.map.with_dask import more

    return more(options, dataset)


def cost(record: tuple[Any, ...], options: MapOptions) -> dict[str, Any]:
    """Return what a run will cost; what the function takes for an item is not known."""
    sizes = [item.size for item in record if isinstance(item, FileItem)]
    return {"items": len(record), "input_files": len(sizes), "read_bytes": sum(sizes)}


ANALYSIS = Analysis(
    build=_build,
    options=MapOptions,
    open_inputs=open_items,
    identity=identity,
    more=_more,
    code=lambda options: [options.function],
    cost=cost,
    preview=preview,
    panel="daskpar.dashboard.map_panel:map_panel",
    outputs=("table.ecsv",),
    by_hand={
        how: f"daskpar.analyses.map.with_{how}:run"
        for how in ("serial", "threads", "asyncio", "processes", "multiprocessing", "mpi4py")
    },
    bits="per_cpu",  # of a user's function nothing better is known
)
