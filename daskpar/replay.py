"""Compute one block of a run again, in this process and thread, to see why it fails. Nothing is stored."""

from __future__ import annotations

from typing import Any

import dask
from dask._task_spec import cull

from daskpar import ledger
from daskpar.durable_graph import DurableGraph, durable_graph
from daskpar.errors import UsageError
from daskpar.execution import Execution, each_stage
from daskpar.preparation import Prepared


def replay(prepared: Prepared, block: str) -> Any:
    """Compute the block with this label or key, or a beginning of it that fits only one; return its partial.

    An analysis may know names of its own for parts of its work, such as the number of a batch. Blocks
    it depends on are read from the ledger where they are stored, and computed where not.

    Raises
    ------
    daskpar.errors.UsageError
        No block fits, or several do.
    BaseException
        What the block raises, as it is: with its traceback, and with a debugger if one is set.
    """
    own = prepared.analysis.replay
    part = own(prepared.record, prepared.options, block) if own is not None else None
    if part is not None:
        return part()
    stored, _ = ledger.scan(prepared.run.ledger)
    labels: list[str] = []
    stages = each_stage(prepared.build())
    stage = next(stages)
    while stage is not None:
        graph = durable_graph(stage.collection, prepared.analysis.build, prepared.identity)
        found = _fitting(graph, block)
        if len(found) == 1:
            return _compute(graph, found[0], stored)
        if found:
            raise UsageError(f"{block!r} fits {len(found)} blocks", "give more of the label", key="--replay")
        labels += [graph.label(key) for key in graph.nodes]
        if graph.needed(stored):
            break  # a later stage needs results that are not there yet
        stage = stages.send(Execution.assembled(graph, stored))
    known = ", ".join(labels[:5])
    raise UsageError(f"there is no block {block!r}", f"blocks are named {known}, ...", key="--replay")


def _fitting(graph: DurableGraph, block: str) -> list[str]:
    exact = [key for key in graph.nodes if block in (key, graph.label(key))]
    return exact or [
        key for key in graph.nodes if key.startswith(block) or graph.label(key).startswith(block)
    ]


def _compute(graph: DurableGraph, key: str, stored: dict[str, ledger.Stored]) -> Any:
    node = graph.nodes[key]
    others = {name: record for name, record in stored.items() if name != key}
    return dask.get(cull(graph.with_loads(others), [node]), node)
