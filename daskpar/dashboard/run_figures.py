"""The figures of the page of a run: throughput, a lane a worker, memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, FactorRange, FixedTicker, HoverTool, LinearColorMapper
from bokeh.palettes import Blues256

from daskpar.dashboard.drawing import BLUE, COLOURS, GREEN, empty_figure, filled, lane_ticks
from daskpar.dashboard.timeline import Timeline


class RunFigures:
    """Three figures of one timeline; as many models for 50 000 blocks as for ten."""

    def __init__(self) -> None:
        self._throughput, self._rate = _steps("Throughput", "blocks a second", BLUE, "throughput")
        self._memory_figure, self._memory = _steps("Memory of the workers", "GB", GREEN, "memory")
        self._bars = ColumnDataSource(
            {"lane": [], "left": [], "right": [], "label": [], "kind": [], "colour": []}, name="lanes"
        )
        self._busy = ColumnDataSource({"image": [], "dw": [], "dh": []}, name="busy")
        self._lanes = _bar_lanes(self._bars)
        self._busy_lanes = _busy_lanes(self._busy)
        upper = row(self._throughput, self._memory_figure, sizing_mode="stretch_width")
        self.layout = column(upper, self._lanes, self._busy_lanes, sizing_mode="stretch_width")
        self._seen = -1

    def update(self, timeline: Timeline) -> None:
        """Show what is new."""
        if len(timeline) == self._seen:
            return
        self._seen = len(timeline)
        edges, rate = timeline.throughput()
        self._rate.data = {"left": edges[:-1], "right": edges[1:], "top": rate}
        times, held = timeline.memory()
        ends = np.append(times[1:], times[-1:] + 1.0)
        self._memory.data = {"left": times, "right": ends, "top": held / 1e9}
        self._memory_figure.visible = len(times) > 0
        bars = timeline.bars()
        self._lanes.visible, self._busy_lanes.visible = bars is not None, bars is None
        if bars is not None:
            self._show_bars(bars, timeline.lanes())
        else:
            self._show_busy(timeline)

    def _show_bars(self, bars: dict[str, Any], names: list[str]) -> None:
        short = dict(zip(names, lane_ticks(names), strict=True))
        if self._lanes.y_range.factors != list(short.values())[::-1]:
            self._lanes.y_range.factors = list(short.values())[::-1]
            self._lanes.height = 90 + 22 * max(2, len(names))
        kinds = [label.split(" ")[0][:24] for label in bars["label"]]
        number = {kind: k for k, kind in enumerate(dict.fromkeys(kinds))}
        colours = [COLOURS[number[kind] % len(COLOURS)] for kind in kinds]
        lanes = [short[name] for name in bars["lane"]]
        self._bars.data = {**bars, "lane": lanes, "kind": kinds, "colour": colours}

    def _show_busy(self, timeline: Timeline) -> None:
        start, end = timeline.span
        image, names = timeline.busy(), timeline.lanes()
        self._busy.data = {"image": [image], "dw": [end - start], "dh": [len(names)]}
        step = max(1, len(names) // 25)
        ticks = list(range(0, len(names), step))
        self._busy_lanes.yaxis.ticker = FixedTicker(ticks=[tick + 0.5 for tick in ticks])
        short = lane_ticks(names)
        self._busy_lanes.yaxis.major_label_overrides = {tick + 0.5: short[tick] for tick in ticks}
        self._busy_lanes.height = min(700, 120 + 12 * len(names))


def _steps(title: str, label: str, colour: str, name: str) -> tuple[Any, ColumnDataSource]:
    drawn = empty_figure(title=title, x_axis_label="seconds since the first block began", y_axis_label=label)
    drawn.height = 220
    return drawn, filled(drawn, name, colour)


def _bar_lanes(source: ColumnDataSource) -> Any:
    drawn = empty_figure(
        title="Workers and their blocks",
        y_range=FactorRange(),
        x_axis_label="seconds since the first block began",
    )
    bars = drawn.hbar(
        y="lane", left="left", right="right", height=0.75, source=source, color="colour", alpha=0.75,
        line_color="white", legend_field="kind",
    )  # fmt: skip
    drawn.add_layout(drawn.legend[0], "right")
    drawn.legend.border_line_color = None
    drawn.legend.title, drawn.legend.title_text_font_style = "blocks", "normal"
    drawn.ygrid.grid_line_color = None
    drawn.add_tools(
        HoverTool(renderers=[bars], tooltips=[("", "@label"), ("seconds", "@left{0.00} – @right{0.00}")])
    )
    return drawn


def _busy_lanes(source: ColumnDataSource) -> Any:
    drawn = empty_figure(
        title="Workers: share of the time that they computed",
        x_axis_label="seconds since the first block began",
    )
    drawn.x_range.range_padding = drawn.y_range.range_padding = 0
    drawn.grid.grid_line_color = None
    mapper = LinearColorMapper(palette=list(Blues256)[::-1], low=0.0, high=1.0)
    drawn.image("image", x=0, y=0, dw="dw", dh="dh", source=source, color_mapper=mapper)
    drawn.visible = False
    return drawn
