"""The Science panel of `monte_carlo`: the running estimate and its error against the number of samples."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.dashboard.plots import Curve, Plot

Floats = NDArray[np.float64]
Moments = tuple[int, Floats, Floats]  # number, mean, central second sum
_LABEL = re.compile(r"batches (\d+)-(\d+)$")
MOST_COLUMNS = 4
STEP = 1.01  # a point is kept when the number of samples has grown by so much


def monte_carlo_panel(receipts: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> list[Plot]:
    """Merge receipts and return what is to be shown; see `daskpar.dashboard.science`.

    Moments are merged in the order in which receipts came, by the formulas of Pébay et al. (2016),
    doi:10.1007/s00180-015-0637-z; the result of the run merges them in the order of batches.
    """
    path: list[Moments] = state.setdefault("path", [])
    for receipt in receipts:
        batches = _LABEL.match(receipt["label"])  # merged nodes hold the same samples again
        if batches:
            block = receipt["preview"]
            one = (int(block["count"]), np.array(block["mean"]), np.array(block["second"]))
            _add(int(batches[1]), int(batches[2]), one, state)
            if len(path) > 1 and path[-1][0] < STEP * path[-2][0]:
                path.pop()
            path.append(state["total"])
    if not path:
        return []
    return [
        plot for k in range(min(len(path[0][1]), MOST_COLUMNS)) for plot in _plots(path, k, state["options"])
    ]


def _add(first: int, last: int, block: Moments, state: dict[str, Any]) -> None:
    """Add a block; where a run was extended, it replaces the shorter ones of the same batches."""
    starts: list[int] = state.setdefault("starts", [])
    blocks: dict[int, tuple[int, Moments]] = state.setdefault("blocks", {})
    place = bisect_left(starts, first)
    if place and blocks[starts[place - 1]][0] >= first:
        place -= 1
    end = bisect_right(starts, last)
    for start in starts[place:end]:
        del blocks[start]
    replaced = end > place
    starts[place:end] = [first]
    blocks[first] = (last, block)
    state["total"] = (
        reduce(merged, (blocks[start][1] for start in starts), None)
        if replaced
        else merged(state.get("total"), block)
    )


def merged(left: Moments | None, right: Moments) -> Any:
    """Return number, mean and central second sum of two samples together."""
    if left is None:
        return right
    (a, mean, second), (b, other, more) = left, right
    n, d = a + b, other - mean
    return n, mean + d * (b / n), second + more + d * d * (a * b / n)


def _plots(path: Sequence[Moments], column: int, options: Mapping[str, Any]) -> list[Plot]:
    n = np.array([step[0] for step in path], float)
    mean = np.array([step[1][column] for step in path])
    second = np.array([step[2][column] for step in path])
    error = np.sqrt(second / np.maximum(n - 1, 1) / n)
    target = options.get("target_error")
    if target is not None and options.get("target") == "relative":
        target = abs(target * mean[-1])
    which = f", column {column}" if len(path[0][1]) > 1 else ""
    now = f"Estimate{which}: {mean[-1]:.8g} ± {error[-1]:.2g} after {int(n[-1]):,} samples"
    return [
        Curve(now, n, mean, error=error, x_label="samples", y_label="mean ± standard error", x_log=True),
        Curve(
            f"Standard error{which}, and the target" if target else f"Standard error{which}", n, error,
            target=target, x_label="samples", y_label="standard error", x_log=True,
            y_log=bool((error > 0).all()),
        ),
    ]  # fmt: skip
