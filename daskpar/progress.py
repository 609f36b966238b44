"""Progress in the terminal: a bar fed by the run directory alone, so it serves every profile.

It watches; nothing that computes imports it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from daskpar.rundir import RunDirectory

PERIOD = 0.5  # seconds; the driver writes as often


@contextmanager
def shown(run: RunDirectory, quiet: bool = False) -> Iterator[None]:
    """Show the progress of a run on stderr while the block runs.

    A bar with rate and time left on a terminal; elsewhere a line now and then. Nothing where `quiet`.
    """
    if quiet:
        yield
        return
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(run, stop), name="daskpar-progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _watch(run: RunDirectory, stop: threading.Event) -> None:
    if sys.stderr.isatty():
        _watch_bar(run, stop)
    else:
        _watch_lines(run, stop)


def _watch_bar(run: RunDirectory, stop: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
        task = progress.add_task(run.name, total=None, rate="")
        linked = False
        while True:
            last = stop.wait(PERIOD)
            state = run.read_state()
            if state.get("dashboard") and not linked:
                progress.console.print(f"run {run.path}\ndashboard {state['dashboard']}", highlight=False)
                linked = True
            _advance(progress, task, state)
            if last:
                return


def _advance(progress: Progress, task: TaskID, state: dict[str, object]) -> None:
    speed = progress.tasks[0].speed
    total = state.get("blocks_total") or None
    rate = pace_text(state, speed)
    progress.update(
        task, completed=int(str(state.get("blocks_done", 0))), total=total, rate=rate,  # type: ignore[arg-type]
        description=f"{state.get('name', '')} {state.get('stage') or state.get('state', '')}",
    )  # fmt: skip


def pace_text(state: Mapping[str, object], speed: float | None) -> str:
    """Return rate, workers and memory, as far as they are known: ``4 workers, 2.1 blocks/s, 1.2 GB``."""
    parts = [f"{state['workers']} workers"] if state.get("workers") else []
    if speed:
        parts.append(f"{speed:.1f} blocks/s" if speed >= 0.5 else f"{60 * speed:.1f} blocks/min")
    if state.get("memory_bytes"):
        parts.append(f"{float(str(state['memory_bytes'])) / 1e9:.1f} GB")
    return ", ".join(parts)


def _watch_lines(run: RunDirectory, stop: threading.Event) -> None:
    """Print a line when a tenth more is done, for log files and notebooks without widgets."""
    print(f"run {run.path}", file=sys.stderr, flush=True)
    tenth, linked, begun = 0, False, None
    while True:
        last = stop.wait(PERIOD)
        state = run.read_state()
        if state.get("dashboard") and not linked:
            print(f"dashboard {state['dashboard']}", file=sys.stderr, flush=True)
            linked = True
        done, total = state.get("blocks_done", 0), state.get("blocks_total", 0)
        begun = begun or (time.monotonic(), done)
        if total and done * 10 // total > tenth:
            tenth = done * 10 // total
            print(line_of(run.name, state, begun, time.monotonic()), file=sys.stderr, flush=True)
        if last:
            return


def line_of(name: str, state: Mapping[str, Any], begun: tuple[float, int], now: float) -> str:
    """Return the progress as a line; `begun` is when this watcher came, and what was done then."""
    done, total = state["blocks_done"], state["blocks_total"]
    speed = (done - begun[1]) / max(now - begun[0], 1e-3)
    left = f", {(total - done) / speed:.0f} s left" if speed > 0 and done < total else ""
    more = pace_text(state, speed)
    return f"{name}: {done} of {total} blocks" + (f", {more}" if more else "") + left
