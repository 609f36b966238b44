"""The Science panel of a run: what its analysis makes of the receipts so far.

An analysis names a function ``panel(receipts, state)``. It gets the receipts that are new since its last
call, each with ``label`` and ``preview``, and each block once, and a dict to keep what it has made of
earlier ones; it returns plots: dicts with ``x`` and ``y`` (and ``error``, ``target``, ``title``,
``x_label``, …), with ``edges`` and ``heights``, or with an ``image``. At first the dict holds the recipe's
``options`` and what was ``planned``.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daskpar.analysis import Analysis, load_analysis
from daskpar.dashboard.plots import Plot, as_plots
from daskpar.dashboard.watching import Watcher
from daskpar.errors import DaskparError, UsageError
from daskpar.rundir import RunDirectory

Panel = Callable[[Sequence[Mapping[str, Any]], dict[str, Any]], Any]


class Science:
    """What the panel of a run's analysis shows, kept up to date with a watcher.

    Parameters
    ----------
    watcher : Watcher
        The run's. Its receipts are taken by this object alone.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self.plots: list[Plot] = []
        self.message = ""
        self.receipts = 0
        self.version = 0
        self._restarts = watcher.restarts
        self._panel: Panel | None = None
        self._state: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self.receipts, self.plots = 0, []
        try:
            record = self.watcher.run.record
            self._panel = find_panel(self.watcher.run, record)
            self._state = {"options": record["recipe"]["options"], "planned": record.get("planned") or {}}
        except (DaskparError, KeyError) as error:
            self.message = f"there is no panel for this run: {error}"
            return
        if self._panel is None:
            name = record["recipe"]["analysis"]
            self.message = f"{name} names no panel: Analysis(build=..., preview=..., panel=...)"

    def update(self) -> bool:
        """Give the panel what is new; return whether there is something new to show."""
        if self.watcher.restarts != self._restarts:
            self._restarts = self.watcher.restarts
            self._begin()
        receipts = self.watcher.take()
        if self._panel is None or not (receipts or self.version == 0):
            return False
        self.receipts += len(receipts)
        self.version += 1
        try:
            self.plots = as_plots(self._panel(receipts, self._state)) if self.receipts else []
            self.message = "" if self.plots else "nothing to show yet"
        except Exception as error:  # a panel may be anybody's code, and must not end the dashboard
            self.message = f"the panel failed: {type(error).__name__}: {error}"
        return True


def find_panel(run: RunDirectory, record: Mapping[str, Any]) -> Panel | None:
    """Return the panel of a run's analysis; None where it has none.

    The user's own code is imported from the run's copy, and only from runs of this user.

    Raises
    ------
    daskpar.errors.DaskparError
        The analysis cannot be imported, or belongs to another user's run.
    """
    name = str(record["recipe"]["analysis"])
    own = bool(record.get("allow_code"))
    if own and run.path.stat().st_uid != os.getuid():
        raise UsageError("the code of another user's run is not imported here", "open a run of your own")
    with _modules_of(run.code if run.code.is_dir() else None):
        return panel_of(load_analysis(name, allow_code=own))


def panel_of(analysis: Analysis) -> Panel | None:
    """Return the panel that an analysis names, imported where it is given as ``module:function``."""
    if not isinstance(analysis.panel, str):
        return analysis.panel
    module, _, name = analysis.panel.partition(":")
    found: Panel = getattr(importlib.import_module(module), name)
    return found


@contextmanager
def _modules_of(folder: Path | None) -> Iterator[None]:
    """Import from a run's own folder inside the block, and forget these modules: another run has its own."""
    if folder is None:
        yield
        return
    path = str(folder)
    mine = {file.stem for file in folder.glob("*.py")} | {p.name for p in folder.iterdir() if p.is_dir()}
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in mine}
    sys.path.insert(0, path)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(path)
        for name in [name for name in sys.modules if name.partition(".")[0] in mine]:
            del sys.modules[name]
        sys.modules.update(hidden)
