"""The Science panel of `map`: the first columns of the table, by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daskpar.dashboard.plots import Curve, Plot

MOST_POINTS = 4000


def map_panel(receipts: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> list[Plot]:
    """Add receipts to the columns and return what is to be shown; see `daskpar.dashboard.science`.

    An item tried again takes the place of its failure: receipts come in the order in which they were stored.
    """
    columns: dict[str, dict[float, float]] = state.setdefault("columns", {})
    state.setdefault("items", 0)
    state.setdefault("failed", 0)
    for receipt in receipts:
        state["items"] += receipt["preview"]["items"]
        state["failed"] += receipt["preview"]["failed"]
        for name, (place, values) in receipt["preview"]["columns"].items():
            columns.setdefault(name, {}).update(zip(place, values, strict=True))
    tail = f"{state['items']:,} items tried, {state['failed']:,} failed"
    return [_curve(f"{name}: {tail}", name, columns[name]) for name in columns]


def _curve(title: str, name: str, values: Mapping[float, float]) -> Curve:
    x = np.array(sorted(values))
    y = np.array([values[place] for place in x])
    if len(x) > MOST_POINTS:
        starts = np.unique(np.linspace(0, len(x), MOST_POINTS, endpoint=False).astype(int))
        counts = np.diff(np.append(starts, len(x)))
        x, y = (np.add.reduceat(array, starts) / counts for array in (x, y))
    return Curve(title, x, y, x_label="item", y_label=name, line=False)
