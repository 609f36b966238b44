"""Slices of a stack: what part of the files a node of a graph stands for.

A stack as `open_stack` made it is known by its dask name; of one that was sliced, the graph is followed from
each chunk back to the read, composing the slices on the way. Anything but slices ends the search.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Alias, GraphNode, Task, TaskRef, convert_legacy_graph
from dask.core import flatten
from dask.utils import ensure_dict

from daskpar.analyses.image_stats.with_dask.sources import FileBands
from daskpar.analyses.image_stats.with_dask.stack import PREFIX, SOURCE_PREFIX, read_plane
from daskpar.inputs.images import ImageStack
from daskpar.lazy import da

Graph = Mapping[Any, GraphNode]


@functools.cache
def _cuts() -> tuple[Any, ...]:
    """Return the functions by which dask cuts arrays."""
    core = da.core
    return (operator.getitem, da.chunk.getitem, core.getter, core.getter_inline, core.getter_nofancy)


@dataclass(frozen=True)
class Selection:
    """A box of a plane of a stack: key of its record in the graph, plane, frames, rows and columns."""

    source: str
    plane: str
    axes: tuple[range, ...]


def traced(graph: Graph, key: Any, record: ImageStack) -> Selection | None:
    """Return the box that a node stands for; None where something else than slices lies on the way."""
    node = graph.get(key)
    if isinstance(node, Alias):
        return traced(graph, node.target, record)
    if not isinstance(node, Task):
        return None
    if node.func is read_plane:
        source, plane, start, stop = node.args
        axes = range(len(record)), range(start, stop), range(record.shape[1])
        return Selection(source.key, plane, axes)
    if node.func not in _cuts() or not isinstance(node.args[0], TaskRef):
        return None
    inner = traced(graph, node.args[0].key, record)
    index = node.args[1]
    if inner is None or not isinstance(index, tuple) or not all(isinstance(cut, slice) for cut in index):
        return None
    index += (slice(None),) * (3 - len(index))
    return Selection(
        inner.source,
        inner.plane,
        tuple(axis[cut] for axis, cut in zip(inner.axes, index, strict=True)),
    )


def files_behind(array: Any) -> FileBands | None:
    """Return the files behind an array that is a stack as `open_stack` made it, whole or sliced; else None.

    The rows and columns of a slice have no gaps and keep their order, or it is not recognised here.
    """
    if not isinstance(array, da.Array) or array.ndim != 3:
        return None
    plane, record = _whole(array)
    if record is not None:
        return FileBands(record, plane)
    records = stack_records(array)
    if len(records) != 1:
        return None
    graph = graph_of(array)
    ((_, record),) = records.items()
    boxes = [traced(graph, key, record) for key in flatten(array.__dask_keys__())]
    return _joined(boxes, record)


def _whole(array: da.Array) -> tuple[str, ImageStack | None]:
    name = str(array.name)
    if not name.startswith(PREFIX):
        return "", None
    _, plane, identity = name.rsplit("-", 2)
    node = array.dask.get(SOURCE_PREFIX + identity)
    record = node() if callable(node) else None
    return plane, record if isinstance(record, ImageStack) else None


def stack_records(array: da.Array) -> dict[str, ImageStack]:
    """Return the records of files in the graph of an array, by key."""
    layers = getattr(array.dask, "layers", {})
    found = {}
    for name in layers:
        key = SOURCE_PREFIX + str(name).rpartition("-")[2]
        if str(name).startswith(PREFIX) and key in layers[name]:
            found[key] = layers[name][key]()
    return found


def graph_of(array: da.Array) -> dict[Any, GraphNode]:
    """Return the graph of an array in dask's task specification."""
    return dict(convert_legacy_graph(ensure_dict(array.__dask_graph__())))


def _joined(boxes: list[Selection | None], record: ImageStack) -> FileBands | None:
    """Return the box that chunks make up together, row band below row band."""
    found = [box for box in boxes if box is not None]
    if len(found) < len(boxes) or len({(box.plane, box.axes[0], box.axes[2]) for box in found}) != 1:
        return None
    frames, _, columns = found[0].axes
    rows = [box.axes[1] for box in found if len(box.axes[1])]
    edges = itertools.pairwise(rows)
    if not rows or not len(frames) or not len(columns):
        return None
    if any(axis.step != 1 for axis in (*rows, columns)) or any(a.stop != b.start for a, b in edges):
        return None
    part = record.take(slice_of(frames))
    return FileBands(part, found[0].plane, range(rows[0].start, rows[-1].stop), columns)


def slice_of(axis: range) -> slice:
    """Return the slice that gives the elements of a range that is not empty."""
    stop = axis.stop if axis.step > 0 or axis.stop >= 0 else None
    return slice(axis.start, stop, axis.step)
