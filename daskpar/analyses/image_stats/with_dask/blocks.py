"""How the variables of blocks become arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from dask._task_spec import List, Task, TaskRef

from daskpar.durable import Nodes, digest_of
from daskpar.lazy import da

CHUNK_BYTES = 4 << 20


def gathered(
    blocks: Nodes,
    bounds: Sequence[tuple[int, int]],
    variable: str,
    dtype: np.dtype[Any],
    tail: tuple[int, ...] = (),
) -> da.Array:
    """Return one variable of all blocks as an array along their leading dimension.

    Neighbouring blocks share a chunk of up to `CHUNK_BYTES`: a graph with a task a block and variable would
    be mostly bookkeeping.
    """
    name = f"{variable}-{digest_of(blocks.keys)}"
    row = dtype.itemsize * int(np.prod(tail, dtype=np.int64))
    zeros = (0,) * len(tail)
    graph: dict[Any, Task] = {}
    chunks: list[int] = []
    for first, last in _groups(bounds, row):
        key = (name, len(chunks), *zeros)
        parts = List(*map(TaskRef, blocks.keys[first:last]))
        graph[key] = Task(key, _joined, parts, variable, dtype)
        chunks.append(bounds[last - 1][1] - bounds[first][0])
    return da.Array(blocks.beneath(name, graph), name, (tuple(chunks), *((n,) for n in tail)), dtype=dtype)


def _groups(bounds: Sequence[tuple[int, int]], row: int) -> Iterator[tuple[int, int]]:
    first = 0
    for number in range(1, len(bounds) + 1):
        following = bounds[number][1] if number < len(bounds) else None
        if following is None or (following - bounds[first][0]) * row > CHUNK_BYTES:
            yield first, number
            first = number


def _joined(partials: Sequence[Mapping[str, Any]], variable: str, dtype: np.dtype[Any]) -> Any:
    return np.concatenate([partial[variable] for partial in partials], dtype=dtype, casting="safe")
