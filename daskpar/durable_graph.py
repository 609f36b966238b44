"""Graph surgery: split a lazy collection into blocks to store, and the assembly from the ledger.

    collection ──► DurableGraph ──► todo(stored): tasks that compute, store and return receipts
                                └─► assembly(stored): the collection again, each durable node a load

What only fed a stored node is culled, so it never runs. A collection without any durable node is durable at
its outputs: each chunk of the result is one. Everything here works on dask's task specification; a test
fails when dask changes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import dask
import dask.threaded
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_graph, cull
from dask.core import flatten
from dask.delayed import Delayed
from dask.sizeof import sizeof
from dask.utils import ensure_dict

from daskpar.durable import Durable, block_key
from daskpar.ledger import Stored
from daskpar.stored_value import load

Graph = dict[Any, GraphNode]

FEW, SMALL_BYTES = 8, 1 << 16


@dataclass(frozen=True)
class DurableGraph:
    """A collection whose durable nodes are known.

    Attributes
    ----------
    collection : dask collection
        What was built.
    graph : dict
        Its graph; durable nodes are tasks whose function is a `Durable`.
    nodes : dict
        The durable node of each record key: ``{record key: graph key}``.
    """

    collection: Any
    graph: Graph
    nodes: dict[str, Any]

    def label(self, key: str) -> str:
        """Return what the block with this record key is, for people."""
        durable: Durable = self.graph[self.nodes[key]].func
        return durable.label

    def needed(self, stored: Mapping[str, Stored]) -> list[str]:
        """Return the record keys still to be computed, given those stored."""
        kept = cull(self.with_loads(stored), self._targets())
        return [key for key, node in self.nodes.items() if node in kept and key not in stored]

    def todo(self, stored: Mapping[str, Stored], work: Callable[..., Any]) -> Todo:
        """Return the tasks of what is missing.

        Each target calls ``work(durable, *arguments)``, which stores the partial and returns a receipt with
        the handle under ``"stored"``; what depends on a durable node gets the stored partial, read on demand.
        """
        graph = self.with_loads(stored)
        targets = {}
        for key in self.needed(stored):
            node = self.nodes[key]
            task = self.graph[node]
            target = f"store-{node}" if isinstance(node, str) else ("store-" + node[0], *node[1:])
            graph[target] = Task(target, work, task.func, *task.args, **task.kwargs)
            graph[node] = Task(node, _stored_in, TaskRef(target))
            targets[target] = key
        return Todo(cull(graph, set(targets)), targets, self.nodes, len(targets), dict(targets))

    def assembly(self, stored: Mapping[str, Stored]) -> Any:
        """Return the collection with every durable node replaced by a load from the ledger."""
        graph = cull(self.with_loads(stored), self._targets())
        rebuild, extra = self.collection.__dask_postpersist__()
        return rebuild(graph, *extra)

    def value(self, stored: Mapping[str, Stored]) -> Any:
        """Return what the collection gives, every durable node read from the ledger."""
        targets = self._targets()
        if len(targets) > 1 or not isinstance(self.collection, Delayed):
            return dask.compute(self.assembly(stored), scheduler="threads")[0]
        # As dask.compute, without its copies of a graph of many nodes.
        return dask.threaded.get(cull(self.with_loads(stored), set(targets)), targets[0])

    def with_loads(self, stored: Mapping[str, Stored]) -> Graph:
        """Return the graph with every stored node replaced by a load."""
        loads = {n: Task(n, load, stored[key]) for key, n in self.nodes.items() if key in stored}
        return {**self.graph, **loads}

    def _targets(self) -> list[Any]:
        return list(flatten(self.collection.__dask_keys__()))


@dataclass
class Todo:
    """Blocks to compute and store, of which a few at a time may be sent to workers.

    Attributes
    ----------
    graph : dict
        Tasks of all blocks that were missing.
    targets : dict
        The blocks, in order: ``{task key: record key}``.
    nodes : dict
        As in `DurableGraph`.
    missing : int
        Number of blocks not stored yet.
    waiting : dict
        Those of `targets` that have not been taken.
    """

    graph: Graph
    targets: dict[Any, str]
    nodes: dict[str, Any]
    missing: int
    waiting: dict[Any, str]

    def take(self, most: int) -> tuple[Graph, list[Any]]:
        """Return the next blocks, about so many, and the part of the graph that they need.

        Blocks that these depend on come with them, so that none runs without its receipt being heard.
        """
        tasks = cull(self.graph, set(islice(self.waiting, most)))
        taken = [name for name in tasks if name in self.waiting]
        for name in taken:
            del self.waiting[name]
        return inlined(tasks), taken

    def done(self, target: Any, stored: Stored) -> None:
        """Note that a target is stored: what needs it later loads it."""
        node = self.nodes[self.targets[target]]
        self.graph[node] = Task(node, load, stored)
        self.missing -= self.graph.pop(target, None) is not None


def inlined(tasks: Graph) -> Graph:
    """Return tasks that hold what they load, and small data, themselves where few others want the same.

    A load would take a place that the next block could have on the worker. And dask gives a task to a
    worker that has what the task depends on: a few tasks would all go to one, and others stand idle.
    """
    uses = Counter(need for task in tasks.values() for need in task.dependencies)
    held = {name: task for name, task in tasks.items() if 0 < uses[name] <= FEW and _is_small(task)}
    return {name: task.substitute(held) for name, task in tasks.items() if name not in held}


def _is_small(task: GraphNode) -> bool:
    if isinstance(task, DataNode):
        return bool(sizeof(task.value) <= SMALL_BYTES)
    return getattr(task, "func", None) in (load, _stored_in)


def _stored_in(receipt: Mapping[str, Any]) -> Any:
    return load(receipt["stored"])


def durable_graph(collection: Any, owner: Callable[..., Any], identity: Any) -> DurableGraph:
    """Find the durable nodes of a collection; where it has none, make its chunks durable.

    Parameters
    ----------
    collection : dask collection
        An `xarray.Dataset`, a `Delayed` or any other.
    owner : callable
        The function whose code the chunks' keys hold (the analysis' `build`), used only where the build made
        no durable node itself.
    identity : JSON-like
        Options and input identity, for those keys.
    """
    graph = graph_of(collection)
    nodes = _durable_nodes(graph)
    if nodes:
        return DurableGraph(collection, graph, nodes)
    (collection,) = dask.optimize(collection)
    graph = graph_of(collection)
    # Variables may share chunks: each is named by the first that has it.
    chunks = {target: name for name, target in reversed(_named_chunks(collection))}
    for target, name in reversed(chunks.items()):
        key = block_key(owner, [identity, name])
        nodes[key] = target
        _make_durable(graph, target, key, name)
    return DurableGraph(collection, graph, nodes)


def _durable_nodes(graph: Graph) -> dict[str, Any]:
    """Return the durable nodes by record key; of several nodes for one record, all but one become aliases."""
    nodes: dict[str, Any] = {}
    for name, task in list(graph.items()):
        if isinstance(task, Task) and isinstance(task.func, Durable):
            first = nodes.setdefault(task.func.key, name)
            if first != name:
                graph[name] = Alias(name, first)
    return nodes


def _make_durable(graph: Graph, target: Any, key: str, label: str) -> None:
    task = graph[target]
    if type(task) is Task:
        graph[target] = Task(target, Durable(task.func, key, label), *task.args, **task.kwargs)
        return
    if isinstance(task, Alias):
        inner = task.target
    else:  # data in the graph, or a list or dict of other nodes
        inner = "value-" + key
        graph[inner] = task.substitute({}, key=inner)
    graph[target] = Task(target, Durable(_same, key, label), TaskRef(inner))


def graph_of(collection: Any) -> Graph:
    """Return a collection's graph, all of its tasks in dask's task specification."""
    graph: Graph = convert_legacy_graph(ensure_dict(collection.__dask_graph__()))
    return dict(graph)


def _same(value: Any) -> Any:
    return value


def _named_chunks(collection: Any) -> list[tuple[str, Any]]:
    """Return (name, graph key) of every chunk of the result, named by its variable and place."""
    if isinstance(getattr(collection, "variables", None), Mapping):  # a Delayed has any attribute
        arrays = {str(n): v.data for n, v in collection.variables.items() if dask.is_dask_collection(v.data)}
    else:
        arrays = {"result": collection}
    return [
        (" ".join([name, *(map(str, key[1:] if isinstance(key, tuple) else ()))]), key)
        for name, array in arrays.items()
        for key in flatten(array.__dask_keys__())
    ]
