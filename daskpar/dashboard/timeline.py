"""Which worker computed which block when, kept so that 50 000 blocks of 500 workers stay cheap to show."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_BARS = 2000  # blocks drawn one by one; more are shown as the busy share of each worker
MOST_LANES = 64
RECENT = 300  # blocks over which a rate is measured


class Timeline:
    """Blocks by time and by the thread that computed them, fed one receipt at a time."""

    def __init__(self) -> None:
        self._began, self._ended = array("d"), array("d")
        self._thread = array("l")
        self._bytes, self._attempt = 0, 0
        self._threads: dict[tuple[str, int, int], int] = {}
        self._memory: dict[tuple[str, int], int] = {}
        self._labels: list[str] = []
        self._memory_times, self._memory_totals = array("d"), array("d")

    def __len__(self) -> int:
        return len(self._began)

    def add(self, receipt: Mapping[str, Any]) -> None:
        """Note one block."""
        began = float(receipt.get("started", 0.0))
        ended = began + float(receipt.get("total_seconds", receipt.get("seconds", 0.0)))
        worker = (str(receipt.get("host", "?")), int(receipt.get("pid", 0)))
        thread = (*worker, int(receipt.get("thread", 0)))
        self._began.append(began)
        self._ended.append(ended)
        self._thread.append(self._threads.setdefault(thread, len(self._threads)))
        self._bytes += int(receipt.get("bytes", 0))
        if len(self._labels) <= MOST_BARS:
            self._labels.append(str(receipt.get("label", "")))
        if receipt.get("memory_bytes"):
            self._memory[worker] = int(receipt["memory_bytes"])
            if not self._memory_times or ended > self._memory_times[-1] + 1.0:
                self._memory_times.append(ended)
                self._memory_totals.append(sum(self._memory.values()))

    @property
    def span(self) -> tuple[float, float]:
        """First start and last end, seconds since 1970."""
        return (min(self._began), max(self._ended)) if self._began else (0.0, 0.0)

    @property
    def stored_bytes(self) -> int:
        """What all blocks took on disk."""
        return self._bytes

    @property
    def workers(self) -> int:
        """How many processes have computed a block."""
        return len({thread[:2] for thread in self._threads})

    @property
    def core_seconds(self) -> float:
        """Time that all blocks took together."""
        return float(np.sum(np.asarray(self._ended) - np.asarray(self._began)))

    def begin_attempt(self) -> None:
        """Note that a driver has its workers from here on: a rate never reaches back over a pause."""
        self._attempt = len(self)

    def rate(self, at: float) -> float:
        """Return blocks a second at the time `at`, over the last `RECENT` blocks of this attempt."""
        first = max(self._attempt, len(self) - RECENT)
        if first >= len(self):
            return 0.0
        since = self._ended[first - 1] if first > self._attempt else self._began[first]
        return (len(self) - first) / max(at - since, 0.1)

    def throughput(self, bins: int = 80) -> tuple[Floats, Floats]:
        """Return edges (seconds from the first start) and blocks a second between them."""
        start, end = self.span
        edges = np.linspace(0.0, max(end - start, 1.0), bins + 1)
        counts, _ = np.histogram(np.asarray(self._ended) - start, edges)
        return edges, counts / np.diff(edges)

    def memory(self) -> tuple[Floats, Floats]:
        """Return seconds from the first start, and the bytes that all workers held together then."""
        times = np.asarray(self._memory_times) - self.span[0]
        return times, np.asarray(self._memory_totals, np.float64)

    def lanes(self) -> list[str]:
        """Return the names of the lanes: threads, or processes where there are too many threads."""
        return list(self._lanes()[0])

    def bars(self) -> dict[str, Any] | None:
        """Return the blocks one by one: lane, left, right (seconds), label; None where they are too many."""
        if len(self) > MOST_BARS or len(self._threads) > MOST_LANES:
            return None
        names, lane_of = self._lanes()
        start = self.span[0]
        return {
            "lane": [names[lane_of[thread]] for thread in self._thread],
            "left": np.asarray(self._began) - start,
            "right": np.asarray(self._ended) - start,
            "label": list(self._labels),
        }

    def busy(self, bins: int = 240) -> Floats:
        """Return the share of the time that each lane was busy, of shape (lanes, bins)."""
        names, lane_of = self._lanes()
        start, end = self.span
        width = max(end - start, 1e-9) / bins
        share = np.zeros((len(names), bins))
        if not len(self):
            return share
        lane = lane_of[np.asarray(self._thread)]
        left, right = (np.asarray(times) - start for times in (self._began, self._ended))
        first = np.clip((left / width).astype(int), 0, bins - 1)
        last = np.clip((right / width).astype(int), 0, bins - 1)
        for step in range(int((last - first).max()) + 1):
            here = np.flatnonzero(first + step <= last)
            at = first[here] + step
            overlap = np.minimum(right[here], (at + 1) * width) - np.maximum(left[here], at * width)
            np.add.at(share, (lane[here], at), np.maximum(overlap, 0.0) / width)
        threads = np.bincount(lane_of, minlength=len(names))
        return share / np.maximum(threads, 1)[:, None]

    def _lanes(self) -> tuple[list[str], NDArray[np.int64]]:
        """Return lane names, and for each thread the number of its lane."""
        by_process = len(self._threads) > MOST_LANES
        ordered = sorted(self._threads, key=lambda thread: (thread[0], self._threads[thread]))
        names: dict[str, int] = {}
        lane_of = np.zeros(len(self._threads), np.int64)
        count: dict[tuple[str, int], int] = {}
        for thread in ordered:
            number = count[thread[:2]] = count.get(thread[:2], 0) + 1
            name = f"{thread[0]}:{thread[1]}"
            if not by_process and number > 1:
                name += f" ({number})"
            lane_of[self._threads[thread]] = names.setdefault(name, len(names))
        return list(names), lane_of
