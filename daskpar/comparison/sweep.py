"""What a task costs: the same work in more and more blocks, and a line through the times.

seconds = work + cost of a task · number of blocks
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
