"""The run directory: everything about a run is in it, and one process, the driver, writes it.

    RUN/
      run.json       what was begun: name, recipe, code and input digests, versions; written once, extended
                     on resume; .run.json is a copy, for when it is damaged
      recipe.yaml    the resolved recipe          profile.yaml   the resolved profile
      state.json     how far it is; replaced at least each second while the driver lives
      events.jsonl   what happened, a line each; appended
      lease.json     who drives it: host, pid, job, heartbeat
      ledger/        stored partials              dataset/       the finished result, an array a file
      results/       outputs                      logs/  code/  scratch/
      keys/          TLS of the cluster, while it is there; mode 0700

Watchers open `state.json` and `events.jsonl` anew each time and list nothing, which is correct over NFS.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from daskpar.atomic import output_errors, write_text
from daskpar.errors import OutputError, UsageError
from daskpar.lease import Lease

RECORDS = ("run.json", ".run.json")
STATES = ("pending", "running", "done", "failed", "cancelled", "interrupted")
ENDED = ("done", "failed", "cancelled", "interrupted")


@dataclass(frozen=True)
class RunDirectory:
    """A run on disk.

    Attributes
    ----------
    path : Path
        The directory.
    """

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is the directory's."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """Folder of the stored partials."""
        return self.path / "ledger"

    @property
    def dataset(self) -> Path:
        """Folder of the finished result."""
        return self.path / "dataset"

    @property
    def logs(self) -> Path:
        """Folder of the logs of driver and workers."""
        return self.path / "logs"

    @property
    def code(self) -> Path:
        """Folder of the user's modules that this run computes with."""
        return self.path / "code"

    @property
    def keys(self) -> Path:
        """Folder of the keys that scheduler and workers present to each other, while there are any."""
        return self.path / "keys"

    def remove_keys(self) -> None:
        """Remove the keys of a cluster that has ended."""
        shutil.rmtree(self.keys, ignore_errors=True)

    @property
    def lease(self) -> Lease:
        """The lock that one driver holds."""
        return Lease(self.path / "lease.json")

    @property
    def record(self) -> dict[str, Any]:
        """What was begun: `run.json`, or its copy where that is damaged."""
        found = [self._read_record(name) for name in RECORDS]
        for one in found:
            if isinstance(one, dict):
                return one
        raise UsageError(
            f"is not a run directory: {found[0]}", "daskpar list shows the runs there are", path=self.path
        )

    def _read_record(self, name: str) -> dict[str, Any] | str:
        """Return a record, or what is wrong with it."""
        try:
            found = json.loads((self.path / name).read_text())
        except (OSError, ValueError) as error:
            return str(error)
        return found if isinstance(found, dict) else f"{name} holds no record"

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace `run.json` and its copy."""
        for name in RECORDS:
            write_text(self.path / name, json.dumps(record, indent=1, sort_keys=True) + "\n")

    def torn_records(self) -> list[str]:
        """Return which of `run.json` and its copy are there but damaged."""
        there = [name for name in RECORDS if (self.path / name).exists()]
        return [name for name in there if isinstance(self._read_record(name), str)]

    def mend_record(self) -> str:
        """Write `run.json` and its copy again if they are not alike; say so if one was damaged."""
        record, torn = self.record, self.torn_records()
        # Unlike without damage: an older run, or a driver was killed between the two.
        if any(self._read_record(name) != record for name in RECORDS):
            self.write_record(record)
        return f"{torn[0]} was damaged and is written again" if torn else ""

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace `state.json`. Only the driver calls this, and `submit` before there is one."""
        write_text(self.path / "state.json", json.dumps(state, indent=1) + "\n")

    def read_state(self) -> dict[str, Any]:
        """Return the state as written by the driver; what a dead driver left is `status`'s to judge."""
        try:
            return dict(json.loads((self.path / "state.json").read_text()))
        except (OSError, ValueError, TypeError):  # never written, or damaged: the ledger still holds the work
            return {"state": "interrupted"}

    def status(self) -> dict[str, Any]:
        """Return the state as a watcher may report it: `running` only while the driver's heart beats."""
        state = {**EMPTY_STATE, "name": self.name, **self.read_state(), "path": str(self.path)}
        if state["state"] == "running" and not self.lease.is_held():
            state.update(self.read_state())  # it may have ended since
        if state["state"] == "running" and not self.lease.is_held():
            state["state"] = "interrupted"
            state["error"] = state["error"] or "the driver is gone; daskpar resume continues the run"
        return state

    def append_events(self, events: list[dict[str, Any]]) -> None:
        """Append lines to `events.jsonl`.

        Raises
        ------
        daskpar.errors.OutputError
            The disk is full, or the file cannot be written.
        """
        if not events:
            return
        path = self.path / "events.jsonl"
        text = b"".join(json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events)
        with output_errors(path, size=len(text)), open(path, "a+b") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if file.read(1) not in (b"", b"\n"):
                text = b"\n" + text  # what a crash tore stays a line of its own
            file.write(text)

    def events(self, offset: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
        """Yield each complete event from a byte offset on, with the offset behind it."""
        try:
            file = open(self.path / "events.jsonl", "rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(offset)
            for line in file:
                offset += len(line)
                if not line.endswith(b"\n"):
                    return  # being written; the next look begins here again
                try:
                    yield json.loads(line), offset
                except ValueError:
                    continue  # torn by a crash


EMPTY_STATE: dict[str, Any] = {
    "name": "",
    "state": "pending",
    "profile": "",
    "blocks_done": 0,
    "blocks_total": 0,
    "started": None,
    "ended": None,
    "result_hash": None,
    "error": None,
    "path": "",
}


def now() -> str:
    """Return the time as an ISO string in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def runs_folder(chosen: str | Path | None = None) -> Path:
    """Return the folder that holds the runs: the given one, else DASKPAR_RUNS, else ./runs."""
    return Path(chosen or os.environ.get("DASKPAR_RUNS") or "runs").absolute()


def create_run(title: str, folder: Path) -> RunDirectory:
    """Make a new, empty run directory, named after the recipe and the time, readable by its owner only."""
    name = f"{title}-{time.strftime('%Y%m%d-%H%M%S')}-{uuid4().hex[:4]}"
    path = folder / name
    try:
        path.mkdir(parents=True, mode=0o700)
        for part in ("ledger", "logs"):
            (path / part).mkdir()
    except OSError as error:
        raise OutputError(
            f"cannot make the run directory: {error.strerror}", "choose a folder with --runs", path=path
        ) from error
    return RunDirectory(path)


def list_runs(folder: Path) -> list[RunDirectory]:
    """Return the runs in a folder, oldest first."""
    found = []
    for path in folder.glob("*/run.json"):
        run = RunDirectory(path.parent)
        try:
            found.append((run.record.get("created", ""), run.name, run))
        except UsageError:
            continue  # damaged, or being removed: the others are still there
    return [run for _, _, run in sorted(found, key=lambda entry: entry[:2])]


def find_run(token: str, folder: Path) -> RunDirectory:
    """Return the run that a user names: a path, a unique prefix of its name, or ``last``.

    Raises
    ------
    daskpar.errors.UsageError
        None or several fit.
    """
    path = Path(token)
    if (path / "run.json").is_file():
        return RunDirectory(path.absolute())
    runs = list_runs(folder)
    if token == "last" and runs:
        return runs[-1]
    fitting = [run for run in runs if run.name == token] or [
        run for run in runs if run.name.startswith(token)
    ]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = ", ".join(run.name for run in fitting[:5])
        raise UsageError(f"{token!r} fits {len(fitting)} runs: {names}", "give more of the name", key="RUN")
    known = ", ".join(run.name for run in runs[-5:]) or "none yet"
    raise UsageError(f"there is no run {token!r} in {folder}", f"runs there: {known}", key="RUN")


def folder_bytes(path: Path) -> int:
    """Return the bytes that the files below a folder take."""
    total = 0
    for root, _, files in os.walk(path):
        for name in files:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except OSError:
                continue  # removed while we looked
    return total


def safe_title(text: str) -> str:
    """Return a recipe's name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)[:64].strip(".") or "run"
