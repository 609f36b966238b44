"""Local workers are begun early: Python's fork server imports, on another core, what they will use.

Half of a short run was the time in which each worker imported the same modules, one after the other with the
driver. A fork server imports them once, while the driver reads the recipe; workers are forked from it and
are ready at once, also those that replace a dead one. It is asked for by commands that run a recipe: in a
notebook, workers are started anew (*spawn*), as they then see the environment as it is at that time.

What the recipe says is only guessed here. A wrong guess costs nothing but the time saved.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path

from daskpar.clusters.settings import worker_environment

FIRST = "daskpar.clusters.forked"
ALWAYS = (
    "distributed.nanny", "distributed.worker", "daskpar.block", "daskpar.clusters.plugins",
    "daskpar.clusters.worker_setup",
)  # fmt: skip
USED = "daskpar.analyses.{}.on_workers"  # what tasks of an analysis import; one without it has none
OWN = ("dask.array", "daskpar.analysis", "xarray")  # what the module of a user's analysis imports
HASH_SEED = "6640"  # distributed's own, without which strings would hash differently in each worker

_method = "spawn"


def method() -> str:
    """Return how local workers are started: ``forkserver`` once `prepare` was called, else ``spawn``."""
    return _method


def prepare(recipe: Path, profile: str | Path | None) -> None:
    """Begin to import what local workers will need, if that is what recipe and profile ask for."""
    if _has_processes(profile):
        # The word of a shipped analysis only: nobody has allowed code of the user's yet.
        found = re.search(r"^analysis: *['\"]?(\w+)['\"]?\s*$", _text(recipe), re.MULTILINE)
        begin(found[1] if found else "")


def begin(analysis: str) -> None:
    """Begin to import what local workers will need for a shipped analysis, or for the user's own."""
    global _method
    if _method == "forkserver" or "forkserver" not in multiprocessing.get_all_start_methods():
        return
    if threading.current_thread() is not threading.main_thread():
        return
    modules = [FIRST, *ALWAYS, *([USED.format(analysis)] if analysis.isidentifier() else OWN)]
    multiprocessing.get_context("forkserver").set_forkserver_preload(modules)
    with exported({**worker_environment(), "PYTHONHASHSEED": HASH_SEED}), _ctrl_c_ignored():
        forkserver.ensure_running()
    _method = "forkserver"


def end() -> None:
    """Wait for the end of the fork server, whose workers have ended: only then their time is known here."""
    global _method
    if _method == "forkserver":
        forkserver._forkserver._stop()  # type: ignore[attr-defined]
        _method = "spawn"


def import_used(analysis: str) -> None:
    """Import in this process what tasks of an analysis import: assembling their partials takes some of it."""
    with suppress(ImportError):
        importlib.import_module(USED.format(analysis))


@contextmanager
def exported(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Have a process that is started now ignore Ctrl-C, which the driver answers for all."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _has_processes(profile: str | Path | None) -> bool:
    """Whether a profile seems to start processes on this machine."""
    if profile is None or str(profile) == "local":
        return True
    text = _text(Path(profile))
    return bool(re.search(r"^kind: *local\b", text, re.MULTILINE)) and "processes: false" not in text


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[:100_000]
    except OSError:
        return ""
