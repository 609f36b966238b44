"""What a run would do, from headers alone: stages, blocks, bytes, memory, disk, time. Starts nothing."""

from __future__ import annotations

import inspect
import pickle
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle

from daskpar.comparison.recorded_runs import predicted
from daskpar.durable import Stage
from daskpar.durable_graph import durable_graph
from daskpar.launching import scripts
from daskpar.preparation import Prepared, identity_digest, prepare_nothing, refuse_large_blocks
from daskpar.rundir import runs_folder

if TYPE_CHECKING:
    from daskpar.profile import Profile


@dataclass(frozen=True)
class StagePlan:
    """One stage of a plan.

    Attributes
    ----------
    name : str
        The stage.
    exact : bool
        Whether its graph is known now; a later stage depends on results, and is only announced.
    blocks, tasks, graph_bytes : int
        Blocks to compute and store; nodes of the graph; its pickled size.
    kinds : dict of str to int
        How many blocks of each kind.
    """

    name: str
    exact: bool
    blocks: int = 0
    tasks: int = 0
    graph_bytes: int = 0
    kinds: Mapping[str, int] | None = None


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    recipe, profile : str
        Names.
    stages : tuple of StagePlan
        In order.
    cost : dict
        What the analysis says of itself: bytes and files read, memory a task, disk, seconds.
    workers, threads : int
        As the profile says.
    warnings : tuple of str
        What is odd but allowed.
    script : str
        What would be submitted; empty on profiles without a batch system.
    predictions : tuple of str
        How long it would take by the last run like it, on these workers, half and twice as many; in words.
    """

    recipe: str
    profile: str
    stages: tuple[StagePlan, ...]
    cost: Mapping[str, Any]
    workers: int
    threads: int
    warnings: tuple[str, ...] = ()
    script: str = ""
    predictions: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """Return the plan as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the plan as lines for people."""
        lines = [f"{self.recipe} on {self.profile}: {self.workers} workers of {self.threads} thread(s)"]
        for stage in self.stages:
            if not stage.exact:
                lines.append(f"  stage {stage.name}: depends on results of the stages before it")
                continue
            kinds = ", ".join(f"{count} {kind}" for kind, count in (stage.kinds or {}).items())
            size = f"{stage.tasks} tasks, a graph of {stage.graph_bytes / 1e6:.2f} MB"
            lines.append(f"  stage {stage.name}: {stage.blocks} blocks ({kinds}), {size}; exact")
        lines += [f"  {key.replace('_', ' ')}: {value}" for key, value in _readable(self.cost).items()]
        lines += [f"  {prediction}" for prediction in self.predictions]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join([*lines, *([self.script] if self.script else [])])


def plan_recipe(
    recipe: str | Path,
    profile: str | Path | Profile = "local",
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
) -> Plan:
    """Return what a run of a recipe would do; reads headers, writes nothing that stays."""
    scratch = Path(tempfile.mkdtemp(prefix="daskpar-plan-"))
    try:
        prepared = prepare_nothing(recipe, profile, scratch, settings=settings, allow_code=allow_code)
        refuse_large_blocks(prepared)
        return _plan(prepared)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _plan(prepared: Prepared) -> Plan:
    analysis, profile = prepared.analysis, prepared.profile
    stages = _stage_plans(prepared)
    workers, threads = getattr(profile, "workers", 1), getattr(profile, "cores", 1)
    cost = dict(analysis.cost(prepared.record, prepared.options)) if analysis.cost is not None else {}
    if analysis.measured is not None:
        cost |= analysis.measured(prepared.record, prepared.options)
    if cost.get("core_seconds"):
        cost["predicted_seconds"] = cost["core_seconds"] / (workers * threads)
    name = prepared.recipe.name
    script = scripts(profile, f"{name}-TIME", str(runs_folder() / f"{name}-TIME"))
    warnings = tuple(prepared.warnings)
    blocks = sum(stage.blocks for stage in stages) if all(stage.exact for stage in stages) else 0
    recipe = prepared.recipe.data()
    known = recipe["analysis"], recipe["options"], identity_digest(prepared)
    predictions = predicted(*known, blocks, workers * threads, runs_folder())
    return Plan(name, profile.kind, stages, cost, workers, threads, warnings, script, tuple(predictions))


def _stage_plans(prepared: Prepared) -> tuple[StagePlan, ...]:
    built: Any = prepared.build()
    if not inspect.isgenerator(built):
        return (_exact(Stage("blocks", built), prepared),)
    stages: Any = built
    first = next(stages)
    stages.close()
    return (_exact(first, prepared), *(StagePlan(name, exact=False) for name in first.then))


def _exact(stage: Stage, prepared: Prepared) -> StagePlan:
    graph = durable_graph(stage.collection, prepared.analysis.build, prepared.identity)
    kinds = Counter(graph.label(key).split(" ", 1)[0] for key in graph.nodes)
    size = len(cloudpickle.dumps(graph.graph, protocol=pickle.HIGHEST_PROTOCOL))
    return StagePlan(stage.name, True, len(graph.nodes), len(graph.graph), size, dict(kinds))


def _readable(cost: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for key, value in cost.items():
        if key.endswith("_bytes"):
            found[key.removesuffix("_bytes")] = f"{value / 1e6:,.1f} MB"
        elif key.endswith("_seconds"):
            found[key.removesuffix("_seconds")] = f"{value:,.1f} s (estimate)"
        else:
            found[key] = f"{value:,}" if isinstance(value, int) else str(value)
    return found
