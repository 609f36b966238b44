"""What `daskpar plan` learns from runs that were made: the blocks of the last one like it, replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daskpar.comparison.simulation import Prediction, Recording, predict, recorded, worth_it
from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory, list_runs

MOST_RUNS = 20  # that are looked into, the last ones first


def predicted(analysis: str, options: Any, blocks: int, workers: int, runs: Path) -> list[str]:
    """Say how long a run would take on so many threads, on half as many and on twice as many.

    Parameters
    ----------
    analysis : str
    options : JSON-like
        As in the recipe: runs with others are no guide.
    blocks : int
        Of the run to come; a recorded one that had another number is scaled.
    workers : int
        Threads that compute.
    runs : Path
        Folder of the runs.

    Returns
    -------
    list of str
        Empty where no run like it ended here without an interruption.
    """
    for run in reversed(list_runs(runs)[-MOST_RUNS:]):
        found = recording_of(run) if _is_like(run, analysis, options) else None
        if found is None:
            continue
        recording, measured = found
        share = blocks / recording.blocks if blocks else 1.0
        counts = sorted({max(1, workers // 2), workers, 2 * workers})
        made = [
            _scaled(one, share, recording.startup_seconds) for one in predict(recording, counts, measured)
        ]
        return [f"by the blocks of {run.name}, threads for workers:", *worth_it(made)]
    return []


def recording_of(run: RunDirectory) -> tuple[Recording, dict[int, float]] | None:
    """Return the blocks of a run and what it took by number of threads; None unless it ran in one go."""
    stage, blocks, lanes, clusters, total = "", [], set(), 0, None
    for event, _ in run.events():
        kind = event["event"]
        if kind == "stage":
            stage = event["name"]
        elif kind == "block":
            blocks.append((event["started"], event["total_seconds"], stage))
            lanes.add((event["host"], event["pid"], event["thread"]))
        elif kind in ("recovered", "failed", "handed over"):
            return None
        clusters += kind == "cluster"
        total = event["seconds"] if kind == "done" else total
    if not blocks or clusters != 1 or total is None:
        return None
    work = max(start + seconds for start, seconds, _ in blocks) - min(start for start, _, _ in blocks)
    measured = {len(lanes): work}
    table = {"total_seconds": [b[1] for b in blocks], "stage": [b[2] for b in blocks]}
    return recorded(table, measured, max(0.0, total - work)), measured


def _is_like(run: RunDirectory, analysis: str, options: Any) -> bool:
    try:
        recipe = run.record["recipe"]
        return bool(recipe["analysis"] == analysis and (recipe["options"] or {}) == (options or {}))
    except (UsageError, KeyError, TypeError):
        return False  # made by another version, or damaged


def _scaled(found: Prediction, share: float, startup: float) -> Prediction:
    """Return a prediction for a share of the blocks; what was never run is extrapolated."""
    beyond = found.extrapolated or share != 1.0
    seconds = startup + (found.seconds - startup) * share
    return Prediction(found.workers, seconds, found.error * share, beyond)
