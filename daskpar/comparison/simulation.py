"""What more workers would do: recorded blocks, replayed on a simulated cluster.

Blocks of a stage go to whoever is free, in their order; the scheduler hands them out one by one, each costing
it some time; a stage begins when the one before has ended; start-up comes first. Everything comes from one
recorded run: how long blocks took, and what the run took beyond them.

The error of a prediction has two parts: which blocks happen to be slow (they are drawn again, with
repetition), and how far replays of what was measured were off. Beyond the measured numbers of workers it is
an extrapolation, and says so: networks, file servers and memory may be slower when more ask of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import UsageError

Floats = NDArray[np.float64]
DRAWS = 100


@dataclass(frozen=True)
class Recording:
    """The blocks of a run.

    Attributes
    ----------
    stages : tuple of float arrays
        Seconds of each block, storing included, stage by stage in the order in which they ran.
    task_seconds : float
        What the scheduler takes for one block.
    startup_seconds : float
        Before the first block and after the last.
    """

    stages: tuple[Floats, ...]
    task_seconds: float = 0.001
    startup_seconds: float = 0.0

    @property
    def blocks(self) -> int:
        """How many there are."""
        return sum(len(stage) for stage in self.stages)

    def makespan(self, workers: int) -> float:
        """Return the seconds from the first block to the last on so many workers."""
        if workers < 1:
            raise UsageError(f"{workers} workers", "give 1 or more", key="--workers")
        return sum(stage_seconds(stage, workers, self.task_seconds) for stage in self.stages)

    def drawn(self, rng: np.random.Generator) -> Recording:
        """Return a recording whose blocks are drawn from these, with repetition."""
        stages = tuple(rng.choice(stage, len(stage)) if len(stage) else stage for stage in self.stages)
        return Recording(stages, self.task_seconds, self.startup_seconds)


@dataclass(frozen=True)
class Prediction:
    """How long a run would take.

    Attributes
    ----------
    workers : int
    seconds, error : float
        And its standard error.
    extrapolated : bool
        Whether so many workers were never measured.
    """

    workers: int
    seconds: float
    error: float
    extrapolated: bool

    def text(self) -> str:
        """Return it in words: ``8 workers: 42 ± 6 min (extrapolated)``."""
        unit, name = (60.0, "min") if self.seconds >= 120 else (1.0, "s")
        value, error = self.seconds / unit, self.error / unit
        digits = 0 if error >= 1 or value >= 100 else 1
        beyond = " (extrapolated)" if self.extrapolated else ""
        plural = "s" * (self.workers > 1)
        return f"{self.workers} worker{plural}: {value:.{digits}f} ± {error:.{digits}f} {name}{beyond}"


def stage_seconds(blocks: Sequence[float] | Floats, workers: int, task_seconds: float) -> float:
    """Return how long a stage takes: an event loop over the workers that become free.

    The scheduler is busy `task_seconds` with each block, and the worker waits for it: blocks never start
    faster than that.
    """
    free = [0.0] * min(workers, max(len(blocks), 1))
    scheduler = 0.0
    for seconds in blocks:
        scheduler = max(heapq.heappop(free), scheduler) + task_seconds
        heapq.heappush(free, scheduler + float(seconds))
    return max(free)


def recorded(
    blocks: Mapping[str, Sequence[Any]],
    measured: Mapping[int, float],
    startup_seconds: float = 0.0,
) -> Recording:
    """Return a recording with the cost of the scheduler that makes replays agree with what was measured.

    Parameters
    ----------
    blocks : mapping
        ``total_seconds`` and ``stage`` of each, as in ``comparison.json``.
    measured : mapping of int to float
        Seconds of the work by number of workers; at least one.
    startup_seconds : float
        Of the run.
    """
    names = list(dict.fromkeys(blocks["stage"]))
    seconds = np.asarray(blocks["total_seconds"], np.float64)
    stages = tuple(seconds[[i for i, stage in enumerate(blocks["stage"]) if stage == name]] for name in names)
    plain = Recording(stages, 0.0, startup_seconds)
    if not measured or not plain.blocks:
        return Recording(stages, 0.001, startup_seconds)
    # What the measured runs took beyond their blocks, for each block: median over the numbers of workers.
    beyond = [(took - plain.makespan(workers)) * workers / plain.blocks for workers, took in measured.items()]
    return Recording(stages, max(0.0, float(np.median(beyond))), startup_seconds)


def relative_error(recording: Recording, measured: Mapping[int, float]) -> float:
    """Return the root mean square of (replayed / measured - 1): how far replays are off."""
    off = [recording.makespan(workers) / took - 1.0 for workers, took in measured.items()]
    return math.sqrt(sum(one * one for one in off) / len(off)) if off else 0.0


def predict(
    recording: Recording, workers: Sequence[int], measured: Mapping[int, float] | None = None, seed: int = 0
) -> list[Prediction]:
    """Predict how long the run would take on other numbers of workers.

    Parameters
    ----------
    recording : Recording
    workers : sequence of int
    measured : mapping of int to float, optional
        What was measured, by number of workers: gives the error of the model.
    seed : int
        Of the drawing of blocks.
    """
    known = measured or {}
    model, rng = relative_error(recording, known), np.random.default_rng(seed)
    drawn = [recording.drawn(rng) for _ in range(DRAWS)]
    found = []
    for n in workers:
        seconds = recording.makespan(n)
        scatter = float(np.std([one.makespan(n) for one in drawn]))
        error = math.hypot(scatter, model * seconds)
        found.append(Prediction(n, seconds + recording.startup_seconds, error, n not in known))
    return found


def worth_it(predictions: Sequence[Prediction]) -> list[str]:
    """Return the predictions in words, each with what it saves over the one before."""
    said = []
    for number, one in enumerate(predictions):
        text = one.text()
        if number:
            saved = predictions[number - 1].seconds - one.seconds
            amount = f"{saved / 60:.0f} min" if saved >= 120 else f"{saved:.1f} s"
            text += f", saves {amount} more" if saved > one.error else ", saves nothing that can be told"
        said.append(text)
    return said
