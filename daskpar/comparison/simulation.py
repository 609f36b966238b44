"""What more workers would do: recorded blocks, replayed on a simulated cluster.

Blocks of a stage go to whoever is free, in their order, with the pause between two blocks that was recorded;
the scheduler cannot hand them out faster than it can; a stage begins when the one before has ended. What the
run took beyond that, to build graphs and to merge, it takes on any number of workers. Start-up comes first,
and is that of the recorded run.

The error of a prediction has three parts: which blocks happen to be slow (they are drawn again, with
repetition); how far a replay is off for a number of workers that it was not fitted to, known only where two
or more were measured; and the scheduler, which few workers do not show: its cost is that of another machine,
and may be twice as much, as it is while many workers get their first blocks. Beyond what was measured a
prediction is an extrapolation, and says so: networks, file servers and memory may be slower when more ask of
them.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import UsageError

Floats = NDArray[np.float64]
DRAWS = 100
#: A block of the scheduler's time, whoever computes it: `bench_overhead.py`, 50 000 empty blocks.
SCHEDULER_SECONDS = 0.003
SCHEDULER_FACTOR = 2.0  # how uncertain that is
PAUSE_SECONDS = 0.001  # where none was recorded
NOTABLE_RATE = 10e6  # bytes a second; any disk takes less than that


@dataclass(frozen=True)
class Recording:
    """The blocks of a run.

    Attributes
    ----------
    stages : tuple of float arrays
        Seconds that each block held its worker, stage by stage in the order in which they ran.
    pause_seconds : float
        From the end of a worker's block to the begin of its next.
    serial_seconds : float
        What the work takes beyond its blocks, on any number of workers.
    startup_seconds : float
        Before the work, and after it.
    stored_bytes : int
        By all blocks.
    """

    stages: tuple[Floats, ...]
    pause_seconds: float = PAUSE_SECONDS
    serial_seconds: float = 0.0
    startup_seconds: float = 0.0
    stored_bytes: int = 0

    @property
    def blocks(self) -> int:
        """How many there are."""
        return sum(len(stage) for stage in self.stages)

    def makespan(self, workers: int, scheduler: float = SCHEDULER_SECONDS) -> float:
        """Return the seconds of the work on so many workers, whose scheduler takes so long for a block."""
        if workers < 1:
            raise UsageError(f"{workers} workers", "give 1 or more", key="--workers")
        spans = [stage_seconds(stage, workers, self.pause_seconds, scheduler) for stage in self.stages]
        return self.serial_seconds + sum(spans)

    def drawn(self, rng: np.random.Generator) -> Recording:
        """Return a recording whose blocks are drawn from these, with repetition."""
        stages = tuple(rng.choice(stage, len(stage)) if len(stage) else stage for stage in self.stages)
        return replace(self, stages=stages)

    def fitted(self, measured: Mapping[int, float]) -> Recording:
        """Return the recording with what work took beyond its blocks: the median over numbers of workers."""
        plain = replace(self, serial_seconds=0.0)
        beyond = [took - plain.makespan(workers) for workers, took in measured.items()]
        return replace(self, serial_seconds=max(0.0, float(np.median(beyond))) if beyond else 0.0)


@dataclass(frozen=True)
class Prediction:
    """How long a run would take.

    Attributes
    ----------
    workers : int
    seconds : float
    error : float or None
        Its standard error; None where only one number of workers was measured.
    extrapolated : bool
        Whether so many workers were never measured.
    stored_rate : float
        Bytes that all workers store in a second.
    """

    workers: int
    seconds: float
    error: float | None
    extrapolated: bool
    stored_rate: float = 0.0

    def text(self) -> str:
        """Return it in words: ``8 workers: 42 ± 6 min (extrapolated)``."""
        unit, name = (60.0, "min") if self.seconds >= 120 else (1.0, "s")
        value, error = self.seconds / unit, (self.error or 0.0) / unit
        digits = 0 if error >= 1 or value >= 100 else 1
        within = f" ± {error:.{digits}f}" if self.error is not None else ""
        beyond = ["extrapolated"] if self.extrapolated else []
        beyond += ["error unknown"] if self.error is None else []
        plural = "s" * (self.workers > 1)
        notes = f" ({', '.join(beyond)})" if beyond else ""
        return f"{self.workers} worker{plural}: {value:.{digits}f}{within} {name}{notes}"


def stage_seconds(
    blocks: Sequence[float] | Floats, workers: int, pause: float, scheduler: float = SCHEDULER_SECONDS
) -> float:
    """Return how long a stage takes: an event loop over the workers that become free.

    A worker pauses before each block, and the scheduler hands out one block after the other, each of which
    takes it `scheduler` seconds.
    """
    free = [0.0] * min(workers, max(len(blocks), 1))
    for number, seconds in enumerate(blocks):
        begin = max(heapq.heappop(free) + pause, number * scheduler)
        heapq.heappush(free, begin + float(seconds))
    return max(free)


def recorded(blocks: Mapping[str, Sequence[Any]], startup_seconds: float = 0.0) -> Recording:
    """Return a recording, not yet fitted to what was measured.

    Parameters
    ----------
    blocks : mapping
        ``total_seconds``, ``stage``, ``started``, ``lane`` and ``bytes`` of each, as in ``comparison.json``.
    startup_seconds : float
        Of the run.
    """
    names = list(dict.fromkeys(blocks["stage"]))
    seconds = np.asarray(blocks["total_seconds"], np.float64)
    stages = tuple(seconds[[i for i, stage in enumerate(blocks["stage"]) if stage == name]] for name in names)
    return Recording(stages, _pause(blocks), 0.0, startup_seconds, int(sum(blocks["bytes"])))


def _pause(blocks: Mapping[str, Sequence[Any]]) -> float:
    """Return the median pause of a lane between two blocks of a stage."""
    columns = (blocks[name] for name in ("stage", "lane", "started", "total_seconds"))
    inside = sorted(zip(*columns, strict=True))
    pauses = [
        max(0.0, later[2] - (earlier[2] + earlier[3]))
        for earlier, later in itertools.pairwise(inside)
        if earlier[:2] == later[:2]
    ]
    return float(np.median(pauses)) if pauses else PAUSE_SECONDS


def relative_error(recording: Recording, measured: Mapping[int, float]) -> float | None:
    """Return how far replays are off: root mean square of (replayed / measured - 1).

    Each number of workers is left out in turn, and replayed with what the others tell. None for one alone.
    """
    if len(measured) < 2:
        return None
    off = []
    for workers, took in measured.items():
        others = {n: seconds for n, seconds in measured.items() if n != workers}
        off.append(recording.fitted(others).makespan(workers) / took - 1.0)
    return math.sqrt(sum(one * one for one in off) / len(off))


def predict(
    recording: Recording, workers: Sequence[int], measured: Mapping[int, float], seed: int = 0
) -> list[Prediction]:
    """Predict how long the run would take on other numbers of workers.

    Parameters
    ----------
    recording : Recording
    workers : sequence of int
    measured : mapping of int to float
        Seconds that the work took, by number of workers: fits the model, and gives its error.
    seed : int
        Of the drawing of blocks.
    """
    model, fitted = relative_error(recording, measured), recording.fitted(measured)
    rng = np.random.default_rng(seed)
    drawn = [fitted.drawn(rng) for _ in range(DRAWS)]
    found = []
    for n in workers:
        seconds = fitted.makespan(n)
        scatter = float(np.std([one.makespan(n) for one in drawn]))
        slower = fitted.makespan(n, SCHEDULER_FACTOR * SCHEDULER_SECONDS) - seconds
        error = None if model is None else math.hypot(scatter, model * seconds, slower)
        rate = recording.stored_bytes / max(seconds, 1e-9)
        found.append(Prediction(n, seconds + recording.startup_seconds, error, n not in measured, rate))
    return found


def worth_it(predictions: Sequence[Prediction]) -> list[str]:
    """Return the predictions in words, each with what it saves over the one before."""
    said = []
    for number, one in enumerate(predictions):
        text = one.text()
        if number:
            saved = predictions[number - 1].seconds - one.seconds
            amount = f"{saved / 60:.0f} min" if saved >= 120 else f"{saved:.1f} s"
            least = one.error or 0.0
            text += f", saves {amount} more" if saved > least else ", saves nothing that can be told"
        if one.extrapolated and one.stored_rate > NOTABLE_RATE:
            text += f"; its blocks store {one.stored_rate / 1e6:.0f} MB/s"
        said.append(text)
    return said
