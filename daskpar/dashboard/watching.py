"""A run as its watchers see it: state and events read anew each time, from where the last look ended.

A `Watcher` lists nothing and keeps no file open, so it is right over NFS, while a run goes, after it has
ended, and after it died. A look takes a fraction of a second however many events are new; the rest comes
with the next one.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daskpar.dashboard.timeline import Timeline
from daskpar.errors import UsageError
from daskpar.rundir import ENDED, RunDirectory

LOOK_SECONDS = 0.25
NOTES_KEPT = 200


@dataclass
class Seen:
    """What has been read of a run so far.

    Attributes
    ----------
    timeline : Timeline
        Blocks by time and worker.
    receipts : list of dict
        Receipts with a preview that nobody has taken yet; see `Watcher.take`.
    notes, failures : deque of dict
        The last events that are no blocks; the last failures.
    again : int
        Blocks computed more than once.
    failed : int
        Failures of blocks.
    """

    timeline: Timeline = field(default_factory=Timeline)
    receipts: list[dict[str, Any]] = field(default_factory=list)
    notes: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NOTES_KEPT))
    failures: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=NOTES_KEPT))
    again: int = 0
    failed: int = 0
    keys: set[str] = field(default_factory=set)


class Watcher:
    """Follows one run.

    Parameters
    ----------
    run : RunDirectory
        The run; only read.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.seen = Seen()
        self.state = run.status()
        self.complete = False  # whether the last look came to the end of the events
        self.restarts = 0  # grows when everything is read anew
        self._offset = 0

    def look(self, seconds: float = LOOK_SECONDS) -> bool:
        """Read what is new for at most so long; return whether anything was."""
        before, state = self._offset, self.run.status()
        changed = state != self.state
        self.state = state
        if self._size() < self._offset:  # another file stands there: begin again
            self._offset, self.seen = 0, Seen()
            self.restarts += 1
        deadline = time.monotonic() + seconds
        self.complete = True
        for event, offset in self.run.events(self._offset):
            self._offset = offset
            if isinstance(event, dict):
                self._note(event)
            if time.monotonic() > deadline:
                self.complete = False
                break
        return changed or self._offset != before

    def look_all(self) -> Watcher:
        """Read everything there is now."""
        self.look(float("inf"))
        return self

    def take(self) -> list[dict[str, Any]]:
        """Return the receipts with previews that were not taken before: each block once."""
        found, self.seen.receipts = self.seen.receipts, []
        return found

    def _size(self) -> int:
        try:
            return (self.run.path / "events.jsonl").stat().st_size
        except OSError:
            return self._offset  # hidden for a moment, as over NFS

    def _note(self, event: dict[str, Any]) -> None:
        kind = event.get("event")
        if kind not in ("block", "recovered"):
            self._note_other(kind, event)
            return
        if kind == "block":
            self.seen.timeline.add(event)
        key = str(event.get("key"))
        if key in self.seen.keys:
            self.seen.again += 1
            return
        self.seen.keys.add(key)
        if event.get("preview") is not None:
            self.seen.receipts.append(event)

    def _note_other(self, kind: Any, event: dict[str, Any]) -> None:
        self.seen.notes.append(event)
        if kind == "cluster":
            self.seen.timeline.begin_attempt()
        if kind in ("failed", "damaged"):
            self.seen.failures.append(event)
            self.seen.failed += kind == "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be expected."""
        return self.state["state"] in ENDED

    def pace(self) -> dict[str, Any]:
        """Return progress, blocks a second and the seconds left, as far as they are known."""
        return pace(self.state, self.seen.timeline)


def pace(state: dict[str, Any], timeline: Timeline) -> dict[str, Any]:
    """Return ``done``, ``total``, ``share``, ``rate`` and ``left_seconds`` (None where unknown)."""
    done, total = int(state.get("blocks_done") or 0), int(state.get("blocks_total") or 0)
    rate, left = 0.0, None
    if state.get("state") == "running":
        rate = timeline.rate(max(float(state.get("written") or 0.0), timeline.span[1]))
        left = (total - done) / rate if rate > 0 else None
    elif len(timeline):
        start, end = timeline.span
        rate = len(timeline) / max(end - start, 1e-3)
    return {
        "done": done,
        "total": total,
        "share": done / total if total else 0.0,
        "rate": rate,
        "left_seconds": left,
    }


class Runs:
    """All runs of a folder, one watcher each, made when first asked for and shared by all who look.

    Parameters
    ----------
    folder : Path
        The folder of the runs.
    only : RunDirectory, optional
        A run elsewhere that is to be found by its name, too.
    """

    def __init__(self, folder: Path, only: RunDirectory | None = None) -> None:
        self.folder, self.only = folder, only
        self._watchers: dict[str, Watcher] = {}
        self._created: dict[Path, str] = {}
        self._looked: dict[str, float] = {}

    def listed(self) -> list[RunDirectory]:
        """Return the runs, newest first."""
        paths = {path.parent for path in self.folder.glob("*/run.json")}
        if self.only is not None:
            paths.add(self.only.path)
        for path in paths - self._created.keys():  # records are long, and never change what is read here
            try:
                self._created[path] = str(RunDirectory(path).record.get("created", ""))
            except UsageError:
                continue  # being made or removed: perhaps the next look finds it
        known = [path for path in paths if path in self._created]
        known.sort(key=lambda path: (self._created[path], path.name), reverse=True)
        return [RunDirectory(path) for path in known]

    def watcher(self, name: str) -> Watcher | None:
        """Return the watcher of a run; None where there is no such run. A name is never taken for a path."""
        if name not in self._watchers:
            run = next((run for run in self.listed() if run.name == name), None)
            if run is None:
                return None
            self._watchers[name] = Watcher(run)
        return self._watchers[name]

    def look(self, name: str, period: float = 0.5) -> Watcher | None:
        """Return the watcher after a look, unless somebody looked a moment ago."""
        watcher = self.watcher(name)
        if watcher is not None and time.monotonic() > self._looked.get(name, 0.0) + period:
            watcher.look()
            self._looked[name] = time.monotonic()
        return watcher


def duration(seconds: float | None) -> str:
    """Return a time span as people say it: ``12 s``, ``3 min``, ``2 h 05 min``, ``4 d 3 h``."""
    if seconds is None or seconds != seconds or seconds == float("inf"):
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
