"""Speed-up, efficiency, the serial share by Karp and Flatt, and how many workers are worth it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from daskpar.comparison.laws import Fit, fits
from daskpar.comparison.ratios import median_interval, times
from daskpar.comparison.timing import Timing, counted
from daskpar.settings.cores import available_cores

SHARE = 0.7  # of a worker that is worth having
MOST = 4096  # workers that advice looks at


@dataclass(frozen=True)
class Point:
    """What one version reaches with one number of workers.

    Attributes
    ----------
    version : str
    workers : int
    seconds, low, high : float
        Median of the work and its 95 % interval.
    speedup : float or None
        Over the best serial time; see `best_serial`.
    efficiency : float or None
        Speed-up of a core that is occupied, whether it computes or not.
    karp_flatt : float or None
        Serial share that explains the speed-up (Karp & Flatt 1990).
    cores_occupied : int
    oversubscribed : bool
        More cores occupied than there are physical ones: not part of fits and advice.
    """

    version: str
    workers: int
    seconds: float
    low: float
    high: float
    speedup: float | None
    efficiency: float | None
    karp_flatt: float | None
    cores_occupied: int
    oversubscribed: bool

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Serial:
    """The best serial time: what speed-ups are over.

    Attributes
    ----------
    version : str
        Which took it, on one worker.
    seconds : float
        Median of the work.
    """

    version: str
    seconds: float

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def best_serial(timings: Sequence[Timing]) -> Serial | None:
    """Return the smallest median on one worker of all versions; None where none ran on one."""
    good = counted(timings)
    names = {one.version for one in good if one.workers == 1}
    found = [Serial(name, float(np.median(list(times(good, name, 1).values())))) for name in sorted(names)]
    return min(found, key=lambda one: one.seconds, default=None)


def physical_cores() -> int:
    """Count the physical cores that this process may use: two threads of one core are one."""
    seen = set()
    for cpu in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ():
        folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        try:
            seen.add((folder / "physical_package_id").read_text() + (folder / "core_id").read_text())
        except OSError:
            seen.add(str(cpu))
    return max(1, min(available_cores(), len(seen) or available_cores()))


def points(timings: Sequence[Timing], *, weak: bool, cores: int) -> list[Point]:
    """Return what each version reaches with each number of workers.

    Parameters
    ----------
    timings : sequence of Timing
    weak : bool
        Whether the problem grew with the workers.
    cores : int
        Physical ones.
    """
    good = counted(timings)
    base = best_serial(good)
    found = []
    for version, n, occupied in sorted({(one.version, one.workers, one.cores_occupied) for one in good}):
        middle = median_interval(list(times(good, version, n).values()))
        speedup = base.seconds / middle.value * (n if weak else 1) if base else None
        found.append(
            Point(
                version, n, middle.value, middle.low, middle.high, speedup,
                speedup / occupied if speedup is not None else None, karp_flatt(speedup, n), occupied,
                occupied > cores,
            )
        )  # fmt: skip
    return found


def karp_flatt(speedup: float | None, workers: int) -> float | None:
    """Return the serial share that a speed-up means; None for one worker."""
    if speedup is None or workers < 2:
        return None
    return (1.0 / speedup - 1.0 / workers) / (1.0 - 1.0 / workers)


def version_fits(timings: Sequence[Timing], version: str, *, weak: bool, cores: int) -> list[Fit]:
    """Fit the laws to a version, without points that occupy more cores than there are physical ones."""
    good = [one for one in counted(timings) if one.version == version and one.cores_occupied <= cores]
    return fits([one.workers for one in good], [one.work for one in good], weak=weak)


@dataclass(frozen=True)
class Advice:
    """How many workers are worth having: the count where efficiency falls below a share, with an interval.

    Attributes
    ----------
    version : str
    workers, low, high : int
        And the 95 % interval, 0 for none by the law; all equal where no law was fitted.
    share : float
        The efficiency asked for.
    text : str
        The advice in a sentence.
    """

    version: str
    workers: int
    low: int
    high: int
    share: float
    text: str

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def advice(reached: Sequence[Point], fitted: Sequence[Fit], share: float = SHARE) -> Advice | None:
    """Say how many workers are worth having; None where nothing is known.

    Parameters
    ----------
    reached : sequence of Point
        Of one version.
    fitted : sequence of Fit
        Of the same version.
    share : float
        Efficiency, as `Point` has it, below which a worker is not worth having.
    """
    usable = [point for point in reached if not point.oversubscribed and point.efficiency is not None]
    most = max((point.workers for point in usable), default=1)
    if most == 1:
        return None
    name = usable[0].version
    law = next((one for one in fitted if one.chosen), None)
    if law is None:
        good = [point.workers for point in usable if (point.efficiency or 0.0) >= share]
        best = max(good, default=1)
        known = "; that was the largest count measured" if best == most else ""
        text = f"{name}: up to {best} worker{'s' * (best > 1)} at an efficiency of {share:.0%} or more{known}"
        if not good:
            text = f"{name}: no number of workers that was measured has an efficiency of {share:.0%}"
        return Advice(name, best, best, best, share, text)
    one = usable[0]
    base = one.seconds * (one.speedup or 0.0) / (one.workers if law.weak else 1)
    idle = one.cores_occupied - one.workers
    best = last_worthwhile(law, share, base, idle)
    drawn = sorted(
        last_worthwhile(Fit(**{**vars(law), "parameters": drawn}), share, base, idle) for drawn in law.draws()
    )
    low, high = drawn[int(0.025 * len(drawn))], drawn[int(0.975 * len(drawn))]
    shown = f"up to {best}" if best < MOST else f"more than {MOST}"
    beyond = f"; beyond {most}, extrapolated by the law {law.law!r}" if max(best, high) > most else ""
    text = f"{name}: {shown} workers (95 %: {low} to {high}) at an efficiency of {share:.0%} or more{beyond}"
    if not best:
        text = f"{name}: no number of workers has an efficiency of {share:.0%} (95 %: up to {high}){beyond}"
    return Advice(name, best, low, high, share, text)


def last_worthwhile(law: Fit, share: float, base: float | None = None, idle: int = 0) -> int:
    """Return the largest number of workers whose efficiency is at least a share; 0 where there is none.

    Parameters
    ----------
    law : Fit
    share : float
    base : float, optional
        Seconds that speed-ups are over; by default those of the law on one worker.
    idle : int
        Cores occupied that do not compute.
    """
    n = np.arange(1, MOST + 1, dtype=np.float64)
    over = 1.0 if base is None else base / law.parameters["seconds"]
    good = np.flatnonzero(over * law.speedup(n) / (n + idle) >= share)
    return int(good[-1]) + 1 if good.size else 0
