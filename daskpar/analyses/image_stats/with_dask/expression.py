"""The user's own expression on a stack, evaluated band by band inside the tasks.

    combine((stack - bias) / flat)

The graph that xarray and dask made of it is cut to row bands, and what only one band needs, reading included,
becomes one task: no data go from task to task but the band itself. Slices of stacks become smaller reads;
arrays in the graph go to scratch and are mapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from dask._task_spec import DataNode, GraphNode, List, Task, TaskRef, convert_legacy_graph, cull
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict

from daskpar.analyses.image_stats.partition import BAND_BYTES, LARGEST_BAND_BYTES, runs
from daskpar.analyses.image_stats.with_dask.selection import (
    Selection,
    graph_of,
    slice_of,
    stack_records,
    traced,
)
from daskpar.analyses.image_stats.with_dask.sources import (
    LARGEST_IN_GRAPH,
    FileBands,
    content_digest,
    from_scratch,
    to_scratch,
)
from daskpar.analyses.image_stats.with_dask.stack import read_plane, row_bands
from daskpar.analyses.image_stats.with_dask.staging import StagedBands, staging_nodes
from daskpar.inputs.images import ImageStack
from daskpar.lazy import da

Graph = dict[Any, GraphNode]

#: Chunks of an expression that are already row bands stay as they are up to this size: a stack of uint16
#: becomes one of float64 in any expression.
WIDEST_BAND = 4 * LARGEST_BAND_BYTES


def bands_of(array: da.Array) -> list[tuple[int, int]]:
    """Return the row bands in which an expression is evaluated: its chunks, where these are row bands."""
    frames, rows, columns = array.chunks
    heights = [height for height in rows if height]
    row_bytes = array.shape[0] * array.shape[2] * array.dtype.itemsize
    if len(frames) == len(columns) == 1 and heights and max(heights) * row_bytes <= WIDEST_BAND:
        ends = np.cumsum(heights).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))
    return list(runs(array.shape[1], row_bytes, BAND_BYTES))


def evaluated_bands(array: da.Array, bands: Sequence[tuple[int, int]]) -> list[Delayed]:
    """Return a task for each row band, which evaluates the expression there for all frames."""
    heights = tuple(stop - start for start, stop in bands)
    array = array.rechunk((-1, heights, -1))
    keys = [(array.name, 0, number, 0) for number in range(len(bands))]
    graph = dict(cull(graph_of(array), keys))
    graph = _narrowed(graph, stack_records(array))
    graph = _staged(graph, stack_records(array))
    graph = _without_arrays(dict(cull(graph, keys)))
    fused = _fused(graph, keys)
    layer = HighLevelGraph.from_collections(f"bands-{array.name}", fused)
    return [Delayed(key, layer, layer=f"bands-{array.name}") for key in keys]


def _narrowed(graph: Graph, records: dict[str, ImageStack]) -> Graph:
    """Let slices of stacks read only what they need."""
    narrowed = dict(graph)
    for key in graph:
        for record in records.values():
            box = traced(graph, key, record)
            if box is not None and records.get(box.source) is record:
                narrowed[key] = _box_task(key, box)
    return narrowed


def _box_task(key: Any, box: Selection) -> Task:
    return Task(key, read_box, TaskRef(box.source), box.plane, *map(slice_of, box.axes))


def _staged(graph: Graph, records: dict[str, ImageStack]) -> Graph:
    """Let stacks that cannot be sliced be decoded once, before all bands, to scratch."""
    found = dict(graph)
    for source, record in records.items():
        readers = [key for key, node in graph.items() if _reads(node, source)]
        if record.sliceable or not readers:
            continue
        bands = row_bands(record)
        nodes = staging_nodes(FileBands(record), bands, durably=False)
        name, parts = f"staged-{source}", List(*(TaskRef(node.key) for node in nodes))
        for node in nodes:
            found |= convert_legacy_graph(ensure_dict(node.__dask_graph__()))
        found[name] = Task(name, StagedFrames, TaskRef(source), bands, parts)
        found |= {key: Task(key, read_box, TaskRef(name), *graph[key].args[1:]) for key in readers}
    return found


def _reads(node: GraphNode, source: str) -> bool:
    return isinstance(node, Task) and node.func is read_box and node.args[0] == TaskRef(source)


class StagedFrames:
    """A stack that was decoded to scratch."""

    def __init__(self, record: ImageStack, bands: Sequence[tuple[int, int]], parts: Sequence[Any]) -> None:
        self.record, self.shape = record, record.shape
        self.bands, self.parts = bands, parts

    def read(self, plane: str, frames: slice, start: int, stop: int) -> Any:
        """Return a band of rows of some frames, native."""
        return StagedBands(FileBands(self.record, plane), self.bands, self.parts).read(start, stop)[frames]


def read_box(
    record: ImageStack | StagedFrames, plane: str, frames: slice, rows: slice, columns: slice
) -> Any:
    """Read a box of a stack, native; only these frames are opened, and no rows outside the first and last."""
    wanted = range(record.shape[0])[rows]
    low, high = min(wanted), max(wanted) + 1
    inner = slice(wanted.start - low, None if wanted.step < 0 else wanted.stop - low, wanted.step)
    if isinstance(record, StagedFrames):
        return record.read(plane, frames, low, high)[:, inner, columns]
    return read_plane(record.take(frames), plane, low, high)[:, inner, columns]


def _without_arrays(graph: Graph) -> Graph:
    """Move the arrays in a graph to scratch, where together they are large."""
    arrays = {
        k: n.value for k, n in graph.items() if isinstance(n, DataNode) and isinstance(n.value, np.ndarray)
    }
    if sum(array.nbytes for array in arrays.values()) <= LARGEST_IN_GRAPH:
        return graph
    mapped = {
        key: Task(key, from_scratch, to_scratch(np.asarray(array), content_digest(np.asarray(array))))
        for key, array in arrays.items()
        if array.dtype != object
    }
    return {**graph, **mapped}


def _fused(graph: Graph, keys: Sequence[Any]) -> Graph:
    """Make one task of each band and of all that only it needs; shared loads from scratch are repeated."""
    users = Counter(dependency for node in graph.values() for dependency in node.dependencies)
    found: Graph = {}
    for key in keys:
        inside = _exclusive(graph, key, users, set(keys))
        found[key] = Task.fuse(*(graph[k] for k in inside))
    wanted = {dependency for node in found.values() for dependency in node.dependencies}
    return {**dict(cull(graph, wanted - found.keys())), **found} if wanted else found


def _exclusive(graph: Graph, key: Any, users: Counter[Any], ends: set[Any]) -> list[Any]:
    """Return a node and those behind it that nothing outside uses, the node first."""
    inside, inner_uses = [key], Counter(graph[key].dependencies)
    waiting = list(graph[key].dependencies)
    while waiting:
        name = waiting.pop()
        node = graph[name]
        repeated = isinstance(node, Task) and node.func is from_scratch
        if name in inside or name in ends or not (repeated or _alone(node, inner_uses[name] == users[name])):
            continue
        inside.append(name)
        inner_uses.update(node.dependencies)
        waiting += node.dependencies
    return inside


def _alone(node: GraphNode, only_here: bool) -> bool:
    """Whether a node belongs into the one task that uses it: records of files are shared, and stay nodes."""
    return only_here and not (isinstance(node, DataNode) and isinstance(node.value, ImageStack))
