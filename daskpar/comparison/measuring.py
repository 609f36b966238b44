"""A comparison while it is made: everything once to check it, then round after round of what is right."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from daskpar.atomic import write_text
from daskpar.changes import file_digest
from daskpar.comparison import timing
from daskpar.comparison.agreement import Agreement, compare_results
from daskpar.comparison.child import DASK
from daskpar.comparison.launch import Launcher, Measured, Version, profile_launcher, termination_raises
from daskpar.comparison.ratios import median_interval, times
from daskpar.comparison.request import Request
from daskpar.comparison.setup import Setup
from daskpar.comparison.summary import summarised
from daskpar.comparison.timing import Timing
from daskpar.comparison.versions import lines_of_code
from daskpar.durable import digest_of
from daskpar.errors import ClusterError
from daskpar.preparation import Prepared, identity_digest, prepare_nothing
from daskpar.rundir import now
from daskpar.user_code import code_of

NARROW = 0.1  # relative width of the interval of a median below which more rounds are not worth their time
Cell = tuple[Version, int]


def measure(wanted: Request, folder: Path, say: Callable[[str], None]) -> None:
    """Measure on the machine that we are on, and leave everything in a folder.

    Raises
    ------
    daskpar.errors.DaskparError
        The input or the profile is wrong, or the reference itself fails.
    """
    recipes = wanted.recipes()
    prepared = {}
    for n, one in recipes.items():
        scratch = folder / "scratch" / (str(n) if wanted.weak else "all")
        prepared[n] = prepare_nothing(one, wanted.profile, scratch, allow_code=wanted.allow_code)
    launchers = {n: _launcher(one, wanted) for n, one in prepared.items()}
    first = prepared[wanted.workers[0]]
    launchers.setdefault(1, launchers[wanted.workers[0]])  # for a serial version
    chosen = wanted.chosen()
    described = _described(first, chosen, wanted)
    say(f"measuring for {folder.name}")
    work = _Work(folder, chosen, list(wanted.workers), launchers, wanted.weak, described, say)
    for size, recipe in wanted.sized().items():
        scratch = folder / "scratch" / "all"
        with_size = prepare_nothing(recipe, wanted.profile, scratch, allow_code=wanted.allow_code)
        work.sizes[size] = _launcher(with_size, wanted)
    with termination_raises():
        work.all_rounds(wanted.repeats, wanted.most_repeats)


def _launcher(prepared: Prepared, wanted: Request) -> Launcher:
    setup = Setup(prepared.recipe, prepared.profile, prepared.recipe.analysis, wanted.allow_code)
    given = {"record": prepared.record, "options": prepared.options, "setup": setup}
    return Launcher(given, wanted.path, wanted.time_limit, profile_launcher(prepared.profile))


def problem_digest(prepared: Prepared, weak: bool) -> str:
    """Return a digest of what is computed: recipe, input, and code of the user's.

    Of input that is made anew for each comparison the recipe says all; its files are new ones each time.
    """
    recipe = prepared.recipe.data()
    made = bool((recipe["inputs"] or {}).get("synthetic"))
    files = code_of(prepared.analysis, prepared.options)
    code = {name: file_digest(path) for name, path in files.items() if not name.startswith("daskpar.")}
    what = [recipe["analysis"], recipe["inputs"], recipe["options"], weak, code]
    return digest_of([*what, None if made else identity_digest(prepared)])[:16]


def _described(prepared: Prepared, versions: list[Version], wanted: Request) -> dict[str, Any]:
    recipe = prepared.recipe
    return {
        "format": 1,
        "name": recipe.name,
        "created": now(),
        "state": "running",
        "recipe": recipe.data(),
        "recipe_text": recipe.dump(),
        "analysis": recipe.analysis,
        "machine": {**timing.machine(), "allocation": _allocation()},
        "problem": problem_digest(prepared, wanted.weak),
        "versions": [
            {
                "name": one.name,
                "target": one.target,
                "launcher": one.launcher,
                "lines": lines_of_code(one, prepared.analysis),
            }
            for one in versions
        ],
        "by_hand": sorted(prepared.analysis.by_hand),
        "workers": list(wanted.workers),
        "repeats": wanted.repeats,
        "rounds_done": 0,
        "weak": wanted.weak,
        "reference": versions[0].name,
        "agreement": [],
        "blocks": None,
        "mpi": "",
        "error": "",
    }


def _allocation() -> str:
    """Say which job of a batch system the cores belong to; empty outside of one."""
    job, nodes = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NODELIST", "")
    return f"Slurm job {job} on {nodes}" if job else ""


def _why(error: BaseException) -> str:
    known = {KeyboardInterrupt: "interrupted", SystemExit: "terminated"}
    return known.get(type(error)) or str(error) or type(error).__name__


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
    sizes: dict[int, Launcher] = field(default_factory=dict)

    def all_rounds(self, repeats: int, most: int) -> None:
        """Warm up and check, then measure round after round."""
        try:
            cells = self._agreeing()
            for number in range(1, most + 1):
                self._round(number, cells)
                if number >= repeats and self._narrow(cells):
                    break
            self._sweep(repeats)
        except BaseException as error:
            self.described["error"] = _why(error)
            self._write("failed")
            raise
        finally:
            shutil.rmtree(self.folder / "results", ignore_errors=True)
            shutil.rmtree(self.folder / "scratch", ignore_errors=True)
        self._write("done")

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
        self.described["mpi"] = found.notes.get("mpi") or self.described["mpi"]
        self._note_threads(version, found)
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

    def _note_threads(self, version: Version, found: Measured) -> None:
        """Keep the thread variables that a version's own process had, those of all numbers of workers."""
        entry = next(one for one in self.described["versions"] if one["name"] == version.name)
        before = entry.get("threads", {})
        entry["threads"] = {
            name: ", ".join(dict.fromkeys([*filter(None, [before.get(name)]), value]))
            for name, value in sorted(found.notes["threads"].items())
        }

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
        for version, workers in [cells[index] for index in order.tolist()]:
            if not self._once(version, workers, number):
                cells.remove((version, workers))  # what is wrong once has no times at all
        self.described["rounds_done"] = number
        self.say(f"round {number} is done")
        self._write("running")

    def _once(self, version: Version, workers: int, number: int) -> bool:
        """Measure a version in a round; whether it gave the result of the reference once more."""
        try:
            found = self._measure(version, workers)
        except ClusterError as error:
            message = f"round {number} failed: {error}"
            self._note(Agreement(version.name, workers, "", False, message=message))
            self._record(version, workers, number, None, message)
            return False
        wrong = found.result_hash != self.references[workers if self.weak else 0].result_hash
        message = f"round {number} gave another result" if wrong else ""
        self._record(version, workers, number, found, message)
        if wrong:
            self._note(Agreement(version.name, workers, found.result_hash, False, message=message))
        elif version == self._dask():  # not of the warm-up, which compiles
            blocks = found.notes.get("blocks")
            if workers == self.workers[0]:
                self.described["blocks"] = blocks
            if workers == self.workers[-1]:
                self.described["stream"] = {**blocks, "workers": workers} if blocks else None
        return not wrong

    def _dask(self) -> Version:
        """Return the version whose blocks are shown, replayed, and made of other sizes."""
        known = (version for version in self.versions if version.launcher == "dask")
        return next(known, Version("dask", DASK))

    def _sweep(self, repeats: int) -> None:
        """Measure dask with blocks of other sizes, in turn, on the least number of workers."""
        version, n = self._dask(), self.workers[0]
        measured: list[dict[str, Any]] = []
        failed: dict[int, str] = {}
        for number in range(1, repeats + 1 if self.sizes else 1):
            for size in np.random.default_rng(number).permutation(list(self.sizes)).tolist():
                if size in failed:
                    continue
                try:
                    found = self.sizes[size].measure(version, n, self.folder / "results" / "size")
                except ClusterError as error:
                    failed[size] = f"FAILED: blocks of size {size}: {error}"
                    continue
                if found.result_hash != self.references[n if self.weak else 0].result_hash:
                    failed[size] = f"WRONG: blocks of size {size} gave another result"
                    continue
                took = Timing("dask", n, n, number, found.seconds).work
                blocks = len(found.notes["blocks"]["seconds"])
                measured.append({"size": size, "blocks": blocks, "seconds": took})
            self.say(f"block sizes, round {number} is done")
            self.described["sweep"] = {
                "workers": n,
                "measured": [one for one in measured if one["size"] not in failed],
                "failed": [{"size": size, "message": failed[size]} for size in sorted(failed)],
            }
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
            problem=self.described["problem"],
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
