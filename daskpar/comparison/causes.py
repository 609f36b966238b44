"""Why versions take their time: threads or processes, computing or waiting; and what would tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daskpar.comparison.ratios import Interval, ratio_interval, times
from daskpar.comparison.sweep import SETTINGS
from daskpar.comparison.timing import Timing, counted

CPU_BOUND, IO_BOUND = 0.8, 0.5  # share of the time that a serial version computes
HARDLY, WELL = 1.2, 0.75  # speed-up that is none; speed-up of a worker that is good
ENOUGH = 5  # rounds for an interval to say anything


def lock_sentences(timings: Sequence[Timing], cores: int, weak: bool = False) -> list[str]:
    """Say whether threads held each other up: whether the interpreter's lock was held.

    Parameters
    ----------
    timings : sequence of Timing
    cores : int
        Physical ones: no more threads than these are looked at.
    weak : bool
        Whether the problem grew with the workers.
    """
    counts = _counts(timings, "threads", cores)
    alone = times(timings, "serial", 1) or times(timings, "threads", 1)
    if not counts or not alone:
        return []
    n = counts[-1]
    threads, rounds = _faster(alone, times(timings, "threads", n), n if weak else 1)
    found = times(timings, "multiprocessing", n)
    processes, others = _faster(alone, found, n if weak else 1) if found else (Interval(0.0, 0.0, 0.0), 0)
    if threads.value < HARDLY and processes.value > WELL * n:
        seen = f"{n} threads were {_shown(threads)} as fast as one, {n} processes {_shown(processes)}"
        if min(rounds, others) < ENOUGH or threads.high >= processes.low:
            return [f"{seen}: not significant, so the interpreter's lock may have been held or not."]
        return [f"{seen}: the interpreter's lock was held. Use processes (cores: 1 a worker)."]
    if threads.value > WELL * n:
        seen = f"{n} threads were {_shown(threads)} as fast as one"
        if rounds < ENOUGH or threads.low <= HARDLY:
            return [f"{seen}: not significant, so the interpreter's lock may have been in the way or not."]
        return [
            f"{seen}: the interpreter's lock was not in the way. Several cores a worker then share its "
            "memory at no cost."
        ]
    return []


def bound_sentences(timings: Sequence[Timing]) -> list[str]:
    """Say whether the work waits for something else than the processor, where that is certain.

    The processor time is that of a whole process, imports included. Outside of its work a serial version is
    one thread, which computes no longer than it takes: what is left over at least was of the work.
    """
    least, most = [], []
    for one in counted(timings):
        if one.version == "serial" and one.cpu_seconds is not None and one.seconds and one.work:
            beside = one.seconds["total"] - one.work
            least.append((one.cpu_seconds - beside) / one.work)
            most.append(one.cpu_seconds / one.work)
    if least and (low := float(np.median(least))) >= CPU_BOUND:
        return [f"The work is CPU-bound: the serial version computes at least {min(low, 1.0):.0%} of it."]
    if most and (high := float(np.median(most))) <= IO_BOUND:
        return [
            f"The work waits: the serial version computes at most {high:.0%} of it. More threads than cores, "
            "or asyncio, will help; more processors will not."
        ]
    return []


def missing_sentences(described: Mapping[str, Any], cores: int) -> list[str]:
    """Say what to measure, too, for advice that needs it."""
    known = set(described.get("by_hand", ()))
    tried = {one["name"] for one in described["versions"]}
    said = []
    wanted = [name for name in ("threads", "multiprocessing") if name in known]
    if len(wanted) == 2 and cores > 1:
        adds = _adding([name for name in wanted if name not in tried])
        if not any(1 < n <= cores for n in described["workers"]):
            adds.append("2 to --workers")
        if not {"serial", "threads"} & tried or ("serial" not in tried and 1 not in described["workers"]):
            adds.append("serial to --versions")
        if adds:
            said.append(f"Threads or processes? For advice, add {' and '.join(adds)}.")
    if "serial" in known and "serial" not in tried:
        said.append("Does the work wait, or compute? For advice, add serial to --versions.")
    if described["analysis"] in SETTINGS and "dask" in tried and not described.get("sweep"):
        said.append("How large should blocks be? For advice, add --block-sizes with three sizes.")
    return said


def _adding(names: Sequence[str]) -> list[str]:
    return [f"{','.join(names)} to --versions"] if names else []


def _counts(timings: Sequence[Timing], version: str, cores: int) -> list[int]:
    known = {one.workers for one in counted(timings) if one.version == version}
    return sorted(n for n in known if 1 < n <= cores)


def _faster(alone: Mapping[int, float], taken: Mapping[int, float], work: int) -> tuple[Interval, int]:
    """Return how many times as fast as one worker, from the rounds that both were measured in, and these."""
    rounds = sorted(alone.keys() & taken.keys())
    if not rounds:
        return Interval(0.0, 0.0, 0.0), 0
    found = ratio_interval([work * alone[k] for k in rounds], [taken[k] for k in rounds])
    return found, len(rounds)


def _shown(found: Interval) -> str:
    return f"{found.value:.1f} times (95 %: {found.low:.1f} to {found.high:.1f})"
