"""Run a prepared recipe with a client: stage by stage, block by durable block.

    for each stage of build(record, options):
        split its graph into blocks and assembly          durable_graph
        submit what the ledger does not hold, in waves    block, on the workers
        note each receipt as it comes                     journal
        assemble the stage's Dataset from the ledger      dataset_store

This is where all parts meet.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import xarray as xr

from daskpar import ledger
from daskpar.block import BlockWork, limited_preview
from daskpar.clusters.host import Heard, PassReceipts, WorkerHost
from daskpar.clusters.memory import in_megabytes, memory_limit
from daskpar.clusters.plugins import CodeFirst, LogsToRun, MarkSecondStarts
from daskpar.clusters.waves import Deadly, Lost, computed, settle
from daskpar.durable import Stage
from daskpar.durable_graph import DurableGraph, durable_graph
from daskpar.errors import AnalysisError, ClusterError, DaskparError, Fault
from daskpar.journal import Journal
from daskpar.ledger import Stored
from daskpar.stored_value import load

if TYPE_CHECKING:
    from distributed import Client

    from daskpar.preparation import Prepared

MOST_RECOVERED = 5000  # blocks; a driver writes events every half second
SETTLE = 10.0  # seconds that running blocks get where the driver has to stop
FAILURES_BEFORE_STOP = 8  # distinct blocks; the rest of the work is saved before the run ends


@dataclass
class Execution:
    """One driver's work on one run.

    Made before there is a cluster: the first stage is built then, and what cannot be sent to workers is
    refused.

    Attributes
    ----------
    prepared : Prepared
        The run, its recipe, analysis and input record.
    journal : Journal
        Where receipts are noted.
    stored : dict
        What the ledger holds, by record key.
    blocks : set of str
        Record keys of all blocks of the stages so far.
    scratch : set of str
        Those that only later stages need.
    cpus : set of str
        Kinds of CPU that computed what is stored, where bits depend on them.
    """

    prepared: Prepared
    journal: Journal
    stored: dict[str, Stored] = field(init=False)
    blocks: set[str] = field(default_factory=set)
    scratch: set[str] = field(default_factory=set)
    cpus: set[str] = field(default_factory=set)
    memory: dict[tuple[str, int], int] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.stored = self._read_ledger()
        if self.stored:
            self._reported = {str(event.get("key")) for event, _ in self.prepared.run.events()}
        if self.prepared.per_cpu:
            self.cpus = {record.cpu for record in self.stored.values()}
        self._stages = each_stage(self.prepared.build())
        self._graph = self._next_graph(next(self._stages))

    def equip(self, client: Client) -> None:
        """Give scheduler and workers what this run needs: logs, the user's code, ways to be heard."""
        client.register_plugin(MarkSecondStarts())
        client.register_plugin(PassReceipts())
        if self.prepared.profile.kind != "address":  # workers of others keep their own logs
            client.register_plugin(LogsToRun(str(self.prepared.run.logs)))
        if self.prepared.run.code.is_dir():
            client.register_plugin(CodeFirst(str(self.prepared.run.code)))

    def run(self, client: Client) -> xr.Dataset:
        """Compute all stages on workers that are equipped; return the last one's result, lazily."""
        result = xr.Dataset()
        with Heard(client, str(self.prepared.run.ledger)) as heard:
            while self._graph is not None:
                self._compute(self._graph, client, heard)
                result = self.assembled(self._graph, self.stored)
                self._graph = self._next_graph(self._stages.send(result))
        return result

    def remove_scratch(self) -> None:
        """Remove what only the stages of a run needed, now that it is done."""
        held = [self.stored[key] for key in sorted(self.scratch & self.stored.keys())]
        keys = [record.key for record in held if ledger.remove(record)]
        if keys:
            self.journal.event("removed", keys=keys)

    def settle(self, client: Client) -> None:
        """Let the blocks that run now be stored; begin no other."""
        try:
            settle(client, SETTLE)
        except Exception as error:  # whoever stops has no time for what fails now; blocks are redone
            self.journal.event("unsettled", message=str(error))

    def _next_graph(self, stage: Stage | None) -> DurableGraph | None:
        if stage is None:
            return None
        graph = durable_graph(stage.collection, self.prepared.analysis.build, self.prepared.identity)
        missing = len(graph.needed(self.stored))
        self._recover(graph)
        self.blocks |= set(graph.nodes)  # a later stage may hold blocks of an earlier one again
        self.scratch |= set(graph.nodes) if stage.scratch else set()
        self.journal.event("stage", name=stage.name, blocks=len(graph.nodes), to_compute=missing)
        self.journal.update(stage=stage.name, **self._progress(missing))
        for key in list(graph.nodes)[:1]:
            _check_portable(graph, key)
        return graph

    def _recover(self, graph: DurableGraph) -> None:
        """Note the blocks that a driver stored and died before it could say so: watchers read events only."""
        silent = [key for key in graph.nodes if key in self.stored and key not in self._reported]
        for key in silent[:MOST_RECOVERED]:
            self._reported.add(key)
            preview = self.prepared.analysis.preview
            shown = limited_preview(preview, load(self.stored[key])) if preview is not None else None
            self.journal.event("recovered", key=key, label=graph.label(key), preview=shown)

    def _read_ledger(self) -> dict[str, Stored]:
        stored, damage = ledger.scan(self.prepared.run.ledger)
        for line in damage:
            self.journal.event("damaged", message=line)
        return stored

    def _compute(self, graph: DurableGraph, client: Client, heard: Heard) -> None:
        """Have the workers compute and store all blocks of a stage that the ledger does not hold."""
        preview, per_cpu = self.prepared.analysis.preview, self.prepared.per_cpu
        folder = str(self.prepared.run.ledger)
        todo = graph.todo(self.stored, BlockWork(folder, preview, per_cpu, WorkerHost(folder)))
        failures: list[DaskparError] = []
        for batch in computed(client, todo, heard):
            for target, end in batch:
                if isinstance(end, BaseException):
                    failures.append(self._failure(end, graph.label(todo.targets[target])))
                else:
                    todo.done(target, end["stored"])
                    self._note(end)
            self.journal.update(**self._progress(todo.missing), failures=len(failures))
            if len(failures) >= FAILURES_BEFORE_STOP or any(isinstance(f, ClusterGone) for f in failures):
                break
        if failures:
            raise type(failures[0])(faults=faults_of(failures))

    def _progress(self, missing: int) -> dict[str, int]:
        done = len(self.blocks) - missing
        memory = sum(self.memory.values())
        return {"blocks_total": len(self.blocks), "blocks_done": done, "memory_bytes": memory}

    def _note(self, receipt: Mapping[str, Any]) -> None:
        stored: Stored = receipt["stored"]
        self.stored[stored.key] = stored
        self._reported.add(stored.key)
        told = {name: value for name, value in receipt.items() if name != "stored"}
        self.journal.event("block", **told, digest=stored.digest)
        self.memory[receipt["host"], receipt["pid"]] = receipt["memory_bytes"]
        self._note_cpu(receipt.get("cpu", ""), str(receipt["host"]))

    def _note_cpu(self, cpu: str, host: str) -> None:
        """Say once for each further kind of CPU that bits of this run depend on who computed what."""
        if cpu and self.cpus and cpu not in self.cpus:
            self.journal.warn(
                f"{host} has another kind of CPU than what is stored was computed on: "
                "another run agrees with this one by tolerance, not bit by bit"
            )
        self.cpus |= {cpu} - {""}

    def _failure(self, error: BaseException, label: str) -> DaskparError:
        text = "".join(traceback.format_exception(error))[-8000:]
        fault = block_error(error, label, self._room())
        self.journal.event("failed", label=label, message=str(fault)[:2000], traceback=text)
        return fault

    def _room(self) -> str:
        """Say what memory blocks need, or else needed so far, against what a worker has; as far as known."""
        limit, needed = memory_limit(self.prepared.profile), self.prepared.memory_at_once
        told = max(self.memory.values(), default=0)
        parts = []
        if needed:
            parts.append(f"its blocks need about {in_megabytes(needed)} at a time")
        elif told:
            parts.append(f"workers held up to {in_megabytes(told)} after other blocks")
        if limit is not None:
            parts.append(f"a worker has {in_megabytes(limit)}")
        return f" ({', '.join(parts)})" if parts else ""

    @staticmethod
    def assembled(graph: DurableGraph, stored: Mapping[str, Stored]) -> xr.Dataset:
        """Return a stage's Dataset, its durable nodes read from the ledger when asked for."""
        if isinstance(graph.collection, xr.Dataset):
            dataset: xr.Dataset = graph.assembly(stored)
            return dataset
        value = graph.value(stored)
        if isinstance(value, xr.Dataset):
            return value
        arrays = value if isinstance(value, Mapping) else {"result": value}
        return xr.Dataset({name: _variable(name, array) for name, array in arrays.items()})


def each_stage(built: Any) -> Generator[Stage | None, xr.Dataset, None]:
    """Yield the stages of what a build returned; a generator is sent each stage's result before it goes on.

    None marks the end.
    """
    if not inspect.isgenerator(built):
        yield Stage("blocks", built)
        yield None
        return
    generator: Any = built
    try:
        stage = next(generator)
        while True:
            result = yield stage
            stage = generator.send(result)
    except StopIteration as end:
        if end.value is not None:
            yield Stage("blocks", end.value)
    yield None


def _variable(name: str, value: Any) -> tuple[list[str], Any]:
    array = np.asarray(value)
    return [f"{name}_{axis}" for axis in range(array.ndim)], array


def _check_portable(graph: DurableGraph, key: str) -> None:
    """Refuse a block that cannot be sent to a worker, before any worker is started."""
    try:
        cloudpickle.dumps(graph.graph[graph.nodes[key]])
    except Exception as error:
        raise AnalysisError(
            f"block {graph.label(key)!r} cannot be sent to a worker: {type(error).__name__}: {error}",
            "open files, locks and clients inside the function, not outside",
        ) from error


class ClusterGone(ClusterError):
    """The scheduler or all workers are gone; nothing more will come."""


def block_error(error: BaseException, label: str, room: str = "") -> DaskparError:
    """Return the error of a run for what a block raised: ours as it is, else with the block's name.

    `room` says what memory there is, for errors that may come from too little.
    """
    what = f"block {label!r}"
    if isinstance(error, DaskparError):
        return error
    if isinstance(error, Deadly):
        return ClusterError(
            f"{what} ended its worker {error.deaths} times",
            f"it may need more memory than a worker has{room}, or crash in compiled code; see daskpar logs",
        )
    if isinstance(error, Lost):
        return ClusterGone(f"the cluster lost its blocks: {error}", "daskpar resume continues the run")
    if isinstance(error, MemoryError):
        return ClusterError(
            f"{what} needs more memory than there is{room}", "give workers more memory, then resume"
        )
    return AnalysisError(
        f"{what} raised {type(error).__name__}: {error}", "mend the function; the other blocks are saved"
    )


def faults_of(errors: list[DaskparError]) -> list[Fault]:
    """Return the faults of several errors, in order, each once."""
    return [*dict.fromkeys(fault for error in errors for fault in error.faults)]
