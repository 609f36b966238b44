"""The Science panel of `image_stats`: the combined image as it fills, its histogram, what was rejected."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.dashboard.plots import Bars, Curve, Picture, Plot

Floats = NDArray[np.float64]
MOST_ROWS = 1024
MOST_POINTS = 1000
_ROWS = re.compile(r"combine rows (\d+):(\d+)$")
_FRAMES = re.compile(r"statistics of frames (\d+):(\d+)$")


def image_panel(receipts: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> list[Plot]:
    """Add receipts to the canvas and return what is to be shown; see `daskpar.dashboard.science`."""
    canvas: Canvas = state.setdefault("canvas", Canvas(state["planned"].get("rows", 0)))
    levels: dict[int, tuple[float, float]] = state.setdefault("levels", {})
    for receipt in receipts:
        if found := _ROWS.match(receipt["label"]):
            canvas.add(int(found[1]), receipt["preview"])
        elif found := _FRAMES.match(receipt["label"]):
            values = zip(*receipt["preview"].values(), strict=True)
            levels |= {int(found[1]) + k: pair for k, pair in enumerate(values)}
    plots = canvas.plots()
    if levels:
        frames = sorted(levels)
        middle, spread = (thinned(np.array([levels[frame][k] for frame in frames])) for k in (0, 1))
        title = "Sky of each frame: clipped median ± clipped standard deviation"
        number = thinned(np.array(frames, float))
        plots.append(Curve(title, number, middle, error=spread, x_label="frame", y_label="level", line=False))
    return plots


class Canvas:
    """The combined image in squares, filled by the previews of its bands.

    Parameters
    ----------
    rows : int
        Of the whole image; 0 where unknown: then it grows.
    """

    def __init__(self, rows: int = 0) -> None:
        self.rows, self.columns, self.factor = rows, 0, 0
        self._sums = self._weights = np.zeros((0, 0))
        self.used = self.low = self.high = 0
        self._bands: dict[int, tuple[int, int, int, int]] = {}

    def add(self, start: int, preview: Mapping[str, Any]) -> None:
        """Put a band that starts at row `start` where it belongs."""
        rows, columns = preview["shape"]
        if not self.factor:
            self.columns = columns
            self.factor = preview["factor"]
            while self.rows // self.factor > MOST_ROWS:
                self.factor *= 2
        self._hold(start + rows)
        values = decoded(preview)
        known = np.isfinite(values)
        down = shares(start, rows, preview["factor"], self.factor)
        across = shares(0, columns, preview["factor"], self.factor)
        here = slice(start // self.factor, start // self.factor + len(down))
        self._sums[here] += down @ np.where(known, values, 0.0) @ across.T
        self._weights[here] += down @ known.astype(np.float64) @ across.T
        self._bands[start] = (start + rows, preview["used"], preview["low"], preview["high"])
        self.used += preview["used"]
        self.low += preview["low"]
        self.high += preview["high"]

    def _hold(self, rows: int) -> None:
        self.rows = max(self.rows, rows)
        shape = (-(-self.rows // self.factor), -(-self.columns // self.factor))
        if shape != self._sums.shape:
            for name in ("_sums", "_weights"):
                old, new = getattr(self, name), np.zeros(shape)
                new[: len(old)] = old if old.size else 0.0
                setattr(self, name, new)

    def image(self) -> Floats:
        """Return the means of the squares, NaN where nothing is yet."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self._weights > 0, self._sums / self._weights, np.nan))

    def rejected(self) -> tuple[Floats, Floats]:
        """Return the middle row of each band and the share of its values that was rejected."""
        bands = [(start, *self._bands[start]) for start in sorted(self._bands)]
        rows = np.array([(start + stop) / 2 for start, stop, *_ in bands])
        share = np.array([(low + high) / max(used + low + high, 1) for *_, used, low, high in bands])
        return thinned(rows), thinned(share)

    def plots(self) -> list[Plot]:
        """Return the image, its histogram and the rejected share by band."""
        if not self.factor:
            return []
        image = self.image()
        done = float(np.isfinite(image).mean())
        total = max(self.used + self.low + self.high, 1)
        extent = (self.columns, self.rows)
        rows, share = self.rejected()
        lost = f"Rejected: {self.low / total:.3%} low, {self.high / total:.3%} high"
        return [
            Picture(
                f"Combined image, {done:.0%} of it so far", image, extent=extent, x_label="x", y_label="y"
            ),
            _histogram(image),
            Curve(lost, rows, 100 * share, x_label="row", y_label="rejected [%]", line=False),
        ]


def decoded(preview: Mapping[str, Any]) -> Floats:
    """Return the squares of a preview as an image."""
    shape = [-(-length // preview["factor"]) for length in preview["shape"]]
    pixels = np.frombuffer(base64.b64decode(preview["pixels"]), "<f2").astype(np.float64)
    return np.asarray(pixels.reshape(shape) * preview["scale"] + preview["middle"])


def thinned(values: Floats) -> Floats:
    """Return the means of neighbours, where there are more values than a plot has room for."""
    if len(values) <= MOST_POINTS:
        return values
    starts = np.arange(0, len(values), -(-len(values) // MOST_POINTS))
    return np.asarray(np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values))))


@lru_cache(maxsize=64)
def shares(start: int, length: int, size: int, factor: int) -> Floats:
    """Return how many pixels each interval of the canvas has in common with each square, along one axis.

    Squares of `size` pixels begin at pixel `start`, intervals of `factor` pixels at pixel 0; of shape
    (intervals that are met, squares).
    """
    pixels = np.arange(start, start + length)
    found = np.zeros(((start + length - 1) // factor - start // factor + 1, -(-length // size)))
    np.add.at(found, (pixels // factor - start // factor, (pixels - start) // size), 1.0)
    return found


def _histogram(image: Floats) -> Bars:
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1.0, 61)
    counts, _ = np.histogram(finite, edges)
    return Bars("Histogram of the image", edges, counts.astype(float), x_label="value", y_label="squares")
