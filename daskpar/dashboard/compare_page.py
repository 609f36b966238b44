"""The figures of a comparison: speed-up, efficiency, and where the time goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import numpy as np
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, Div, FactorRange

from daskpar.dashboard import texts
from daskpar.dashboard.drawing import BLUE, COLOURS, GREY, ORANGE, empty_figure
from daskpar.dashboard.speedup import PHASES, Point, points


def compare_figures(name: str, timings: Iterable[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """Return the heading of a comparison, as HTML, and its figures."""
    found = points(timings)
    agree = len(frozenset().union(*(point.hashes for point in found))) <= 1
    verdict = (
        "all results agree"
        if agree
        else '<span class="error">results differ: their times mean nothing</span>'
    )
    head = f"<h1>{escape(name)}</h1><p>{verdict}</p>"
    if not found:
        return f"<h1>{escape(name)}</h1><p>no timings yet</p>", []
    curves = row(_curves(found, "speedup"), _curves(found, "efficiency"), sizing_mode="stretch_width")
    numbers = Div(text=_table(found), sizing_mode="stretch_width", stylesheets=[texts.STYLE])
    return head, [curves, _phases(found), numbers]


def _table(found: list[Point]) -> str:
    rows = [
        (
            escape(point.version), str(point.workers), str(point.cores), f"{point.seconds:.3g}",
            f"{point.least:.3g} – {point.most:.3g}", f"{point.speedup:.2f}", f"{point.efficiency:.0%}",
            str(point.repeats),
        )
        for point in found
        if point.speedup == point.speedup
    ]  # fmt: skip
    header = (
        "version",
        "workers",
        "cores occupied",
        "median [s]",
        "range [s]",
        "speed-up",
        "efficiency",
        "repeats",
    )
    return texts.table(header, rows, frozenset(range(1, 8)))


def _curves(found: list[Point], what: str) -> Any:
    title = {"speedup": "Speed-up", "efficiency": "Efficiency a core occupied"}[what]
    drawn = empty_figure(title=title, x_axis_label="cores occupied", y_axis_label=title.split(" ")[0].lower())
    most = max(point.cores for point in found)
    ideal = np.array([1.0, float(most)])
    drawn.line(ideal, ideal if what == "speedup" else np.ones(2), color=GREY, line_dash="dashed")
    for number, version in enumerate(dict.fromkeys(point.version for point in found)):
        chosen = sorted((p for p in found if p.version == version), key=lambda point: point.cores)
        source = ColumnDataSource(
            {"x": [p.cores for p in chosen], "y": [getattr(p, what) for p in chosen]},
            name=f"{what} {version}",
        )
        colour = COLOURS[number % len(COLOURS)]
        drawn.line("x", "y", source=source, color=colour, line_width=2, legend_label=version)
        drawn.scatter("x", "y", source=source, color=colour, size=8, legend_label=version)
    drawn.y_range.start = 0
    drawn.legend.location = "top_left" if what == "speedup" else "bottom_left"
    drawn.legend.background_fill_alpha = 0.7
    return drawn


def _phases(found: list[Point]) -> Any:
    places = [(point.version, str(point.workers)) for point in found]
    drawn = empty_figure(
        title="Where the time goes: medians", x_range=FactorRange(factors=places), y_axis_label="seconds"
    )
    data: dict[str, Any] = {"place": places}
    data |= {phase: [point.phases[phase] for point in found] for phase in PHASES}
    labels = ["start-up", "computing", "the rest"]
    source = ColumnDataSource(data, name="phases")
    drawn.vbar_stack(
        list(PHASES),
        x="place",
        width=0.7,
        source=source,
        color=[ORANGE, BLUE, "#a0aec0"],
        legend_label=labels,
    )
    drawn.y_range.start = 0
    drawn.xaxis.axis_label = "workers, by version"
    drawn.legend.location = "top_right"
    return drawn
