"""The correlation function from the blocks so far, with the error that the rest may still make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.estimates import counts_needed
from daskpar.analyses.pair_counts.settings import make_box
from daskpar.analyses.pair_counts.statistics import estimate, random_pairs_in_box

Floats = NDArray[np.float64]


@dataclass
class Tally:
    """What is known of one count.

    Attributes
    ----------
    blocks, planned : int
        How many have arrived; of how many, 0 where that is not known.
    pairs : int64 array
        By bin, each pair once where the count visits it once.
    weights, squares : float64 array
        Sum over the blocks of what the estimator takes (numbers, or Σ w₁w₂), and of its squares.
    totals : list of (Σw, Σw²)
        Of the one sample, or the two.
    """

    blocks: int = 0
    planned: int = 0
    pairs: Any = 0
    weights: Any = 0.0
    squares: Any = 0.0
    totals: tuple[tuple[float, float], ...] = ()

    def plan(self, preview: Mapping[str, Any]) -> None:
        """Note the receipt of the plan."""
        self.planned = int(preview["blocks"])
        self.totals = tuple((float(one), float(two)) for one, two in preview["totals"])

    def add(self, preview: Mapping[str, Any]) -> None:
        """Note the receipt of a block."""
        weights = np.asarray(preview.get("weight_sum", preview["npairs"]), np.float64)
        self.blocks += 1
        self.pairs = self.pairs + np.asarray(preview["npairs"], np.int64)
        self.weights = self.weights + weights
        self.squares = self.squares + weights * weights

    @property
    def enough(self) -> bool:
        """Whether the whole can be told from what is here."""
        return 0 < self.blocks <= self.planned and (self.blocks > 1 or self.planned == 1)

    def normalised(self, ordered: int) -> Floats:
        """Return pairs over all pairs of the samples, as if the missing blocks were like those here."""
        (first, second), *other = self.totals
        every = first * other[0][0] if other else first * first - second
        return np.asarray(ordered * self.weights * (self.planned / self.blocks) / every)

    def relative_error(self) -> Floats:
        """Return that of Poisson, and that of the missing blocks by the scatter between those here.

        Blocks are taken as a random sample without replacement: the second is zero when all are here.
        """
        some = self.pairs > 0
        mean = np.where(some, self.weights / self.blocks, 1.0)
        scatter = np.where(some, self.squares / self.blocks / mean**2 - 1.0, 0.0)
        missing = np.maximum(scatter, 0.0) / max(self.blocks - 1, 1) * (1.0 - self.blocks / self.planned)
        return np.asarray(np.sqrt(1.0 / np.maximum(self.pairs, 1) + missing))


def share(tallies: Mapping[str, Tally], names: tuple[str, ...]) -> float:
    """Return the share of the blocks of some counts that have arrived."""
    return sum(tallies[name].blocks for name in names) / sum(tallies[name].planned for name in names)


def names_of(options: Mapping[str, Any], planned: Mapping[str, Any], signed: bool) -> tuple[str, ...]:
    """Return the counts that the function of a recipe is made of; none where it asks for bare counts."""
    if options.get("estimator") is None:
        return ()
    return counts_needed(options["estimator"], analytic=not planned.get("randoms"), signed=signed)


def correlation_so_far(
    tallies: Mapping[str, Tally],
    names: tuple[str, ...],
    options: Mapping[str, Any],
    axes: tuple[Floats, Floats | None],
    ordered: Mapping[str, int],
) -> tuple[Floats, Floats] | None:
    """Return ξ by bin of the first axis and its error; None while a count has too few blocks.

    Parameters
    ----------
    tallies : mapping
        By the names of the counts.
    names : tuple of str
        From `names_of`.
    options : mapping
        Of the recipe.
    axes : two arrays
        Edges of the first axis as the receipts have them; of the second, over which counts were summed.
    ordered : mapping
        How many ordered pairs a visited one stands for, by count.
    """
    if not names or not all(name in tallies and tallies[name].enough for name in names):
        return None
    counts = {name: tallies[name].normalised(ordered[name]) for name in names}
    how = str(options["estimator"])
    if names == ("dd",):
        box = make_box(options["boxsize"])
        found = random_pairs_in_box(options["metric"], axes[0], box, axes[1])
        how, known = "natural", {"rr": found if found.ndim == 1 else found.sum(axis=1)}
    else:
        known = {}
    xi = estimate(how, **{**counts, **known})
    # Each count moved by its own error: what that does to ξ, as if the counts were independent.
    moved = [
        estimate(how, **{**counts, name: counts[name] * (1.0 + tallies[name].relative_error()), **known}) - xi
        for name in names
    ]
    return xi, np.sqrt(sum(step * step for step in moved))
