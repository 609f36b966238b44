"""One HTML file about a run, scripts and data inside: it opens anywhere, without a network, for years."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import Div
from bokeh.resources import Resources

from daskpar.atomic import write_text
from daskpar.dashboard import texts
from daskpar.dashboard.drawing import draw
from daskpar.dashboard.pages import TEMPLATE, arranged
from daskpar.dashboard.run_figures import RunFigures
from daskpar.dashboard.science import Science
from daskpar.dashboard.watching import Watcher
from daskpar.rundir import RunDirectory, now


def write_report(run: RunDirectory, output: Path | None = None) -> Path:
    """Write the report of a run, in whatever state it is, and return where it is.

    Parameters
    ----------
    run : RunDirectory
        Read, and not changed but for the report.
    output : Path, optional
        Default: ``RUN/report.html``; replaced if it exists.

    Raises
    ------
    daskpar.errors.UsageError
        There is no such run.
    """
    watcher = Watcher(run).look_all()
    record = run.record
    figures = RunFigures()
    figures.update(watcher.seen.timeline)
    layout = column(
        _text(texts.heading(watcher.state, watcher.pace(), watcher.state.get("ended") or now())),
        _text(_outputs(watcher.state)),
        *_science(watcher),
        _text("<h2>Blocks</h2>"),
        figures.layout,
        _text(texts.failures(watcher.seen.failures, watcher.seen.failed, watcher.seen.again)),
        _text(texts.pictures(watcher.state)),
        _text(_recipe(run, record)),
        _text(texts.events(watcher.seen.notes)),
        sizing_mode="stretch_width",
    )
    page = file_html(
        layout,
        Resources(mode="inline"),
        f"{run.name} · daskpar",
        template=TEMPLATE,
        template_variables={"links": []},
    )
    path = output if output is not None else run.path / "report.html"
    write_text(path, page)
    return path


def _text(html: str) -> Div:
    return Div(text=html, sizing_mode="stretch_width", stylesheets=[texts.STYLE])


def _science(watcher: Watcher) -> list[Any]:
    science = Science(watcher)
    science.update()
    shown = [draw(plot, f"plot{number}") for number, plot in enumerate(science.plots)]
    message = f'<p class="muted">{escape(science.message)}</p>' if science.message else ""
    return [_text(f"<h2>Science</h2>{message}"), *arranged(shown)]


def _outputs(state: dict[str, Any]) -> str:
    files = "".join(f"<li><code>{escape(name)}</code></li>" for name in state.get("outputs") or ())
    result = state.get("result_hash")
    digest = f"<p>result hash <code>{escape(str(result))}</code></p>" if result else ""
    return f"<h2>Results</h2>{digest}<ul>{files}</ul>" if files or digest else ""


def _recipe(run: RunDirectory, record: dict[str, Any]) -> str:
    parts = []
    for title, name in (("Recipe", "recipe.yaml"), ("Profile", "profile.yaml")):
        try:
            parts.append(f"<h2>{title}</h2><pre>{escape((run.path / name).read_text())}</pre>")
        except OSError:
            continue
    provenance = {k: v for k, v in (record.get("provenance") or {}).items() if k not in ("code", "recipe")}
    text = escape(json.dumps(provenance, indent=1, sort_keys=True, default=str)[:60_000])
    parts.append(
        f"<h2>Provenance</h2><details><summary>versions, machine, inputs</summary><pre>{text}</pre></details>"
    )
    return "".join(parts)
