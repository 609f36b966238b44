"""How many cores this process may use."""

from __future__ import annotations

import os
from pathlib import Path


def available_cores() -> int:
    """Count the cores that affinity and the container's quota leave to this process; at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _quota(Path("/sys/fs/cgroup/cpu.max")) or cores))


def _quota(limits: Path) -> int | None:
    """Read a cgroup's quota in whole cores: ``max 100000`` is no limit, ``150000 100000`` is 1.5 cores."""
    try:
        quota, period = limits.read_text().split()[:2]
        return int(quota) // int(period) or 1
    except (OSError, ValueError, ZeroDivisionError):
        return None
