"""Progress in the terminal: a bar fed by the run directory alone, so it serves every profile.

It watches; nothing that computes imports it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

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
    rate = f"{speed:.1f} blocks/s" if speed else ""
    workers = f"{state['workers']} workers " if state.get("workers") else ""
    total = state.get("blocks_total") or None
    progress.update(
        task, completed=int(str(state.get("blocks_done", 0))), total=total, rate=workers + rate,  # type: ignore[arg-type]
        description=f"{state.get('name', '')} {state.get('stage') or state.get('state', '')}",
    )  # fmt: skip


def _watch_lines(run: RunDirectory, stop: threading.Event) -> None:
    """Print a line when a tenth more is done, for log files and notebooks without widgets."""
    print(f"run {run.path}", file=sys.stderr, flush=True)
    tenth, linked = 0, False
    while True:
        last = stop.wait(PERIOD)
        state = run.read_state()
        if state.get("dashboard") and not linked:
            print(f"dashboard {state['dashboard']}", file=sys.stderr, flush=True)
            linked = True
        done, total = state.get("blocks_done", 0), state.get("blocks_total", 0)
        if total and done * 10 // total > tenth:
            tenth = done * 10 // total
            print(f"{run.name}: {done} of {total} blocks", file=sys.stderr, flush=True)
        if last:
            return
