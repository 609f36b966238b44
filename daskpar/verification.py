"""Whether a run or an output is still what it says it is: ledger, result, outputs and inputs, one by one.

Nothing is computed or changed. That a file is as it was written says nothing yet of whether its numbers are
right: for that, `daskpar.rebuilding` makes it again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from daskpar import dataset_store, ledger, outputs
from daskpar.carried import recipe_of_text, run_of
from daskpar.changes import file_digest
from daskpar.errors import DaskparError, InputError, OutputError
from daskpar.loading import identity_of
from daskpar.preparation import prepare_nothing
from daskpar.provenance import jsonable
from daskpar.recipe import Recipe, difference
from daskpar.rundir import RunDirectory, find_run, runs_folder

INPUT, OUTPUT = InputError.exit_code, OutputError.exit_code


@dataclass(frozen=True)
class Finding:
    """What was found of one item.

    Attributes
    ----------
    item : str
        What was looked at: ``ledger``, ``result``, ``output combined.fits``, ``input frame1.fits``...
    state : {"ok", "differs", "note"}
        ``note`` is worth knowing, but no fault: something could not be checked here, or is newer.
    message : str
        What differs.
    exit_code : int
        That of ``daskpar verify`` if it differs: 3 for input, 5 for what the run wrote.
    """

    item: str
    state: Literal["ok", "differs", "note"]
    message: str = ""
    exit_code: int = OUTPUT

    def data(self) -> dict[str, Any]:
        """Return the finding as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the finding as a line for people."""
        return f"{self.state:<8} {self.item}" + (f": {self.message}" if self.message else "")


def exit_code(findings: Sequence[Finding]) -> int:
    """Return 0, or the code of the worst that differs: what the run wrote comes before its input."""
    return max((finding.exit_code for finding in findings if finding.state == "differs"), default=0)


def verify(what: str | Path, runs: str | Path | None = None, **more: Any) -> list[Finding]:
    """Check a run, or an output file, against its provenance.

    Parameters
    ----------
    what : str or path
        A run as ``daskpar status`` takes it; or an output file.
    runs : path
        Folder of the runs.
    **more
        ``folder`` and ``allow_code``, as in `verify_file`.

    Raises
    ------
    daskpar.errors.InputError
        There is no such file.
    daskpar.errors.UsageError
        There is no such run.
    """
    if Path(what).suffix in outputs.FORMATS and not (Path(what) / "run.json").exists():
        return verify_file(what, runs, **more)
    return verify_run(find_run(str(what), runs_folder(runs)))


def verify_run(run: RunDirectory) -> list[Finding]:
    """Check the recipe, ledger, result, outputs, inputs and code of a run."""
    record, state = run.record, run.status()
    found = [
        Finding(name, "differs", "is damaged; daskpar resume writes it again") for name in run.torn_records()
    ]
    found += [*_recipe(run, record), *_ledger(run), *_result(run, state)]
    for path in state.get("outputs", ()):
        expected = {"run": run.name, "result_hash": state["result_hash"]}
        found.append(_output(Path(path), expected))
    found += _inputs(
        run.path / "recipe.yaml", record["provenance"]["inputs"], Path(record["folder"]),
        bool(record["allow_code"]), run,
    )  # fmt: skip
    return [*found, *_code(run, record)]


def verify_file(
    path: str | Path,
    runs: str | Path | None = None,
    *,
    folder: str | Path | None = None,
    allow_code: bool = False,
) -> list[Finding]:
    """Check an output against the checksums in it, against its run if that is here, and its inputs.

    Parameters
    ----------
    path : path
        The output.
    runs : path
        Folder of the runs.
    folder : path
        What relative inputs of the recipe refer to. Default: what they did in its run, else here.
    allow_code : bool
        Whether a module that the recipe names may be imported.
    """
    path = Path(path)
    try:
        made = outputs.read_provenance(path)
    except InputError:
        if not path.exists():
            raise
        return [_output(path, {})]
    run = run_of(path, made, runs)
    status = {} if run is None else run.status()
    expected = {"result_hash": status["result_hash"]} if status.get("result_hash") else {}
    found = [_output(path, expected)]
    if run is None:
        found.append(Finding(f"run {made.get('run', '')}", "note", "is not here"))
    place = folder or (run.record["folder"] if run is not None else Path.cwd())
    with tempfile.TemporaryDirectory(prefix="daskpar-verify-") as scratch:
        recipe = Path(scratch) / "carried.yaml"
        recipe.write_text(made["recipe"]["text"])
        found += _inputs(recipe, made["inputs"], Path(place), allow_code, run)
    return found


def _recipe(run: RunDirectory, record: Mapping[str, Any]) -> list[Finding]:
    try:
        lines = difference(record["recipe"], Recipe.load(run.path / "recipe.yaml"))
    except DaskparError as error:
        lines = [str(error)]
    return [Finding("recipe", "differs", line) for line in lines] or [Finding("recipe", "ok")]


def _ledger(run: RunDirectory) -> list[Finding]:
    """Every record must match its checksum, and every block that was counted must be there, with its bits."""
    if not run.ledger.exists():
        return [Finding("ledger", "note", "it was removed when the run was cleaned")]
    stored, damage = ledger.scan(run.ledger)
    found = [Finding("ledger", "differs", line) for line in damage]
    counted: dict[str, tuple[str, set[str]]] = {}
    for event, _ in run.events():
        if event["event"] == "block":
            counted.setdefault(event["key"], (event["label"], set()))[1].add(event["digest"])
        elif event["event"] == "removed":
            for key in event["keys"]:
                counted.pop(key, None)
    for key, (label, digests) in counted.items():
        if key not in stored:
            found.append(Finding(f"block {label}", "differs", "is not in the ledger"))
        elif stored[key].digest not in digests:
            found.append(Finding(f"block {label}", "differs", "is not the record that was counted"))
    return found or [Finding("ledger", "ok", f"{len(stored)} records")]


def _result(run: RunDirectory, state: Mapping[str, Any]) -> list[Finding]:
    if state["state"] != "done":
        return [Finding("result", "note", f"there is none: the run is {state['state']}")]
    found = [Finding("result", "differs", line) for line in dataset_store.changed_arrays(run.dataset)]
    if not found and dataset_store.saved_hash(run.dataset) != state["result_hash"]:
        found = [Finding("result", "differs", "its hash is not that of the run")]
    return found or [Finding("result", "ok", str(state["result_hash"]))]


def _output(path: Path, expected: Mapping[str, Any]) -> Finding:
    item = f"output {path.name}"
    try:
        made = outputs.verify_output(path)
    except InputError as error:
        return Finding(item, "differs", "; ".join(fault.what for fault in error.faults))
    for key, value in expected.items():
        if made.get(key) != value:
            return Finding(item, "differs", f"its {key} is {made.get(key)!r}, that of the run {value!r}")
    return Finding(item, "ok")


def _inputs(
    recipe: Path, then: Any, folder: Path, allow_code: bool, run: RunDirectory | None
) -> list[Finding]:
    """Describe the inputs of a recipe again and compare, item by item where they are listed."""
    with tempfile.TemporaryDirectory(prefix="daskpar-verify-") as scratch:
        try:
            loaded = recipe_of_text(recipe.read_text(), Path(scratch), folder, allow_code)
            # Generated input is compared with what the run keeps of it.
            kept = run.path if run is not None and (run.path / "scratch").is_dir() else Path(scratch)
            site = run.path / "profile.yaml" if run is not None else "local"
            prepared = prepare_nothing(loaded, site, kept, allow_code=allow_code)
        except InputError as error:
            return [Finding(_item(fault.path), "differs", fault.what, INPUT) for fault in error.faults]
        except DaskparError as error:
            return [Finding("inputs", "note", f"cannot be checked: {error}")]
        now = jsonable(identity_of(prepared.analysis, prepared.record))
        if now != then and kept == Path(scratch) and made_from_seed(loaded.inputs):
            return [Finding("inputs", "note", "are made from a seed, and not kept")]
        differ = list(_differences(then, now))
        return differ or [Finding("inputs", "ok", f"{len(now)} items" if isinstance(now, list) else "")]


def _item(path: str) -> str:
    return f"input {path}" if path else "inputs"


def made_from_seed(inputs: Any) -> bool:
    """Whether some input is made from a seed."""
    if not isinstance(inputs, Mapping):
        return False
    if any(inputs.get(name) is not None for name in ("synthetic", "mask")):
        return True
    return any(map(made_from_seed, inputs.values()))


def _differences(then: Any, now: Any) -> Iterator[Finding]:
    if then == now:
        return
    if not (_are_items(then) and _are_items(now)):
        yield Finding("inputs", "differs", "are not what they were", INPUT)
        return
    before, after = ({str(item[0]): item for item in items} for items in (then, now))
    for name in sorted({*before, *after}):
        if name not in after:
            yield Finding(_item(name), "differs", "is not there", INPUT)
        elif name not in before:
            yield Finding(_item(name), "differs", "was not there", INPUT)
        elif before[name] != after[name]:
            yield Finding(_item(name), "differs", f"was {before[name][1:]}, is {after[name][1:]}", INPUT)


def _are_items(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(i, list) and i and isinstance(i[0], str) for i in value)


def _code(run: RunDirectory, record: Mapping[str, Any]) -> list[Finding]:
    """Hold the copies in the run to what was begun with; what lies elsewhere may have moved on."""
    found = []
    for name, entry in record["code"].items():
        parts = name.split(".")
        copies = [run.code.joinpath(*parts).with_suffix(".py"), run.code.joinpath(*parts, "__init__.py")]
        kept = [path for path in copies if path.exists()]
        if kept and file_digest(kept[0]) != entry["sha256"]:
            found.append(Finding(f"code {name}", "differs", f"{kept[0]} was changed"))
        elif not kept and file_digest(Path(entry["file"])) != entry["sha256"]:
            found.append(Finding(f"code {name}", "note", f"{entry['file']} is another version now"))
    return found or [Finding("code", "ok", f"{len(record['code'])} files")]
