"""Runs and results in a notebook: HTML with escaped values, and a progress bar that needs no extension."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any

from daskpar.dashboard import texts
from daskpar.dashboard.timeline import Timeline
from daskpar.dashboard.watching import Watcher, duration, pace
from daskpar.progress import shown

if TYPE_CHECKING:
    from daskpar.result import Result
    from daskpar.submission import Run

PERIOD = 0.5  # seconds between looks
COLOURS = {"done": "#2f855a", "failed": "#c53030", "running": "#2b6cb0"}


def run_html(status: Mapping[str, Any], progress: Mapping[str, Any] | None = None) -> str:
    """Return a run as HTML: name, state, bar, what is known of its pace, its error, its outputs.

    Styles are inline: a notebook's own stay as they are.
    """
    progress = progress or pace({**status}, Timeline())
    state = str(status["state"])
    colour = COLOURS.get(state, "#718096")
    rows = [f"{progress['done']:,} of {progress['total']:,} blocks"]
    if progress["rate"] > 0:
        rows.append(texts.rate(progress["rate"]))
    if progress["left_seconds"] is not None:
        rows.append(f"{duration(progress['left_seconds'])} left")
    if status.get("workers") and state == "running":
        rows.append(f"{status['workers']} workers")
    if status.get("memory_bytes"):
        rows.append(texts.size(status["memory_bytes"]))
    share = 100 * min(max(progress["share"], 0.0), 1.0)
    error = status.get("error")
    return (
        f'<div style="max-width:44em"><b>{escape(str(status["name"]))}</b> '
        f'<span style="color:{colour}"><b>{escape(state)}</b></span>'
        '<div style="background:#cbd5e0;border-radius:4px;height:8px;margin:4px 0">'
        f'<div style="background:{colour};border-radius:4px;height:8px;width:{share:.1f}%"></div></div>'
        f"{escape(' · '.join(rows))}"
        + (f'<div style="color:#c53030">{escape(str(error))}</div>' if error else "")
        + f'<div style="opacity:.7">{escape(str(status.get("path", "")))}</div></div>'
    )


def result_html(result: Result) -> str:
    """Return a result as HTML: its run, its files, its dataset."""
    status = result.run.status()
    files = "".join(f"<li><code>{escape(str(path))}</code></li>" for path in result.outputs)
    dataset = result.dataset._repr_html_() if status["state"] == "done" else ""
    return run_html(status) + (f"<ul>{files}</ul>" if files else "") + dataset


def watch(run: Run, timeout: float | None = None) -> dict[str, Any]:
    """Show a run's progress until it ends, and return its status; see `daskpar.submission.Run.watch`."""
    if not in_notebook():
        with shown(run.directory):
            return run.wait(timeout)
    tools: Any = import_module("IPython.display")
    watcher = Watcher(run.directory)
    deadline = None if timeout is None else time.monotonic() + timeout
    handle = tools.display(tools.HTML(run_html(run.status())), display_id=True)
    while True:
        watcher.look()
        handle.update(tools.HTML(run_html(watcher.state, watcher.pace())))
        try:
            status = run.wait(PERIOD)
        except TimeoutError:
            if deadline is not None and time.monotonic() > deadline:
                raise
            continue
        watcher.look_all()
        handle.update(tools.HTML(run_html(status, watcher.pace())))
        return status


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return shell is not None and hasattr(shell, "kernel")
