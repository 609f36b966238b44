"""The driver: the one process that holds the client, advances a run and writes its state.

`run` does everything in this process; `drive` is its second half, from a prepared run to files in the
results folder.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from daskpar import dataset_store, outputs
from daskpar.clusters import open_client
from daskpar.errors import DaskparError
from daskpar.execution import Execution
from daskpar.journal import Journal
from daskpar.preparation import Prepared, begin, extend, reopen
from daskpar.result import Result
from daskpar.rundir import EMPTY_STATE, RunDirectory, now

if TYPE_CHECKING:
    from daskpar.profile import Profile
    from daskpar.recipe import Recipe


class Terminated(BaseException):
    """SIGTERM arrived. Not an `Exception`: nothing on the way out may mistake it for a failure."""


def run(
    recipe: str | Path | Mapping[str, Any] | Recipe | RunDirectory,
    profile: str | Path | Profile | None = None,
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
    runs: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    as_begun: bool = False,
) -> Result:
    """Run a recipe in this process, or go on with a run, and return its result.

    Parameters
    ----------
    recipe : path, mapping, Recipe or RunDirectory
        A recipe; or a run that exists, whose stored blocks are not computed again.
    profile : str, path or Profile
        The site; ``"local"`` for a new run, for an old one that which it was begun on.
    settings : sequence of str
        ``options.sigma=2`` and the like, over the recipe.
    allow_code : bool
        Whether the recipe may name modules that do not ship with daskpar.
    runs, output : path
        Folder of the runs (``./runs``) and of the results (``RUN/results``).
    overwrite : bool
        Whether results may replace files in `output`.
    as_begun : bool
        Go on with an old run though its recipe file or the user's code has changed since.

    Returns
    -------
    Result
        With the lazily opened ``dataset``, the ``outputs`` and the ``run``.

    Raises
    ------
    daskpar.errors.DaskparError
        Its ``exit_code`` tells the kind; what was stored until then is kept.
    """
    if isinstance(recipe, RunDirectory):
        return go_on(recipe, profile, settings=settings, as_begun=as_begun)
    prepared = begin(
        recipe, profile or "local", settings=settings, allow_code=allow_code, runs=runs, output=output,
        overwrite=overwrite,
    )  # fmt: skip
    return drive(prepared)


def go_on(
    run: RunDirectory,
    profile: str | Path | Profile | None = None,
    *,
    settings: Sequence[str] = (),
    as_begun: bool = False,
) -> Result:
    """Continue a run. A finished one repeats nothing, unless there is more to do or settings ask for it."""
    done = run.read_state()["state"] == "done"
    prepared = reopen(run, profile, settings=settings, as_begun=as_begun)
    if done and not settings:
        more = prepared.analysis.more
        options = more(prepared.options, Result(run).dataset) if more is not None else None
        if options is None:
            return Result(run)
        prepared = extend(prepared, **options)
    return drive(prepared)


def drive(prepared: Prepared) -> Result:
    """Advance a prepared run to its end, from this process."""
    run = prepared.run
    with run.lease.hold() as lost:
        (run.path / "cancel").unlink(missing_ok=True)
        started = run.read_state().get("started") or now()
        state = {**EMPTY_STATE, "name": run.name, "state": "running", "profile": prepared.profile.kind,
                 "started": started, "path": str(run.path)}  # fmt: skip
        with Journal(run, state, lost).kept() as journal, _termination_raises():
            try:
                _work(prepared, journal)
            except BaseException as error:
                if journal.state["state"] == "done":  # only the cluster had still to be closed
                    raise
                journal.update(ended=now(), dashboard=None, **_ending(error, run))
                if isinstance(error, Exception) and not isinstance(error, DaskparError):
                    journal.event(
                        "failed", label="driver", message=str(error), traceback=traceback.format_exc()
                    )
                raise
    return Result(run)


def _work(prepared: Prepared, journal: Journal) -> None:
    execution = Execution(prepared, journal)
    clock = time.monotonic()
    with open_client(prepared.profile) as client:
        link = client.dashboard_link if getattr(prepared.profile, "dashboard", True) else None
        journal.update(dashboard=link, workers=len(client.scheduler_info()["workers"]))
        journal.event("cluster", seconds=time.monotonic() - clock)
        dataset = execution.run(client)
        journal.event("assemble")
        result_hash = dataset_store.save(dataset, prepared.run.dataset)
        written = _write_outputs(prepared, result_hash, journal.state["started"])
        journal.event("done", seconds=time.monotonic() - clock)
        done = {"state": "done", "ended": now(), "error": None, "exit_code": 0, "dashboard": None}
        journal.update(**done, result_hash=result_hash, outputs=list(map(str, written)))
        journal.write()
        if prepared.recipe.keep_ledger == "until_done":
            shutil.rmtree(prepared.run.ledger, ignore_errors=True)


def _write_outputs(prepared: Prepared, result_hash: str, started: str) -> list[Path]:
    record = prepared.run.record["provenance"]
    prepared.output.mkdir(parents=True, exist_ok=True)
    return outputs.write_outputs(
        dataset_store.open_saved(prepared.run.dataset),
        prepared.recipe.outputs,
        prepared.output,
        overwrite=prepared.overwrite,
        select=prepared.analysis.select,
        plot=prepared.analysis.plot,
        provenance={
            **record,
            "run": prepared.run.name,
            "started": started,
            "ended": now(),
            "result_hash": result_hash,
        },
    )


def _ending(error: BaseException, run: RunDirectory) -> dict[str, Any]:
    if isinstance(error, KeyboardInterrupt):
        return {
            "state": "interrupted",
            "error": "interrupted from the keyboard; daskpar resume goes on",
            "exit_code": 130,
        }
    if isinstance(error, Terminated):
        asked = (run.path / "cancel").exists()
        return {
            "state": "cancelled" if asked else "interrupted",
            "error": "cancelled" if asked else "terminated",
            "exit_code": 143,
        }
    code = getattr(error, "exit_code", 1)
    return {"state": "failed", "error": str(error) or type(error).__name__, "exit_code": code}


@contextmanager
def _termination_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that the cluster is closed and the state written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: let the ending end
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
