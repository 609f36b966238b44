"""The version to compare by-hand ones with: a run of the recipe as ``daskpar run`` does it, with a ledger."""

from __future__ import annotations

import importlib
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.analysis import load_analysis
from daskpar.by_hand import Clock, Job, Variables
from daskpar.clusters import Place, early, opener
from daskpar.comparison.setup import Setup
from daskpar.dataset_store import whole
from daskpar.execution import Execution
from daskpar.journal import Journal
from daskpar.preparation import Prepared
from daskpar.rundir import EMPTY_STATE, RunDirectory

if TYPE_CHECKING:
    import xarray as xr
    from distributed import Client

BLOCK = ("seconds", "total_seconds", "bytes", "stage", "started", "lane")  # what is kept of each


def run(job: Job) -> Variables:
    """Run the recipe's graph on workers of the profile.

    Building the graph counts as computing. Workers import the analysis, and modules of the user's that the
    recipe names, while they start, as those of by-hand versions do.
    """
    setup: Setup = job.notes["setup"]
    profile = _profile(setup.profile, job.workers)
    return _run(job, setup, opener(profile.kind)(profile, Place(Path(job.notes["folder"]) / "run")))


def run_in_threads(job: Job) -> Variables:
    """Do so in threads of one worker process, which share what it keeps, and the interpreter's lock."""
    setup: Setup = job.notes["setup"]
    profile = _profile(setup.profile, 1, threads=job.workers)
    opened = opener(profile.kind)(profile, Place(Path(job.notes["folder"]) / "run"))
    return _run(job, setup, opened, processes=1)


def run_on_ranks(job: Job) -> Variables:
    """Do so as ranks of an MPI job: the scheduler is rank 0, which has the input, and rank 1 comes back."""
    from daskpar.clusters import mpi

    folder = Path(job.notes["folder"])
    given = job.record, job.options, job.notes["setup"]
    record, options, setup = mpi.shared(given)
    profile = _profile(setup.profile, job.workers)
    if mpi.rank() == 0:
        mpi.make_keys(profile, folder)
    mpi.shared(None)  # the keys are there
    mpi.join(profile, folder)
    try:
        return _run(replace(job, record=record, options=options), setup, mpi.open_mpi(profile, Place(folder)))
    finally:
        mpi.end(folder, keep_keys=False)


class TimedJournal(Journal):
    """The diary of the driver, which knows when the last partial of a stage has come."""

    clock: Clock
    _last: float | None = None

    def event(self, kind: str, **details: Any) -> None:
        """Note that something happened."""
        super().event(kind, **details)
        if kind == "block":
            self._last = time.monotonic()
        elif kind == "stage":
            self.gathered()

    def gathered(self) -> None:
        """Note that the partials of a stage are merged now."""
        if self._last is not None:
            self.clock.phase("gather", self._last)
            self.clock.phase("compute")
        self._last = None


def _run(
    job: Job, setup: Setup, opened: AbstractContextManager[Client], processes: int | None = None
) -> Variables:
    prepared = _prepared(job, setup)
    prepared.build()  # imports what the builder imports
    job.clock.phase("compute")
    journal = TimedJournal(prepared.run, {**EMPTY_STATE, "name": prepared.run.name})
    journal.clock = job.clock
    execution = Execution(prepared, journal)
    job.clock.phase("startup")
    early.import_used(prepared.analysis.name)
    with ExitStack() as stack:
        stack.enter_context(journal.kept())
        client = stack.enter_context(opened)
        client.wait_for_workers(processes or job.workers)
        client.run(_load, _modules(prepared))
        execution.equip(client)
        job.clock.phase("compute")
        dataset = execution.run(client)
        found = _gathered(dataset)
        journal.gathered()
        job.clock.phase("startup")  # its end: the workers are sent home
    early.end()
    job.notes["blocks"] = blocks = _blocks(prepared.run)
    job.notes["bytes_moved"] = sum(blocks["bytes"])  # by way of the ledger
    return found


def _modules(prepared: Prepared) -> list[str]:
    """Return the modules that blocks use: those of the analysis, and the user's that the options name."""
    ours = [name for name in sys.modules if name.startswith("daskpar.analyses.")]
    code = prepared.analysis.code
    named = code(prepared.options) if code is not None else []
    return [*ours, *(target.partition(":")[0] for target in named)]


def _prepared(job: Job, setup: Setup) -> Prepared:
    run = RunDirectory(Path(job.notes["folder"]) / "run")
    for folder in (run.ledger, run.logs):
        folder.mkdir(parents=True)
    analysis = load_analysis(setup.analysis, setup.allow_code)
    return Prepared(
        run, setup.recipe, setup.profile, analysis, job.options, job.record, run.path / "results", False
    )


def _profile(profile: Any, workers: int, threads: int = 1) -> Any:
    changes = {"workers": workers, "cores": threads, "dashboard": False}
    return profile.model_copy(update={k: v for k, v in changes.items() if k in type(profile).model_fields})


def _load(names: list[str]) -> None:
    for name in names:
        importlib.import_module(name)


def _gathered(dataset: xr.Dataset) -> Variables:
    variables = dataset.data_vars.items()
    return {str(name): (tuple(map(str, one.dims)), whole(one.data)) for name, one in variables}


def _blocks(run: RunDirectory) -> dict[str, list[Any]]:
    """Return seconds, bytes and stage of every block, for replaying them on more workers; when, and by whom.

    ``started`` is seconds since the first block began, ``lane`` the number of the thread that computed it.
    """
    stage, lanes = "", {}  # type: ignore[var-annotated]
    found: dict[str, list[Any]] = {name: [] for name in BLOCK}
    for event, _ in run.events():
        if event["event"] == "stage":
            stage = event["name"]
        elif event["event"] == "block":
            for name in ("seconds", "total_seconds", "bytes", "started"):
                found[name].append(event[name])
            found["stage"].append(stage)
            thread = event["host"], event["pid"], event["thread"]
            found["lane"].append(lanes.setdefault(thread, len(lanes)))
    first = min(found["started"], default=0.0)
    found["started"] = [round(one - first, 4) for one in found["started"]]
    return found
