"""From arguments or options to a binning and a box, with the faults in words."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.errors import RecipeError


def make_binning(
    metric: str, edges: ArrayLike, pi_edges: ArrayLike | None, mu_edges: ArrayLike | None, los: str
) -> Binning:
    """Return the binning that arguments or options describe.

    Raises
    ------
    daskpar.errors.RecipeError
        Edges or names that no binning has.
    """
    second = {"rp_pi": pi_edges, "s_mu": mu_edges}.get(metric)
    for name, given, owner in (("pi_edges", pi_edges, "rp_pi"), ("mu_edges", mu_edges, "s_mu")):
        if given is not None and metric != owner:
            raise RecipeError(
                f"{name} belong to the metric {owner}, not {metric}", "leave them out", key=name
            )
        if given is None and metric == owner:
            raise RecipeError(f"the metric {owner} needs {name}", "give them", key=name)
    try:
        first = np.array(edges, np.float64)
        return Binning(metric, first, None if second is None else np.array(second, np.float64), los)
    except (ValueError, TypeError) as error:
        raise RecipeError(str(error), "change the binning", key="edges") from error


def make_box(boxsize: Any) -> tuple[float, float, float]:
    """Return the lengths of the periodic box along x, y, z; 0 where it is not periodic."""
    try:
        sides = np.broadcast_to(np.array(0.0 if boxsize is None else boxsize, np.float64), (3,))
    except (ValueError, TypeError) as error:
        raise RecipeError("the size of a box is one number or three", key="boxsize") from error
    if not np.all(np.isfinite(sides)) or np.any(sides < 0):
        raise RecipeError("the size of a box is finite and positive", "0 means not periodic", key="boxsize")
    return float(sides[0]), float(sides[1]), float(sides[2])


def check_box(binning: Binning, box: tuple[float, float, float]) -> None:
    """Refuse a box that does not go with a binning."""
    # Compiled code comes with it, which recipes without a box need not wait for.
    from daskpar.analyses.pair_counts.kernel.survey import lay_out

    if not any(box):
        return
    try:
        lay_out(np.zeros((1, 3)), None, binning, box)
    except ValueError as error:
        raise RecipeError(str(error), "change the box or the binning", key="boxsize") from error
