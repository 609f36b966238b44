"""The driver: the one process that holds the client, advances a run and writes its state.

`run` does everything in this process; `drive` is its second half, from a prepared run to files in the
results folder.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask

from daskpar import dataset_store, outputs
from daskpar.clusters import Place, early, opener
from daskpar.errors import ClusterError, DaskparError
from daskpar.execution import Execution
from daskpar.journal import Journal
from daskpar.launching import cancel_worker_jobs, is_job, launch
from daskpar.preparation import Prepared, begin, extend, reopen
from daskpar.result import Result
from daskpar.rundir import EMPTY_STATE, RunDirectory, now
from daskpar.stopping import OutOfTime, Terminated, stops_raise

if TYPE_CHECKING:
    from distributed import Client

    from daskpar.profile import Profile
    from daskpar.recipe import Recipe


MOST_IDLE_LINKS = 3  # jobs in a row that end without a new block


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
    """Continue a run. A finished one repeats nothing, unless there is more to do or settings ask for it.

    Where its result is damaged, that is assembled again.
    """
    done = run.read_state()["state"] == "done"
    prepared = reopen(run, profile, settings=settings, as_begun=as_begun)
    if done and not settings and not damaged_result(run):
        more = prepared.analysis.more
        options = more(prepared.options, Result(run).dataset) if more is not None else None
        if options is None:
            return Result(run)
        prepared = extend(prepared, **options)
    return drive(prepared)


def drive(prepared: Prepared) -> Result:
    """Advance a prepared run to its end, from this process.

    Raises
    ------
    daskpar.stopping.OutOfTime
        The job that this process runs in nears its limit. Another job goes on with the run.
    """
    run = prepared.run
    with run.lease.hold() as lost:
        (run.path / "cancel").unlink(missing_ok=True)
        sweep_keys(run.path.parent)
        before = run.read_state()
        state = {**EMPTY_STATE, "name": run.name, "state": "running", "profile": prepared.profile.kind,
                 "started": before.get("started") or now(), "path": str(run.path),
                 "links": before.get("links", [])}  # fmt: skip
        with Journal(run, state, lost).kept() as journal, stops_raise() as out_of_time:
            try:
                for what in filter(None, [run.mend_record(), damaged_result(run)]):
                    journal.warn(what)
                _work(prepared, journal, out_of_time)
            except OutOfTime:
                _hand_over(prepared, journal)
                raise
            except BaseException as error:
                if journal.state["state"] == "done":  # only the cluster had still to be closed
                    raise
                journal.update(ended=now(), **NO_CLUSTER, **_ending(error, run))
                if isinstance(error, Exception) and not isinstance(error, DaskparError):
                    journal.event(
                        "failed", label="driver", message=str(error), traceback=traceback.format_exc()
                    )
                raise
    return Result(run)


def damaged_result(run: RunDirectory) -> str:
    """Say what of the saved result cannot be read, if there is one; it is not read from end to end."""
    found = dataset_store.unreadable(run.dataset) if run.dataset.is_dir() else ""
    return f"{found}: the result is assembled again" if found else ""


def sweep_keys(runs: Path) -> None:
    """Remove the keys of runs whose driver was killed before it could do so."""
    for folder in runs.glob("*/keys"):
        found = RunDirectory(folder.parent)
        if not found.lease.is_held() and found.read_state()["state"] != "pending":
            found.remove_keys()


NO_CLUSTER: dict[str, Any] = {"dashboard": None, "workers": 0, "queue": None}


def _work(prepared: Prepared, journal: Journal, out_of_time: threading.Event) -> None:
    execution = Execution(prepared, journal)
    if not journal.state["links"]:
        journal.update(links=[journal.state["blocks_done"]])
    profile = prepared.profile
    clock = time.monotonic()
    place = Place(prepared.run.path, journal.update, handed_over=out_of_time.is_set)
    # While the workers start, this thread waits.
    importing = threading.Thread(target=_import_early, args=(prepared,), daemon=True)
    importing.start()
    with opener(profile.kind)(profile, place) as client:
        link = _link(profile, client, journal)
        journal.update(dashboard=link, workers=len(client.scheduler_info()["workers"]))
        journal.event("cluster", seconds=time.monotonic() - clock)
        try:
            execution.equip(client)
            dataset = execution.run(client)
        except OutOfTime:
            execution.settle(client)
            raise
        importing.join()
        journal.event("assemble")
        # Here, from the ledger: workers may be gone, or wait for memory.
        with dask.config.set(scheduler="threads"):
            result_hash = dataset_store.save(dataset, prepared.run.dataset)
            written = _write_outputs(prepared, result_hash, journal.state["started"])
        journal.event("done", seconds=time.monotonic() - clock)
        done = {"state": "done", "ended": now(), "error": None, "exit_code": 0, **NO_CLUSTER}
        journal.update(**done, result_hash=result_hash, outputs=list(map(str, written)))
        journal.write()
        if prepared.recipe.keep_ledger == "until_done":
            shutil.rmtree(prepared.run.ledger, ignore_errors=True)
        else:
            execution.remove_scratch()


def _link(profile: Profile, client: Client, journal: Journal) -> str | None:
    """Return the address of the cluster's pages, if it has any: without Bokeh distributed serves none."""
    if not getattr(profile, "dashboard", True):
        return None
    if profile.kind != "address" and find_spec("bokeh") is None:  # others serve the pages of their cluster
        journal.warn("no dashboard: Bokeh is not installed here; pip install bokeh")
        return None
    link: str | None = client.dashboard_link
    return link


def _import_early(prepared: Prepared) -> None:
    outputs.import_early(prepared.recipe.outputs)
    early.import_used(prepared.analysis.name)


def _hand_over(prepared: Prepared, journal: Journal) -> None:
    """Submit the job that goes on with the run, unless several have not come forward."""
    state = journal.state
    links = [*state["links"], state["blocks_done"]][-MOST_IDLE_LINKS - 1 :]
    reason = (state.get("queue") or {}).get("reason") or "no worker had time to finish a block"
    try:
        if len(links) > MOST_IDLE_LINKS and links[0] == links[-1]:
            raise ClusterError(
                f"{MOST_IDLE_LINKS} jobs in a row ended without a finished block: {reason}",
                "give the workers more time or smaller blocks, then daskpar resume",
            )
        if not is_job(prepared.profile):
            raise ClusterError("the time of the job around this run is over", "daskpar resume goes on")
        launch(prepared.run, prepared.profile, after=os.environ.get("SLURM_JOB_ID", ""))
    except ClusterError as error:
        journal.update(ended=now(), links=[], **NO_CLUSTER, **_ending(error, prepared.run))
        cancel_worker_jobs(prepared.run)
        prepared.run.remove_keys()
        raise
    journal.event("handed over", blocks_done=state["blocks_done"], reason=reason)
    journal.update(state="pending", links=links, **NO_CLUSTER)


def _write_outputs(prepared: Prepared, result_hash: str, started: str) -> list[Path]:
    record = prepared.run.record["provenance"]
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
