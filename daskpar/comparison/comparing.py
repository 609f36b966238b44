"""`compare`: every version in turn, round after round, results before times."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from daskpar.atomic import write_text
from daskpar.comparison import timing
from daskpar.comparison.agreement import Agreement, compare_results
from daskpar.comparison.launch import Launcher, Measured, Version, termination_raises
from daskpar.comparison.ratios import median_interval, times
from daskpar.comparison.result import Comparison
from daskpar.comparison.summary import summarised
from daskpar.comparison.timing import Timing
from daskpar.comparison.versions import chosen_versions, lines_of_code
from daskpar.comparison.weak import grown
from daskpar.comparison.with_dask import Setup
from daskpar.errors import ClusterError, UsageError
from daskpar.loading import load_recipe
from daskpar.preparation import Prepared, prepare_nothing
from daskpar.rundir import now, runs_folder
from daskpar.user_modules import put_first

if TYPE_CHECKING:
    from daskpar.profile import Profile
    from daskpar.recipe import Recipe

NARROW = 0.1  # relative width of the interval of a median below which more rounds are not worth their time
Cell = tuple[Version, int]


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    versions: Sequence[str] = ("dask", "multiprocessing", "mpi4py"),
    workers: Sequence[int] = (1, 2),
    repeats: int = 5,
    *,
    profile: str | Path | Profile = "local",
    most_repeats: int | None = None,
    weak: bool = False,
    settings: Sequence[str] = (),
    allow_code: bool = False,
    runs: str | Path | None = None,
    time_limit: float = 3600.0,
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare dask with versions written by hand: results first, then times.

    Each version runs in a fresh process tree each time, with one thread a worker, in an order that changes
    from round to round. A first round warms caches up, watches the memory and checks the results: a version
    whose result differs gets no time.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        What all versions compute.
    versions : sequence of str
        ``dask``, by-hand versions of the analysis (``serial``, ``threads``, ``multiprocessing``, ``mpi4py``,
        …), ``all``, or ``name=module:function`` with `allow_code`. The first is the reference.
    workers : sequence of int
        Processes or threads that compute.
    repeats : int
        Rounds at least.
    profile : str, path or Profile
        Where dask's workers run; the others run here.
    most_repeats : int, optional
        Go on until every 95 % interval of a median is narrower than 10 %, or there were so many rounds. By
        default `repeats`.
    weak : bool
        The problem grows with the number of workers.
    settings, allow_code, runs
        As in `daskpar.run`.
    time_limit : float
        Seconds for one start of one version.
    say : callable, optional
        Is told what happens, line by line.

    Returns
    -------
    Comparison
        With ``table``, ``fits``, ``plot()`` and ``report(path)``; its folder lies beside the runs.

    Raises
    ------
    daskpar.errors.UsageError
        An unknown version, or numbers that make no sense.
    daskpar.errors.ClusterError
        The reference itself fails.
    """
    counts = sorted(set(workers))
    if weak and counts[:1] != [1]:
        raise UsageError("growing problems are compared with one worker", "write --workers 1,2,4")
    if not counts or counts[0] < 1 or repeats < 1 or (most_repeats or repeats) < repeats:
        raise UsageError("workers and repeats are 1 or more", "write --workers 1,2 --repeats 5")
    path = _importable(recipe) if allow_code else ()
    loaded = load_recipe(recipe, settings, allow_code)
    folder = _make_folder(loaded.name, runs_folder(runs))
    recipes = {n: grown(loaded, n) if weak else loaded for n in counts}
    prepared = {}
    for n, one in recipes.items():
        scratch = folder / "scratch" / (str(n) if weak else "all")
        prepared[n] = prepare_nothing(one, profile, scratch, allow_code=allow_code)
    chosen = chosen_versions(prepared[counts[0]].analysis, versions, allow_code)
    launchers = {n: _launcher(one, path, time_limit, allow_code) for n, one in prepared.items()}
    launchers.setdefault(1, launchers[counts[0]])  # for a serial version
    described = _described(prepared[counts[0]], chosen, counts, repeats, weak)
    work = _Work(folder, chosen, counts, launchers, weak, described, say or (lambda line: None))
    with termination_raises():
        work.all_rounds(repeats, most_repeats or repeats)
    return Comparison(folder)


def _importable(recipe: Any) -> tuple[str, ...]:
    """Put the folder of a recipe first on the path of modules, for those that lie beside it; return it."""
    folder = Path(recipe).absolute().parent if isinstance(recipe, str | Path) else Path.cwd()
    put_first(folder)
    return (str(folder),)


def _make_folder(name: str, runs: Path) -> Path:
    folder = runs / f"compare-{name}-{time.strftime('%Y%m%dT%H%M%S')}-{uuid4().hex[:4]}"
    (folder / "logs").mkdir(parents=True, mode=0o700)
    return folder


def _launcher(prepared: Prepared, path: tuple[str, ...], time_limit: float, allow_code: bool) -> Launcher:
    setup = Setup(prepared.recipe, prepared.profile, prepared.recipe.analysis, allow_code)
    given = {"record": prepared.record, "options": prepared.options, "setup": setup}
    return Launcher(given, path, time_limit)


def _described(
    prepared: Prepared, versions: list[Version], workers: list[int], repeats: int, weak: bool
) -> dict[str, Any]:
    recipe = prepared.recipe
    return {
        "format": 1,
        "name": recipe.name,
        "created": now(),
        "state": "running",
        "recipe": recipe.data(),
        "recipe_text": recipe.dump(),
        "analysis": recipe.analysis,
        "machine": timing.machine(),
        "versions": [
            {
                "name": one.name,
                "target": one.target,
                "launcher": one.launcher,
                "lines": lines_of_code(one, prepared.analysis),
            }
            for one in versions
        ],
        "workers": workers,
        "repeats": repeats,
        "rounds_done": 0,
        "weak": weak,
        "reference": versions[0].name,
        "agreement": [],
        "blocks": None,
    }


@dataclass
class _Work:
    """A comparison while it is made."""

    folder: Path
    versions: list[Version]
    workers: list[int]
    launchers: Mapping[int, Launcher]
    weak: bool
    described: dict[str, Any]
    say: Callable[[str], None]
    timings: list[Timing] = field(default_factory=list)
    agreement: list[Agreement] = field(default_factory=list)
    references: dict[int, Measured] = field(default_factory=dict)
    peaks: dict[tuple[str, int], Timing] = field(default_factory=dict)

    def all_rounds(self, repeats: int, most: int) -> None:
        """Warm up and check, then measure round after round."""
        try:
            cells = self._agreeing()
            for number in range(1, most + 1):
                self._round(number, cells)
                if number >= repeats and self._narrow(cells):
                    break
        except BaseException:
            self._write("failed")
            raise
        self._write("done")
        shutil.rmtree(self.folder / "results", ignore_errors=True)
        shutil.rmtree(self.folder / "scratch", ignore_errors=True)

    def _cells(self) -> list[Cell]:
        """Return what is measured; a serial version has one worker whatever is asked for."""
        serial = [(version, 1) for version in self.versions if version.name == "serial"]
        others = [version for version in self.versions if version.name != "serial"]
        cells = [(version, n) for n in self.workers for version in others]
        first = serial if self.versions[0].name == "serial" else []
        return [*first, *cells[:1], *(serial if not first else []), *cells[1:]]

    def _agreeing(self) -> list[Cell]:
        """Run everything once; return what has the result of the reference."""
        good = []
        for version, workers in self._cells():
            self.say(f"warm-up: {version.name} with {workers}")
            if self._checked(version, workers):
                good.append((version, workers))
        self._write("running")
        return good

    def _checked(self, version: Version, workers: int) -> bool:
        size = workers if self.weak else 0
        try:
            found = self._measure(version, workers, watch=True)
        except ClusterError as error:
            if size not in self.references:
                raise
            self._note(Agreement(version.name, workers, "", False, message=str(error)))
            self._record(version, workers, 0, None, str(error))
            return False
        reference = self.references.setdefault(size, found)
        result = compare_results(
            version.name, workers, found.result, found.result_hash, reference.result, reference.result_hash
        )
        self._note(result)
        self._record(version, workers, 0, found, "" if result.agrees else result.text())
        return result.agrees

    def _note(self, result: Agreement) -> None:
        self.agreement.append(result)
        self.described["agreement"] = [one.data() for one in self.agreement]
        self.say(result.text())

    def _measure(self, version: Version, workers: int, *, watch: bool = False) -> Measured:
        place = f"{version.name}-{workers}"
        folder = self.folder / "results" / (place if watch else "again")
        try:
            return self.launchers[workers].measure(version, workers, folder, watch=watch)
        finally:
            for name in ("stdout.txt", "stderr.txt"):
                if (folder / name).exists() and (folder / name).stat().st_size:
                    shutil.copyfile(folder / name, self.folder / "logs" / f"{place}-{name}")

    def _round(self, number: int, cells: list[Cell]) -> None:
        order = np.random.default_rng(number).permutation(len(cells))
        for index in order.tolist():
            version, workers = cells[index]
            reference = self.references[workers if self.weak else 0]
            found = self._measure(version, workers)
            if version.launcher == "dask" and workers == self.workers[0]:
                self.described["blocks"] = found.notes.get("blocks")  # not of the warm-up, which compiles
            wrong = found.result_hash != reference.result_hash
            message = f"round {number} gave another result" if wrong else ""
            self._record(version, workers, number, found, message)
            if wrong:
                self._note(Agreement(version.name, workers, found.result_hash, False, message=message))
        self.described["rounds_done"] = number
        self.say(f"round {number} is done")
        self._write("running")

    def _record(
        self, version: Version, workers: int, number: int, found: Measured | None, message: str
    ) -> None:
        seconds = found.seconds if found is not None and not message else None
        made = Timing(
            version.name, workers, version.cores(workers), number, seconds,
            peak_bytes=found.peak_bytes if found else None,
            bytes_moved=found.notes.get("bytes_moved") if found else None,
            cpu_seconds=found.notes.get("cpu_seconds") if found else None,
            result_hash=found.result_hash if found else "",
            agrees=not message, fingerprint=self.described["machine"]["fingerprint"], message=message,
        )  # fmt: skip
        if number == 0:
            self.peaks[version.name, workers] = made
        else:
            made = replace(made, peak_bytes=self.peaks[version.name, workers].peak_bytes)
        self.timings.append(made)
        timing.append(self.folder / "timings.jsonl", [made])

    def _narrow(self, cells: list[Cell]) -> bool:
        measured = [list(times(self.timings, version.name, n).values()) for version, n in cells]
        return all(median_interval(values).width <= NARROW for values in measured if values)

    def _write(self, state: str) -> None:
        self.described["state"] = state
        found = {**self.described, **summarised(self.described, self.timings)}
        write_text(self.folder / "comparison.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
