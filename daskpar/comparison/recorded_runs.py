"""What `daskpar plan` learns from runs that were made: the blocks of the last one like it, replayed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from daskpar.comparison.simulation import Prediction, Recording, predict, recorded, worth_it
from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory, list_runs

MOST_RUNS = 20  # that are looked at, the last ones first
MOST_READ = 4  # whose blocks are read: of 50 000 that takes a while

Measured = dict[int, float]


def predicted(analysis: str, options: Any, digest: str, blocks: int, workers: int, runs: Path) -> list[str]:
    """Say how long a run would take on so many threads, on half as many and on twice as many.

    Parameters
    ----------
    analysis : str
    options : JSON-like
        As in the recipe: runs with others are no guide.
    digest : str
        Of the input. Runs of another are a guide only where none had this one, and where the number of their
        blocks tells how much more it is.
    blocks : int
        Of the run to come; 0 if that is not known yet.
    workers : int
        Threads that compute.
    runs : Path
        Folder of the runs.

    Returns
    -------
    list of str
        Empty where no run like it ended here without an interruption.
    """
    like = [run for run in reversed(list_runs(runs)[-MOST_RUNS:]) if _is_like(run, analysis, options)]
    same = [run for run in like if run.record.get("input") == digest]
    chosen = _recordings(same, MOST_READ) or (_recordings(like, 1) if blocks else [])
    if not chosen:
        return []
    run, recording, _ = chosen[0]
    measured: Measured = {}
    for _, _, took in reversed(chosen):  # so that the last run of each number of threads counts
        measured |= took
    share = 1.0 if run in same else blocks / recording.blocks
    counts = sorted({max(1, workers // 2), workers, 2 * workers})
    made = [_scaled(one, share, recording.startup_seconds) for one in predict(recording, counts, measured)]
    profile = run.status()["profile"] or "?"
    other = "" if run in same else f", whose input was another and had {recording.blocks} blocks"
    return [f"by the blocks of {run.name} ({profile}){other}, threads for workers:", *worth_it(made)]


def _recordings(runs: Sequence[RunDirectory], most: int) -> list[tuple[RunDirectory, Recording, Measured]]:
    """Return the recordings of the first of some runs that have one."""
    found = ((run, recording_of(run)) for run in runs)
    return list(itertools.islice(((run, *one) for run, one in found if one is not None), most))


def recording_of(run: RunDirectory) -> tuple[Recording, Measured] | None:
    """Return the blocks of a run and what it took by number of threads; None unless it ran in one go."""
    stage, clusters, total = "", 0, None
    table: dict[str, list[Any]] = {n: [] for n in ("started", "total_seconds", "bytes", "stage", "lane")}
    for event, _ in run.events():
        kind = event["event"]
        if kind == "stage":
            stage = event["name"]
        elif kind == "block":
            for name in ("started", "total_seconds", "bytes"):
                table[name].append(event[name])
            table["stage"].append(stage)
            table["lane"].append((event["host"], event["pid"], event["thread"]))
        elif kind in ("recovered", "failed", "handed over"):
            return None
        clusters += kind == "cluster"
        total = event["seconds"] if kind == "done" else total
    if not table["stage"] or clusters != 1 or total is None:
        return None
    ends = [start + seconds for start, seconds in zip(table["started"], table["total_seconds"], strict=True)]
    work = max(ends) - min(table["started"])
    return recorded(table, max(0.0, total - work)), {len(set(table["lane"])): work}


def _is_like(run: RunDirectory, analysis: str, options: Any) -> bool:
    try:
        recipe = run.record["recipe"]
        return bool(recipe["analysis"] == analysis and (recipe["options"] or {}) == (options or {}))
    except (UsageError, KeyError, TypeError):
        return False  # made by another version, or damaged


def _scaled(found: Prediction, share: float, startup: float) -> Prediction:
    """Return a prediction for a share of the blocks; what was never run is extrapolated."""
    seconds = startup + (found.seconds - startup) * share
    error = None if found.error is None else found.error * share
    return replace(found, seconds=seconds, error=error, extrapolated=found.extrapolated or share != 1.0)
