"""What a task costs: the same work in more and more blocks, and a line through the times.

seconds = work + cost of a task · number of blocks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.analysis import load_analysis
from daskpar.errors import UsageError

if TYPE_CHECKING:
    from daskpar.recipe import Recipe

SETTINGS = {"map": "items_per_block", "monte_carlo": "block_batches"}
"""The option that sets how much is in a block, and changes no result."""

SHARE = 0.02  # of a block that its task may cost


@dataclass(frozen=True)
class TaskCost:
    """Cost of a task, from a sweep over block sizes.

    Attributes
    ----------
    seconds, error : float
        Of one task on one worker, and the standard error.
    work_seconds : float
        What is left without tasks.
    """

    seconds: float
    error: float
    work_seconds: float

    def smallest_block(self, share: float = 0.02) -> float:
        """Return the seconds that a block should take at least, for tasks to cost at most a share of it."""
        return self.seconds / share


def task_cost(blocks: Sequence[int], seconds: Sequence[float]) -> TaskCost | None:
    """Fit the cost of a task; None with fewer than three different numbers of blocks.

    Parameters
    ----------
    blocks : sequence of int
        How many there were in each measurement.
    seconds : sequence of float
        Of the work, times the number of workers.
    """
    n, times = np.asarray(blocks, np.float64), np.asarray(seconds, np.float64)
    if np.unique(n).size < 3:
        return None
    design = np.stack([np.ones(n.size), n], axis=1)
    (work, cost), *_ = np.linalg.lstsq(design, times, rcond=None)
    left = times - design @ np.array([work, cost])
    variance = float(left @ left) / max(n.size - 2, 1)
    error = float(np.sqrt(variance * np.linalg.inv(design.T @ design)[1, 1]))
    return TaskCost(float(cost), error, float(work))


def with_block_size(recipe: Recipe, size: int) -> Recipe:
    """Return a recipe with blocks of another size.

    Raises
    ------
    daskpar.errors.UsageError
        Blocks of this analysis follow from its input alone.
    """
    setting = SETTINGS.get(recipe.analysis)
    if setting is None:
        raise UsageError(
            f"blocks of {recipe.analysis} follow from its input alone",
            f"sweep a recipe of {' or '.join(SETTINGS)}: a task costs the same in every analysis",
            key="--block-sizes",
        )
    data = recipe.data()
    data["options"][setting] = size
    return recipe.from_data(data, load_analysis, folder=recipe.folder)


def sweep_sentences(swept: Mapping[str, Any] | None) -> list[str]:
    """Return what a sweep says.

    Parameters
    ----------
    swept : mapping, optional
        ``workers``; ``measured``: list of {size, blocks, seconds}; ``failed``: list of {size, message}.
    """
    if not swept:
        return []
    failed = [f"{one['message']}; it has no times." for one in swept.get("failed", ())]
    return [*failed, *_cost_sentences(swept)]


def _cost_sentences(swept: Mapping[str, Any]) -> list[str]:
    n = swept["workers"]
    found = task_cost(
        [one["blocks"] for one in swept["measured"]], [n * one["seconds"] for one in swept["measured"]]
    )
    if found is None:
        return ["The cost of a task takes three different numbers of blocks: give other block sizes."]
    if found.seconds <= 2 * found.error:
        most = max(max(found.seconds, 0.0) + 2 * found.error, 1e-4)  # a slope below zero is noise
        return [f"A task of dask costs less than {1e3 * most:.1f} ms of a worker."]
    return [
        f"A task of dask costs {1e3 * found.seconds:.1f} ± {1e3 * found.error:.1f} ms of a worker: blocks of "
        f"{found.smallest_block(SHARE):.2g} s or more keep that below {SHARE:.0%}."
    ]
