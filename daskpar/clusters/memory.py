"""How much memory a worker gets, also where the profile leaves it to distributed."""

from __future__ import annotations

import logging
import math

from daskpar.clusters.worker_jobs import on_one_host, worker_memory
from daskpar.profile import LocalProfile, MpiProfile, Profile, SlurmProfile


def memory_limit(profile: Profile) -> int | None:
    """Return the bytes that each worker may use; None where only the machines it starts on can tell."""
    if isinstance(profile, LocalProfile):
        return profile.memory if isinstance(profile.memory, int) else _share(profile.cores)
    if not isinstance(profile, SlurmProfile | MpiProfile):
        return None
    if told := worker_memory(profile):
        return told
    return _share(profile.cores) if isinstance(profile, MpiProfile) and on_one_host(profile) else None


def memory_key(profile: Profile) -> str:
    """Return the key of the profile that gives workers more memory."""
    return "memory_per_cpu" if getattr(profile, "memory_per_cpu", None) else "memory"


def in_megabytes(size: float) -> str:
    """Return bytes as messages show them and profiles read them, rounded up."""
    return f"{math.ceil(size / 1e6)} MB"


def _share(cores: int) -> int | None:
    """Return what ``auto`` means for a worker on this machine, by the function that workers use."""
    from distributed.worker_memory import parse_memory_limit

    limit: int | None = parse_memory_limit("auto", cores, logger=logging.getLogger(__name__))
    return limit
