"""The driver's diary: keeps `state.json` and `events.jsonl` up to date, each second, from a thread.

The driver tells it what happened and goes on; the thread writes, and the driver itself where a state must not
wait, as the end of a run. Nobody else writes these two files.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory, now

PERIOD = 0.5  # seconds between writes while something changes


class Journal:
    """State and events of a run while its driver lives.

    Parameters
    ----------
    run : RunDirectory
        Where to write.
    state : dict
        The first state.
    lost : threading.Event, optional
        Set when another driver has taken the run over; from then on nothing is written.
    """

    def __init__(self, run: RunDirectory, state: dict[str, Any], lost: threading.Event | None = None) -> None:
        self._run = run
        self._lost = lost or threading.Event()
        self._state = dict(state)
        self._events: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._stop = threading.Event()
        self._changed = True
        self._failure: Exception | None = None

    @property
    def state(self) -> dict[str, Any]:
        """A copy of the state as it stands now, written or not."""
        with self._lock:
            return dict(self._state)

    def warn(self, message: str) -> None:
        """Say something that the user should know, in the state and as an event."""
        self.event("warning", message=message)
        self.update(warnings=[*self.state.get("warnings", []), message])

    def update(self, **changes: Any) -> None:
        """Change fields of the state.

        Raises
        ------
        daskpar.errors.OutputError
            The thread could not write; the run cannot go on without its diary.
        daskpar.errors.UsageError
            Another driver has taken over.
        """
        if self._lost.is_set():
            raise UsageError(
                "another driver has taken over this run", "see daskpar status", path=self._run.path
            )
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._state.update(changes)
            self._changed = True

    def event(self, kind: str, **details: Any) -> None:
        """Note that something happened, now."""
        with self._lock:
            self._events.append({"event": kind, "time": now(), **details})

    @contextmanager
    def kept(self) -> Iterator[Journal]:
        """Write every `PERIOD` while the block runs, and once more at its end."""
        thread = threading.Thread(target=self._keep, name="daskpar-journal", daemon=True)
        self.write()
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join()
            self.write()

    def _keep(self) -> None:
        while not self._stop.wait(PERIOD):
            try:
                self.write()
            except Exception as error:
                self._failure = error
                return

    def write(self) -> None:
        """Write what has changed.

        One thread at a time: else an older state could be written after a newer one.
        """
        if self._lost.is_set():
            return
        with self._writing:
            with self._lock:
                events, self._events = self._events, []
                state = {**self._state, "written": time.time()} if self._changed else None
                self._changed = False
            self._run.append_events(events)
            if state is not None:
                self._run.write_state(state)
