"""What a run is: trial, samples, when it stops, and its blocks; for every version alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from daskpar.analyses.monte_carlo.batches import Sampling
from daskpar.analyses.monte_carlo.dataset import Finish
from daskpar.analyses.monte_carlo.kernel.blocks import MOST_SECONDS, Run, blocks
from daskpar.analyses.monte_carlo.kernel.stopping import precise_enough
from daskpar.errors import RecipeError

MOST_BLOCKS = 500_000
UNKNOWN_SECONDS_PER_SAMPLE = 2e-8  # of a user's trial: about a numpy expression with one random number


@dataclass(frozen=True)
class Plan:
    """Everything about a run that decides its numbers, and when it stops.

    Attributes
    ----------
    sampling : Sampling
        Trial, seed, batch size and the most samples.
    how : Finish
        What is made of them.
    target_error : float, optional
        Stop at the first round whose standard errors are at most this.
    relative : bool
        Whether the target is relative to the mean.
    max_time : float, optional
        Seconds after which the next round is the last.
    block_batches : int, optional
        Batches a block, a power of two; it changes no result. By default it follows from the predicted time.
    seconds_per_sample : float
        Predicted time, stated and not measured.
    earlier : tuple of int
        Numbers of samples at which the run ended before it was extended: blocks end there, too, so that
        those that are stored are found again. It changes no result.
    """

    sampling: Sampling
    how: Finish
    target_error: float | None = None
    relative: bool = False
    max_time: float | None = None
    block_batches: int | None = None
    seconds_per_sample: float = UNKNOWN_SECONDS_PER_SAMPLE
    earlier: tuple[int, ...] = ()

    @property
    def in_rounds(self) -> bool:
        """Whether results are looked at before all samples are drawn."""
        return self.target_error is not None or self.max_time is not None

    def until(self, batches: int) -> Plan:
        """Return the plan of a shorter run."""
        most = min(self.sampling.n_samples, batches * self.sampling.batch_size)
        return replace(self, sampling=replace(self.sampling, n_samples=most))

    def blocks(self) -> list[Run]:
        """Return the blocks in order.

        Raises
        ------
        RecipeError
            There would be more than 500 000.
        """
        sampling = self.sampling
        seconds = sampling.batch_size * self.seconds_per_sample
        if self.block_batches is not None:
            if sampling.n_batches > MOST_BLOCKS * self.block_batches:
                raise RecipeError(
                    f"{sampling.n_batches} batches in blocks of {self.block_batches} make too many blocks",
                    "raise it, or leave it out", key="options.block_batches",
                )  # fmt: skip
            seconds = MOST_SECONDS / self.block_batches
        ends = [n // sampling.batch_size for n in (*self.earlier, sampling.n_samples)]
        return blocks(sampling.n_batches, seconds, ends)


def reached(plan: Plan, found: Any) -> bool:
    """Whether a result is as precise as the plan wants it; `found` holds the variables by name."""

    def get(name: str) -> Any:
        return np.atleast_1d(np.asarray(found[name], np.float64))

    if "estimate" in found:
        value, error = get("estimate"), get("estimate_standard_error")
        unsure = get("variance_error")[:1]
    else:
        value, error, unsure = get("mean"), get("standard_error"), get("variance_error")
    if plan.how.test:
        value, error, unsure = value[1:], error[1:], unsure[1:]
    target = plan.target_error or 0.0
    return precise_enough(value, error, unsure, target, plan.relative, plan.how.independent)
