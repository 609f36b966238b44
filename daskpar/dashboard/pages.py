"""The pages as Bokeh documents: Runs, Run, Science, Compare. Each is filled at once, then each second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bokeh.document import Document
from bokeh.events import ConnectionLost
from bokeh.layouts import column, row
from bokeh.models import CustomJS, Div, RangeSlider, Select
from jinja2 import Environment

from daskpar.dashboard import reach, texts
from daskpar.dashboard.compare_page import compare_figures, comparisons, read_comparison
from daskpar.dashboard.drawing import STRETCHES, Drawn, draw, set_limits, shape_of, stretched
from daskpar.dashboard.plots import Picture
from daskpar.dashboard.run_figures import RunFigures
from daskpar.dashboard.science import Science
from daskpar.dashboard.watching import Runs, Watcher, duration, pace
from daskpar.rundir import now

PERIOD = 1000  # milliseconds between updates
RUNS_SHOWN = 200
RELOAD = """
    document.getElementById("lost").style.display = "block"
    const timer = setInterval(() => fetch(location.href, {cache: "no-store"}).then((answer) => {
        if (answer.ok) { clearInterval(timer); location.reload() }
    }).catch(() => null), 1000)
"""
TEMPLATE = Environment().from_string((Path(__file__).parent / "page.html").read_text())


@dataclass
class Site:
    """What all pages share: the runs, and what is made of each, once for all who look.

    Attributes
    ----------
    runs : Runs
        The folder that is shown.
    first : str, optional
        The run that pages show where no other is asked for.
    """

    runs: Runs
    first: str | None = None
    _science: dict[str, Science] = field(default_factory=dict)

    def chosen(self, document: Document) -> str | None:
        """Return the run that a page was asked for, else the first or newest."""
        asked = argument(document, "run")
        if asked:
            return asked
        if self.first:
            return self.first
        return next((run.name for run in self.runs.listed()), None)

    def science(self, watcher: Watcher) -> Science:
        """Return what a run's panel makes of its receipts so far."""
        name = watcher.run.name
        if name not in self._science or self._science[name].watcher is not watcher:
            self._science[name] = Science(watcher)
        self._science[name].update()
        return self._science[name]


def argument(document: Document, name: str) -> str | None:
    """Return an argument of the page's address."""
    context = document.session_context
    values = context.request.arguments.get(name) if context is not None else None
    return values[0].decode(errors="replace") if values else None


def begin(document: Document, site: Site, page: str) -> str | None:
    """Give a document its frame, and return the name of the run it is about."""
    name = site.chosen(document)
    query = f"?run={quote(name)}" if name else ""
    links = [("Runs", "./"), ("Run", f"run{query}"), ("Science", f"science{query}"), ("Compare", "compare")]
    document.template = TEMPLATE
    document.template_variables["links"] = [
        {"name": text, "href": href, "here": text == page} for text, href in links
    ]
    document.title = f"{page} · daskpar"
    document.config.reconnect_session = False  # another server has other sessions: load the page anew
    document.config.notify_connection_status = False
    document.js_on_event(ConnectionLost, CustomJS(code=RELOAD))
    return name


def div(name: str, html: str = "") -> Div:
    """Return a piece of text that fills the width."""
    return Div(text=html, name=name, sizing_mode="stretch_width", stylesheets=[texts.STYLE])


def keep(document: Document, update: Callable[[], None], period: int = PERIOD) -> None:
    """Call `update` now and from now on; between two calls lies a rest as long as the first took."""
    rest = 0.0

    def again() -> None:
        nonlocal rest
        started = time.monotonic()
        if started >= rest:
            update()
            rest = 2 * time.monotonic() - started

    again()
    document.add_periodic_callback(again, period)


def runs_page(document: Document, site: Site) -> None:
    """Show all runs with state, progress, rate and time left."""
    begin(document, site, "Runs")
    listing = div("runs")
    document.add_root(listing)
    keep(document, lambda: _set(listing, _listing(site)), 2 * PERIOD)


def _listing(site: Site) -> str:
    rows = []
    runs = site.runs.listed()
    for run in runs[:RUNS_SHOWN]:
        state = run.status()
        if state["state"] == "running":
            watcher = site.runs.look(run.name)
            progress = watcher.pace() if watcher is not None else pace(state, Watcher(run).seen.timeline)
        else:
            progress = {"share": (state["blocks_done"] or 0) / (state["blocks_total"] or 1), "rate": 0.0}
        running = state["state"] == "running"
        rows.append((
            f'<a href="run?run={quote(run.name)}">{escape(run.name)}</a> {texts.badge(state["state"])}',
            texts.bar(progress["share"], state["state"]),
            f"{state['blocks_done']:,} / {state['blocks_total']:,}",
            texts.rate(progress["rate"]),
            duration(progress["left_seconds"]) if running else "–",
            texts.clock(state.get("started")),
            f'<a href="science?run={quote(run.name)}">science</a>',
        ))  # fmt: skip
    if not rows:
        return f"<h1>Runs</h1><p>There are no runs in <code>{escape(str(site.runs.folder))}</code> yet.</p>"
    header = ("run", "progress", "blocks", "rate", "time left", "started (UTC)", "")
    more = f'<p class="muted">and {len(runs) - RUNS_SHOWN} older ones</p>' if len(runs) > RUNS_SHOWN else ""
    return f"<h1>Runs</h1>{texts.table(header, rows, frozenset({2, 3, 4}))}{more}"


def run_page(document: Document, site: Site) -> None:
    """Show one run: progress, throughput, a lane a worker, memory, failures, events."""
    name = begin(document, site, "Run")
    watcher = _watched(document, site, name)
    if watcher is None:
        return
    head, trouble, notes = div("heading"), div("failures"), div("events")
    figures = RunFigures()
    document.add_root(column(head, figures.layout, trouble, notes, sizing_mode="stretch_width"))

    def update() -> None:
        site.runs.look(watcher.run.name)
        seen = watcher.seen
        _set(head, texts.heading(watcher.state, watcher.pace(), now()) + _dask(watcher))
        figures.update(seen.timeline)
        _set(trouble, texts.failures(seen.failures, seen.failed, seen.again))
        _set(notes, texts.events(seen.notes))

    keep(document, update)


def _dask(watcher: Watcher) -> str:
    found = reach.dask_dashboard(watcher.run, watcher.state)
    if found is None:
        return ""
    link, line = (escape(text, quote=True) for text in found)
    return (
        "<p>dask dashboard of this run, with task stream and worker memory: "
        f'<a href="{link}" target="_blank" rel="noopener">{link}</a>; '
        f"from elsewhere after <code>{line}</code></p>"
    )


def science_page(document: Document, site: Site) -> None:
    """Show what the run's analysis makes of the blocks so far."""
    name = begin(document, site, "Science")
    watcher = _watched(document, site, name)
    if watcher is None:
        return
    head, message = div("heading"), div("message")
    stretch = Select(title="Stretch", value=STRETCHES[0], options=list(STRETCHES), width=140)
    limits = RangeSlider(title="Limits [%]", start=0, end=100, step=0.1, value=(0.5, 99.8), width=260)
    controls = row(stretch, limits, visible=False)
    body = column(div("none"), name="plots", sizing_mode="stretch_width")
    results = div("results")
    document.add_root(column(head, controls, message, body, results, sizing_mode="stretch_width"))
    shown: list[Drawn] = []
    version = -1

    def colour() -> None:
        for drawn, plot in zip(shown, site.science(watcher).plots, strict=False):
            if drawn.mapper is not None and isinstance(plot, Picture):
                drawn.mapper.palette = stretched(stretch.value)
                set_limits(drawn.mapper, plot.image, limits.value)

    def update() -> None:
        nonlocal version
        site.runs.look(watcher.run.name)
        science = site.science(watcher)
        if watcher.state["state"] == "done" and not results.text:
            results.text = texts.pictures(watcher.state)
        _set(head, texts.heading(watcher.state, watcher.pace(), now()))
        _set(message, f'<p class="muted">{escape(science.message)}</p>' if science.message else "")
        if science.version == version:
            return
        version = science.version
        plots = science.plots
        if [drawn.shape for drawn in shown] != [shape_of(plot) for plot in plots]:
            shown[:] = [draw(plot, f"plot{number}") for number, plot in enumerate(plots)]
            body.children = arranged(shown)
            controls.visible = any(drawn.mapper is not None for drawn in shown)
        else:
            for drawn, plot in zip(shown, plots, strict=True):
                drawn.update(plot)
        colour()
        _set_data(message, {"receipts": science.receipts})

    for control in (stretch, limits):
        control.on_change("value", lambda attr, old, new: colour())
    keep(document, update)


def arranged(shown: list[Drawn]) -> list[Any]:
    """Return figures as rows: a picture beside all other plots, else two in a row."""
    pictures = [drawn.figure for drawn in shown if drawn.mapper is not None]
    others = [drawn.figure for drawn in shown if drawn.mapper is None]
    if pictures:
        beside = column(*others, sizing_mode="stretch_width")
        return [row(column(*pictures, sizing_mode="stretch_width"), beside, sizing_mode="stretch_width")]
    return [row(*others[k : k + 2], sizing_mode="stretch_width") for k in range(0, len(others), 2)]


def compare_page(document: Document, site: Site) -> None:
    """Show the comparisons below the folder of the runs, as their reports do."""
    begin(document, site, "Compare")
    folders = {path.name: path for path in comparisons(site.runs.folder)}
    head, body = div("heading"), column(div("none"), name="plots", sizing_mode="stretch_width")
    asked = argument(document, "comparison")
    chosen = asked if asked in folders else next(iter(folders), "")
    choice = Select(title="Comparison", value=chosen, options=list(folders), width=420)
    document.add_root(column(choice, head, body, sizing_mode="stretch_width"))
    if not folders:
        choice.visible = False
        head.text = (
            "<h1>Compare</h1><p>There are no comparisons here yet: <code>daskpar compare RECIPE</code></p>"
        )
        return
    before: Any = None

    def update() -> None:
        nonlocal before
        data = read_comparison(folders[choice.value])
        if (choice.value, data) != before:
            before = (choice.value, data)
            head.text, body.children = compare_figures(choice.value, data)

    choice.on_change("value", lambda attr, old, new: update())
    keep(document, update, 2 * PERIOD)


def _watched(document: Document, site: Site, name: str | None) -> Watcher | None:
    watcher = site.runs.look(name) if name else None
    if watcher is None:
        text = f"There is no run <code>{escape(name)}</code>." if name else "There are no runs yet."
        document.add_root(div("heading", f"<p>{text}</p>"))
    return watcher


def _set(text: Div, html: str) -> None:
    if text.text != html:  # what has not changed is not sent
        text.text = html


def _set_data(model: Any, values: dict[str, Any]) -> None:
    if model.tags != [values]:
        model.tags = [values]
