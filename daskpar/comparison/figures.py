"""The figures of a comparison, in Bokeh: times, speed-up, efficiency, phases, blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.layouts import gridplot
from bokeh.models import ColumnDataSource, FactorRange
from bokeh.models.annotations import Whisker
from bokeh.palettes import Colorblind8
from bokeh.plotting import figure

from daskpar.by_hand import PHASES
from daskpar.comparison.laws import LAWS
from daskpar.comparison.tables import serial

SAMPLES = 100  # of a curve
MOST_BARS = 2000  # of a task stream


def layout(data: Mapping[str, Any]) -> Any:
    """Return all figures that there is something to show in.

    Parameters
    ----------
    data : mapping
        ``comparison.json``.
    """
    made = [times(data), speedup(data), efficiency(data), phases(data), blocks(data), stream(data)]
    shown = [one for one in made if one is not None]
    for plot in shown:
        if plot.legend:
            plot.add_layout(plot.legend[0], "right")  # where it hides no mark
    return gridplot(shown, ncols=2, toolbar_location=None)


def colours(data: Mapping[str, Any]) -> dict[str, str]:
    """Return a colour for each version, also to readers who see few."""
    names = [one["name"] for one in data["versions"]]
    return {name: Colorblind8[number % 8] for number, name in enumerate(names)}


def times(data: Mapping[str, Any]) -> Any:
    """Return the median times of the work, with their 95 % intervals."""
    points = data["scaling"]
    if not points:
        return None
    plot = _figure(title="Work: first block to last partial (median, 95 %)")
    _axes(plot, points, "seconds")
    _whiskers(plot, data)
    for name, mine in _by_version(points).items():
        _series(plot, name, colours(data)[name], mine, "seconds")
    plot.y_range.start = 0
    return plot


def _figure(title: str, **more: Any) -> Any:
    make: Any = figure
    return make(title=title, width=520, height=340, toolbar_location=None, **more)


def _axes(plot: Any, points: Sequence[Mapping[str, Any]], label: str) -> None:
    plot.xaxis.axis_label, plot.yaxis.axis_label = "workers", label
    plot.xaxis.ticker = sorted({int(one["workers"]) for one in points})  # there is no half worker


def _whiskers(plot: Any, data: Mapping[str, Any]) -> None:
    for name, mine in _by_version(data["scaling"]).items():
        source = ColumnDataSource({key: [one[key] for one in mine] for key in ("workers", "low", "high")})
        bars = Whisker(
            base="workers", lower="low", upper="high", source=source, line_color=colours(data)[name]
        )
        plot.add_layout(bars)


def speedup(data: Mapping[str, Any]) -> Any:
    """Return the speed-up of each version, with the law that was chosen."""
    points = [one for one in data["scaling"] if one["speedup"] is not None]
    if not points:
        return None
    scaled = "Scaled speed-up" if data["weak"] else "Speed-up"
    plot = _figure(title=f"{scaled} over {serial(data)}")
    _axes(plot, points, "speed-up")
    most = max(one["workers"] for one in points)
    plot.line([1, most], [1, most], line_dash="dotted", color="grey", legend_label="ideal")
    for name, mine in _by_version(points).items():
        _series(plot, name, colours(data)[name], mine, "speedup", line=False)
    for fit in data["fits"]:
        if fit["chosen"] and data.get("serial"):
            n = np.linspace(1, most, SAMPLES)
            law = LAWS[fit["law"]][0](n, *list(fit["parameters"].values())[1:])
            over = data["serial"]["seconds"] / fit["parameters"]["seconds"]
            plot.line(n, over * law, color=colours(data)[fit["version"]])
    return plot


def efficiency(data: Mapping[str, Any]) -> Any:
    """Return the share of each core occupied that is used."""
    points = [one for one in data["scaling"] if one["efficiency"] is not None]
    if not points:
        return None
    plot = _figure(title="Efficiency a core occupied (hollow: more than there are)")
    _axes(plot, points, "efficiency")
    for name, mine in _by_version(points).items():
        _series(plot, name, colours(data)[name], mine, "efficiency")
    plot.y_range.start = 0
    return plot


def phases(data: Mapping[str, Any]) -> Any:
    """Return where the time goes: a bar for each version and number of workers."""
    if not data["phases"]:
        return None
    factors = [f"{one['version']} {one['workers']}" for one in data["phases"]]
    source = {"cell": factors, **{name: [one[name] for one in data["phases"]] for name in PHASES}}
    bars: Any = FactorRange
    plot = _figure(title="Phases by version and workers (medians)", y_range=bars(*factors[::-1]))
    plot.hbar_stack(
        list(PHASES), y="cell", height=0.8, color=Colorblind8[: len(PHASES)], source=source,
        legend_label=["start-up", *PHASES[1:]],
    )  # fmt: skip
    plot.height = max(plot.height, 22 * len(factors) + 60)
    plot.xaxis.axis_label = "seconds"
    return plot


def blocks(data: Mapping[str, Any]) -> Any:
    """Return how long the blocks of the dask run took, in the order in which they ended."""
    known = data.get("blocks")
    if not known or not known["seconds"]:
        return None
    plot = _figure(title="Blocks of the dask run: computing, and with storing")
    plot.xaxis.axis_label, plot.yaxis.axis_label = "block, in the order of their ends", "seconds"
    order = list(range(len(known["seconds"])))
    plot.scatter(order, known["total_seconds"], color=Colorblind8[5], size=4, legend_label="with storing")
    plot.scatter(order, known["seconds"], color=Colorblind8[0], size=4, legend_label="computing")
    plot.y_range.start = 0
    return plot


def stream(data: Mapping[str, Any]) -> Any:
    """Return which worker of the dask run computed which block when: gaps are waiting."""
    known = data.get("stream")
    if not known or not known["started"]:
        return None
    some = slice(MOST_BARS)
    stages = list(dict.fromkeys(known["stage"]))
    lanes = [f"worker {lane + 1}" for lane in range(max(known["lane"]) + 1)]
    ranges: Any = FactorRange
    shown = "" if len(known["lane"]) <= MOST_BARS else f", the first {MOST_BARS} blocks"
    plot = _figure(title=f"Task stream of dask with {known['workers']}{shown}", y_range=ranges(*lanes[::-1]))
    plot.xaxis.axis_label = "seconds since the first block began"
    for number, stage in enumerate(stages):
        mine = [k for k, one in enumerate(known["stage"][some]) if one == stage]
        plot.hbar(
            y=[lanes[known["lane"][k]] for k in mine], left=[known["started"][k] for k in mine],
            right=[known["started"][k] + known["total_seconds"][k] for k in mine], height=0.7,
            fill_color=Colorblind8[number % 8], line_color="white", line_width=0.5, legend_label=stage,
        )  # fmt: skip
    plot.legend.visible = len(stages) > 1
    return plot


def _by_version(points: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for point in sorted(points, key=lambda one: int(one["workers"])):
        found.setdefault(point["version"], []).append(point)
    return found


def _series(
    plot: Any, name: str, colour: str, mine: Sequence[Mapping[str, Any]], what: str, *, line: bool = True
) -> None:
    """Draw one version; hollow where it occupied more cores than there are."""
    x, y = [one["workers"] for one in mine], [one[what] for one in mine]
    if line:
        plot.line(x, y, color=colour, legend_label=name)
    fill = ["white" if one["oversubscribed"] else colour for one in mine]
    source = ColumnDataSource({"x": x, "y": y, "fill": fill}, name=f"{what} {name}")
    plot.scatter("x", "y", source=source, size=8, line_color=colour, fill_color="fill", legend_label=name)
