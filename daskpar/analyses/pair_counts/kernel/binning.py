"""What to bin pairs by: edges, thresholds and how far apart the members of a pair can be.

Every decision compares one float64 number of a pair with one threshold, in bins ``[lo, hi)``:

==========  ================================================  ================
metric      first axis                                        second axis
==========  ================================================  ================
``r``       s² = (dx² + dy²) + dz²  with edge²
``theta``   chord² = (dx² + dy²) + dz²  with (2 sin(edge/2))²
``rp_pi``   rp² with edge²                                    π with the edge
``s_mu``    s² with edge²                                     µ with the edge
==========  ================================================  ================

with d the second position minus the first and, in a periodic box of length L, d - L where d > L/2, d + L
where d < -L/2. Along an axis as the line of sight, rp² is the sum of the squares of the two other components
in the order x, y, z; π is the third, and µ = π / √s². For the midpoint, l is the sum of both positions, c =
(dx lx + dy ly) + dz lz, L = (lx² + ly²) + lz², π = c / √L, rp² = max(s² - c² / L, 0) and µ = c / √(L s²). π
and µ are absolute, or signed (positive where the second point is farther away) where their edges start below
zero. µ of a pair at zero separation is undefined: it is in no bin, and neither is µ = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.kernel.rounded import sine

Floats = NDArray[np.float64]

METRICS = ("r", "theta", "rp_pi", "s_mu")
LINES_OF_SIGHT = ("x", "y", "z", "midpoint")

# What the compiled loops are told: one number a form of decision.
RADIAL, RP_PI_AXIS, S_MU_AXIS, RP_PI_MIDPOINT, S_MU_MIDPOINT = range(5)


class Rule(NamedTuple):
    """A binning as the compiled loops see it: numbers only."""

    form: int
    signed: bool
    swapped: bool
    first_top: float
    second_top: float
    two_axes: bool
    angles: bool
    extra: bool
    weighted: bool
    separations: bool


@dataclass(frozen=True)
class Binning:
    """Metric and edges of a pair count.

    Parameters
    ----------
    metric : {"r", "theta", "rp_pi", "s_mu"}
    edges : float64 array, shape (n + 1,)
        Finite, strictly increasing, ≥ 0. In the unit of the positions; degrees, at most 180, for ``theta``.
    second_edges : float64 array, shape (m + 1,), optional
        Edges of π or µ. Strictly increasing; signed where they start below zero. |µ| ≤ 1.
    line_of_sight : {"x", "y", "z", "midpoint"}
        Ignored by ``r`` and ``theta``.

    Raises
    ------
    ValueError
        Edges or names that are not as above.
    """

    metric: str
    edges: Floats
    second_edges: Floats | None = None
    line_of_sight: str = "z"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"metric {self.metric!r} is none of {', '.join(METRICS)}")
        if self.line_of_sight not in LINES_OF_SIGHT:
            raise ValueError(f"line of sight {self.line_of_sight!r} is none of {', '.join(LINES_OF_SIGHT)}")
        if (self.second_edges is None) == self.two_axes:
            raise ValueError(f"{self.metric} needs {'two axes' if self.two_axes else 'one axis'} of edges")
        _check_edges("edges", self.edges, 0.0, 180.0 if self.metric == "theta" else np.inf)
        if self.second_edges is not None:
            limit = 1.0 if self.metric == "s_mu" else np.inf
            _check_edges("second edges", self.second_edges, -limit, limit)

    @property
    def two_axes(self) -> bool:
        """Whether pairs are binned in two quantities."""
        return self.metric in ("rp_pi", "s_mu")

    @property
    def midpoint(self) -> bool:
        """Whether the line of sight differs from pair to pair."""
        return self.two_axes and self.line_of_sight == "midpoint"

    @property
    def signed(self) -> bool:
        """Whether the order of a pair matters."""
        return self.second_edges is not None and bool(self.second_edges[0] < 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of bins."""
        if self.second_edges is None:
            return (self.edges.size - 1,)
        return (self.edges.size - 1, self.second_edges.size - 1)

    @property
    def axes(self) -> tuple[int, int, int]:
        """Which components lie along the grid's x, y and z; the line of sight is the grid's z."""
        if not self.two_axes:
            return (0, 1, 2)
        return {"x": (1, 2, 0), "y": (0, 2, 1), "z": (0, 1, 2), "midpoint": (0, 1, 2)}[self.line_of_sight]

    @property
    def first_thresholds(self) -> Floats:
        """What squared separations are compared with, shape (n + 1,)."""
        edges = np.asarray(self.edges, dtype=np.float64)
        if self.metric == "theta":
            chord = 2.0 * sine(np.radians(edges) / 2.0)
            return chord * chord
        return edges * edges

    @property
    def second_thresholds(self) -> Floats:
        """What π or µ is compared with, shape (m + 1,); a single infinity without a second axis."""
        if self.second_edges is None:
            return np.array([np.inf])
        return np.asarray(self.second_edges, dtype=np.float64)

    @property
    def reach(self) -> tuple[float, float, float]:
        """Largest separation: in the plane of the grid's x and y, along its z, and in all three together."""
        top = float(np.sqrt(self.first_thresholds[-1]))
        if self.metric != "rp_pi" or self.second_edges is None:
            return top, top, top
        along = float(np.abs(self.second_edges).max())
        whole = float(np.hypot(top, along))
        return (whole, whole, whole) if self.midpoint else (top, along, np.inf)

    def rule(self, *, weighted: bool = False, separations: bool = False, patches: bool = False) -> Rule:
        """Give the compiled loops the same, with what else is asked of them."""
        form = RADIAL
        if self.metric == "rp_pi":
            form = RP_PI_MIDPOINT if self.midpoint else RP_PI_AXIS
        elif self.metric == "s_mu":
            form = S_MU_MIDPOINT if self.midpoint else S_MU_AXIS
        return Rule(
            form=form,
            signed=self.signed,
            swapped=self.axes != (0, 1, 2),
            # A pair of the midpoint is known only later to be within rp: until then, whether it is within
            # reach.
            first_top=self.reach[2] ** 2 * (1 + 1e-9)
            if form == RP_PI_MIDPOINT
            else float(self.first_thresholds[-1]),
            # A signed bin contains its lower edge.
            second_top=float(np.nextafter(np.abs(self.second_thresholds).max(), np.inf)),
            two_axes=self.two_axes,
            angles=self.metric == "theta",
            extra=weighted or patches,
            weighted=weighted,
            separations=separations,
        )


def _check_edges(name: str, edges: Floats, low: float, high: float) -> None:
    edges = np.asarray(edges)
    if edges.ndim != 1 or edges.size < 2:
        raise ValueError(f"{name}: at least two are needed, in one dimension")
    if not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise ValueError(f"{name} must be finite and strictly increasing")
    if edges[0] < low or edges[-1] > high:
        raise ValueError(f"{name} must lie between {low} and {high}")
