"""Plots as Bokeh figures, made once and then only given new data, so that a reader's zoom stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    Band,
    ColorBar,
    ColumnDataSource,
    CustomJSTickFormatter,
    HoverTool,
    LinearColorMapper,
    Span,
    Title,
    Whisker,
)
from bokeh.palettes import Inferno256
from bokeh.plotting import figure

from daskpar.dashboard.plots import Bars, Curve, Picture, Plot

BLUE, ORANGE, GREEN, RED, GREY = "#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#718096"
COLOURS = (BLUE, ORANGE, GREEN, RED, "#6b46c1", "#b7791f")
TOOLS = "pan,wheel_zoom,box_zoom,reset,save"
STRETCHES = ("asinh", "square root", "linear")
_COUNTING = """
    const size = Math.abs(tick)
    const units = [[1e12, 1e12, " T"], [1e9, 1e9, " G"], [1e6, 1e6, " M"], [1e4, 1e3, " k"]]
    for (const [least, unit, name] of units)
        if (size >= least) return parseFloat((tick / unit).toPrecision(6)) + name
    return parseFloat(tick.toPrecision(6)).toString()
"""


@dataclass
class Drawn:
    """A figure and how to give it new data.

    Attributes
    ----------
    shape : tuple
        What cannot change without a new figure.
    figure : bokeh figure
        To be laid out.
    update : callable
        Called with the plot's successor.
    mapper : LinearColorMapper, optional
        The colours of a picture.
    """

    shape: tuple[Any, ...]
    figure: Any
    update: Callable[[Any], None]
    mapper: Any = None


def shape_of(plot: Plot) -> tuple[Any, ...]:
    """Return what a figure is made for: the kind of plot and of its axes."""
    if isinstance(plot, Curve):
        return (Curve, plot.x_log, plot.y_log, plot.error is not None, plot.target is not None, plot.line)
    return (type(plot),)


def draw(plot: Plot, name: str) -> Drawn:
    """Return a figure; its data source is found in the document as ``name``."""
    makers: dict[type[Any], Callable[[Any, str], Drawn]] = {Curve: _curve, Bars: _bars, Picture: _picture}
    drawn = makers[type(plot)](plot, name)
    drawn.update(plot)
    return drawn


def counting() -> CustomJSTickFormatter:
    """Return a formatter of large numbers: 20 k, 3 M. A model has one document, each axis a model."""
    return CustomJSTickFormatter(code=_COUNTING)


def empty_figure(**settings: Any) -> Any:
    """Return a figure in the style of all of them."""
    drawn = figure(tools=TOOLS, sizing_mode="stretch_width", height=300, min_width=320, **settings)
    drawn.toolbar.autohide = True
    drawn.toolbar.logo = None
    drawn.outline_line_color = None
    drawn.grid.grid_line_color = "#e2e8f0"
    drawn.title.text_color = "#1a202c"
    drawn.title.text_font_size = "14px"
    for axis in drawn.axis:
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_color = axis.major_label_text_color = "#4a5568"
        axis.axis_line_color = axis.major_tick_line_color = "#a0aec0"
        axis.minor_tick_line_color = None
    return drawn


def _labelled(drawn: Any, plot: Plot) -> None:
    drawn.xaxis.axis_label, drawn.yaxis.axis_label = plot.x_label, plot.y_label


def _curve(plot: Curve, name: str) -> Drawn:
    kinds = {True: "log", False: "linear"}
    drawn = empty_figure(x_axis_type=kinds[plot.x_log], y_axis_type=kinds[plot.y_log])
    _labelled(drawn, plot)
    source = ColumnDataSource({"x": [], "y": [], "low": [], "high": []}, name=name)
    if plot.line:
        drawn.line("x", "y", source=source, color=BLUE, line_width=2)
    dots = drawn.scatter("x", "y", source=source, color=BLUE, size=6 if plot.line else 5)
    drawn.xaxis.formatter = counting()
    if not (plot.y_log and np.ptp(np.log10(plot.y)) > 2):  # else powers of ten
        drawn.yaxis.formatter = counting()
    if plot.error is not None and plot.line:
        drawn.add_layout(
            Band(base="x", lower="low", upper="high", source=source, fill_color=BLUE, fill_alpha=0.18)
        )
    if plot.error is not None:
        drawn.add_layout(
            Whisker(base="x", lower="low", upper="high", source=source, line_color=BLUE, line_alpha=0.6)
        )
        drawn.scatter("x", "low", source=source, size=0, alpha=0)  # the axis reaches the ends of the errors
        drawn.scatter("x", "high", source=source, size=0, alpha=0)
    level = Span(dimension="width", line_color=ORANGE, line_dash="dashed", line_width=2)
    if plot.target is not None:
        drawn.add_layout(level)
        goal = ColumnDataSource({"x": [], "y": []})
        drawn.scatter("x", "y", source=goal, size=0, alpha=0)
    drawn.add_tools(HoverTool(renderers=[dots], tooltips=[("", "(@x{0.[0000]}, @y{0.[000000]})")]))

    def update(new: Curve) -> None:
        drawn.title.text = new.title
        error = np.zeros_like(new.y) if new.error is None else new.error
        low = new.y - error
        if new.y_log:
            low = np.where(low > 0, low, new.y)
        source.data = {"x": new.x, "y": new.y, "low": low, "high": new.y + error}
        if new.target is not None:
            level.location = new.target
            goal.data = {"x": new.x[-1:], "y": np.array([new.target])[: len(new.x)]}

    return Drawn(shape_of(plot), drawn, update)


def filled(drawn: Any, name: str, colour: str = BLUE, edge: str | None = None) -> ColumnDataSource:
    """Add bars from zero up to a figure; return their data: ``left``, ``right``, ``top``."""
    source = ColumnDataSource({"left": [], "right": [], "top": []}, name=name)
    look = {"color": colour, "alpha": 0.7, "line_color": edge}
    drawn.quad(left="left", right="right", top="top", bottom=0, source=source, **look)
    drawn.y_range.start = 0
    return source


def _bars(plot: Bars, name: str) -> Drawn:
    drawn = empty_figure()
    _labelled(drawn, plot)
    source = filled(drawn, name, edge="white")
    for axis in drawn.axis:
        axis.formatter = counting()

    def update(new: Bars) -> None:
        drawn.title.text = new.title
        source.data = {"left": new.edges[:-1], "right": new.edges[1:], "top": new.heights}

    return Drawn(shape_of(plot), drawn, update)


def _picture(plot: Picture, name: str) -> Drawn:
    drawn = empty_figure(match_aspect=True)
    drawn.height = 620
    _labelled(drawn, plot)
    drawn.grid.grid_line_color = None
    drawn.background_fill_color = "#edf2f7"
    drawn.x_range.range_padding = drawn.y_range.range_padding = 0
    source = ColumnDataSource({"image": [], "dw": [], "dh": []}, name=name)
    mapper = LinearColorMapper(palette=stretched("asinh"), nan_color="#edf2f7")
    drawn.image("image", x=0, y=0, dw="dw", dh="dh", source=source, color_mapper=mapper)
    bar = ColorBar(color_mapper=mapper, width=14, title="", formatter=counting(), bar_line_color=None)
    drawn.add_layout(bar, "right")
    drawn.add_tools(HoverTool(tooltips=[("x, y", "$x{0}, $y{0}"), ("value", "@image")]))

    def update(new: Picture) -> None:
        drawn.title.text = new.title
        width, height = new.extent or new.image.shape[::-1]
        source.data = {"image": [new.image], "dw": [width], "dh": [height]}
        set_limits(mapper, new.image)

    return Drawn(shape_of(plot), drawn, update, mapper)


def stretched(name: str, steepness: float = 25.0) -> list[str]:
    """Return a palette that stretches an image: data stay as they are, colours are spent where the sky is."""
    share = np.linspace(0.0, 1.0, 512)
    level = {
        "linear": share,
        "square root": np.sqrt(share),
        "asinh": np.arcsinh(steepness * share) / np.arcsinh(steepness),
    }[name]
    return [Inferno256[round(255 * float(one))] for one in level]


def set_limits(mapper: Any, image: Any, percent: tuple[float, float] = (0.5, 99.8)) -> None:
    """Set the ends of the colour scale to percentiles of the image so far."""
    finite = image[np.isfinite(image)]
    if finite.size:
        low, high = np.percentile(finite, percent)
        mapper.update(low=float(low), high=float(high) if high > low else float(low) + 1.0)


def subtitle(drawn: Any, text: str) -> None:
    """Add a line in small print below a figure's title."""
    drawn.add_layout(
        Title(text=text, text_font_size="11px", text_font_style="normal", text_color=GREY), "above"
    )


def lane_ticks(names: Sequence[str]) -> list[str]:
    """Return lane names without what all of them share: host names, where there is one host."""
    hosts = {name.rpartition(":")[0] for name in names}
    return [f"pid {name.rpartition(':')[2]}" for name in names] if len(hosts) == 1 else list(names)
