"""What a Science panel returns: plots as plain data, which know nothing of how they are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import AnalysisError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Values over an axis, with errors if there are any.

    Attributes
    ----------
    title : str
        Above the plot.
    x, y : array (n,)
        The points.
    error : array (n,), optional
        Half lengths of the error bars.
    target : float, optional
        A level worth reaching, drawn as a line.
    x_label, y_label : str
        With units.
    x_log, y_log : bool
        Logarithmic axes.
    line : bool
        Whether points are joined.
    """

    title: str
    x: Floats
    y: Floats
    error: Floats | None = None
    target: float | None = None
    x_label: str = ""
    y_label: str = ""
    x_log: bool = False
    y_log: bool = False
    line: bool = True


@dataclass(frozen=True)
class Bars:
    """Bars between edges.

    Attributes
    ----------
    title : str
        Above the plot.
    edges : array (n + 1,)
        Of the bins.
    heights : array (n,)
        Of the bars.
    x_label, y_label : str
        With units.
    """

    title: str
    edges: Floats
    heights: Floats
    x_label: str = ""
    y_label: str = ""


@dataclass(frozen=True)
class Picture:
    """An image, NaN where nothing is known yet.

    Attributes
    ----------
    title : str
        Above the plot.
    image : array (rows, columns)
        Row 0 lies at the bottom.
    extent : (float, float), optional
        Right and upper end of the axes; default: the shape.
    x_label, y_label : str
        With units.
    """

    title: str
    image: Floats
    extent: tuple[float, float] | None = None
    x_label: str = ""
    y_label: str = ""


Plot = Curve | Bars | Picture
_KINDS: tuple[tuple[str, type[Any]], ...] = (("image", Picture), ("heights", Bars), ("y", Curve))


def as_plots(found: Any) -> list[Plot]:
    """Return what a panel gave as plots: one or several; dicts with the fields of a plot will do.

    Raises
    ------
    daskpar.errors.AnalysisError
        It is no plot; the message says which field is wrong.
    """
    some = [found] if isinstance(found, Mapping | Curve | Bars | Picture) else found
    if not isinstance(some, Iterable) or isinstance(some, str):
        raise AnalysisError(f"the panel returned a {type(found).__name__}", "return a dict with x and y")
    return [_as_plot(one) for one in some]


def _as_plot(one: Any) -> Plot:
    given = (
        dict(one)
        if isinstance(one, Mapping)
        else {field.name: getattr(one, field.name) for field in fields(one)}
    )
    kind = next((kind for key, kind in _KINDS if key in given), None)
    if kind is None:
        raise AnalysisError("a plot has neither y, heights nor image", "see daskpar.dashboard.plots")
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(given) - known):
        raise AnalysisError(f"a plot has no {unknown[0]!r}", f"it has {', '.join(sorted(known))}")
    arrays = {"x", "y", "error", "edges", "heights", "image"} & set(given)
    given |= {name: np.asarray(given[name], np.float64) for name in arrays if given[name] is not None}
    plot: Plot = kind(**{"title": "", **given})
    _check_shapes(plot)
    return plot


def _check_shapes(plot: Plot) -> None:
    if isinstance(plot, Curve):
        wrong = plot.x.shape != plot.y.shape or (plot.error is not None and plot.error.shape != plot.y.shape)
    elif isinstance(plot, Bars):
        wrong = len(plot.edges) != len(plot.heights) + 1
    else:
        wrong = plot.image.ndim != 2
    if wrong:
        raise AnalysisError(
            f"the arrays of the plot {plot.title!r} do not fit together", "compare their shapes"
        )
