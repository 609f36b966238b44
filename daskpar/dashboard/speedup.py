"""Speed-up and efficiency from the timings of a comparison."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

PHASES = ("startup", "compute", "other")


@dataclass(frozen=True)
class Point:
    """The repeats of one version on so many workers.

    Attributes
    ----------
    version : str
        dask, multiprocessing, mpi4py, …
    workers, cores : int
        Computing processes; cores occupied, ranks that do not compute included.
    repeats : int
        How many were timed.
    seconds, least, most : float
        Median and range of the total time.
    speedup, efficiency : float
        Against the best time on one worker of any version; efficiency a core occupied. NaN without one.
    phases : dict of str to float
        Medians of start-up, computing and the rest.
    hashes : frozenset of str
        Hashes of the results: one where all agree.
    """

    version: str
    workers: int
    cores: int
    repeats: int
    seconds: float
    least: float
    most: float
    speedup: float
    efficiency: float
    phases: Mapping[str, float]
    hashes: frozenset[str]


def read_timings(folder: Path) -> list[dict[str, Any]]:
    """Return the timings that a comparison has written so far; a line being written is left out."""
    try:
        text = (folder / "timings.jsonl").read_text()
    except OSError:
        return []
    found = []
    for line in text.splitlines(keepends=True):
        try:
            timing = json.loads(line) if line.endswith("\n") else None
        except ValueError:
            continue
        if isinstance(timing, dict) and isinstance(timing.get("seconds"), dict):
            found.append(timing)
    return [timing for timing in found if not timing.get("warmup")] or found  # at first there is no other


def points(timings: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return a point for each version and number of workers, in that order."""
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = defaultdict(list)
    for timing in timings:
        groups[str(timing["version"]), int(timing["workers"])].append(timing)
    serial = [median(_totals(group)) for (_, workers), group in groups.items() if workers == 1]
    base = min(serial, default=float("nan"))
    return [_point(*key, groups[key], base) for key in sorted(groups)]


def _point(version: str, workers: int, group: list[Mapping[str, Any]], base: float) -> Point:
    totals = _totals(group)
    seconds = median(totals)
    cores = int(group[0].get("cores_occupied") or workers)
    startup, compute = (
        median(float(t["seconds"].get(phase) or 0.0) for t in group) for phase in ("startup", "compute")
    )
    speedup = base / seconds
    return Point(
        version, workers, cores, len(group), seconds, min(totals), max(totals), speedup, speedup / cores,
        {"startup": startup, "compute": compute, "other": max(0.0, seconds - startup - compute)},
        frozenset(str(t.get("result_hash")) for t in group),
    )  # fmt: skip


def _totals(group: Iterable[Mapping[str, Any]]) -> list[float]:
    return [max(float(timing["seconds"]["total"]), 1e-9) for timing in group]


def comparisons(folder: Path) -> list[Path]:
    """Return the folders of comparisons below the folder of the runs, newest first."""
    found = [path.parent for path in folder.glob("*/timings.jsonl")]
    return sorted(found, key=lambda path: path.name, reverse=True)
