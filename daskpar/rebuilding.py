"""Making an output again from the recipe and provenance that it carries, and comparing the bits.

The recipe is run as any other. Its result hash must be the one that the output carries; then the output is
written once more, with the provenance of the old one, and must be the same bytes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar import dataset_store, outputs
from daskpar.carried import recipe_of_text, run_of
from daskpar.driver import drive
from daskpar.errors import InputError, OutputError, RecipeError
from daskpar.loading import identity_of
from daskpar.outputs.values import farthest
from daskpar.preparation import Prepared, begin, prepare_nothing
from daskpar.provenance import cpu_kind, jsonable
from daskpar.verification import Finding, made_from_seed

if TYPE_CHECKING:
    from daskpar.profile import Profile

TOLERANCE = 1e-6  # of the largest value, where bits depend on the kind of CPU


@dataclass(frozen=True)
class Rebuilt:
    """A run that makes an output again.

    Attributes
    ----------
    path : Path
        The output.
    made : dict
        The provenance that it carries.
    prepared : Prepared
        The new run.
    """

    path: Path
    made: dict[str, Any]
    prepared: Prepared


def prepare_again(
    path: str | Path,
    profile: str | Path | Profile = "local",
    *,
    folder: str | Path | None = None,
    runs: str | Path | None = None,
    allow_code: bool = False,
    verify: bool = False,
) -> Rebuilt:
    """Make a run of the recipe that an output carries.

    Parameters
    ----------
    path : path
        The output.
    profile : str, path or Profile
        The site.
    folder : path
        What relative inputs of the recipe refer to. Default: what they did in its run, else here.
    runs : path
        Folder of the runs.
    allow_code : bool
        Whether the recipe may name modules that do not ship with daskpar.
    verify : bool
        Whether to refuse what cannot be the same: an output that is damaged, inputs that changed.

    Raises
    ------
    daskpar.errors.OutputError
        The output is not as it was written.
    daskpar.errors.InputError
        Its inputs are not what they were.
    """
    path = Path(path)
    made = _whole(path) if verify else outputs.read_provenance(path)
    run = run_of(path, made, runs)
    place = folder or (run.record["folder"] if run is not None else Path.cwd())
    with tempfile.TemporaryDirectory(prefix="daskpar-rerun-") as scratch:
        recipe = recipe_of_text(made["recipe"]["text"], Path(scratch), place, allow_code)
        if verify and not made_from_seed(recipe.inputs):
            looked = prepare_nothing(recipe, profile, Path(scratch), allow_code=allow_code)
            if jsonable(identity_of(looked.analysis, looked.record)) != made["inputs"]:
                raise InputError(
                    "the inputs are not what the output was made from", "daskpar verify names them", path=path
                )
    return Rebuilt(path, made, begin(recipe, profile, runs=runs, allow_code=allow_code))


def _whole(path: Path) -> dict[str, Any]:
    try:
        return outputs.verify_output(path)
    except InputError as error:
        if not path.exists():
            raise
        raise OutputError(faults=error.faults) from error


def rebuild(again: Rebuilt, compare: bool = True) -> list[Finding]:
    """Drive the run and compare, unless told not to: the hash of the result, and the bytes of the output.

    Returns
    -------
    list of Finding
        That differ with exit code 5, or none does.
    """
    prepared, made = again.prepared, again.made
    result = drive(prepared)
    if not compare:
        return []
    found = list(_code(again))
    same = result.result_hash == made.get("result_hash")
    if same:
        found.append(Finding("result", "ok", str(result.result_hash)))
    elif prepared.per_cpu and made["host"]["cpu_kind"] != cpu_kind():
        found.append(Finding("result", "note", "made on another kind of CPU, so compared by tolerance"))
    else:
        found.append(
            Finding("result", "differs", f"its hash was {made.get('result_hash')}, is {result.result_hash}")
        )
    try:
        name = _name_of(again)
    except RecipeError as error:
        return [*found, Finding(f"output {again.path.name}", "note", error.faults[0].what)]
    with tempfile.TemporaryDirectory(prefix="daskpar-rerun-") as scratch:
        outputs.write_outputs(
            dataset_store.open_saved(prepared.run.dataset), [name], scratch, overwrite=True, provenance=made,
            select=prepared.analysis.select, plot=prepared.analysis.plot,
        )  # fmt: skip
        found.append(_compared(again, Path(scratch) / name, same))
    return found


def _compared(again: Rebuilt, new: Path, same: bool) -> Finding:
    item = f"output {again.path.name}"
    if _bytes(again.path) == _bytes(new):
        return Finding(item, "ok", "the same bytes")
    if not same and again.prepared.per_cpu and again.made["host"]["cpu_kind"] != cpu_kind():
        away = farthest(again.path, new)
        state: Any = "ok" if away <= TOLERANCE else "differs"
        return Finding(item, state, f"values differ by at most {away:.1e} of the largest")
    if farthest(again.path, new) == 0.0:
        return Finding(item, "ok", "the same values, though not bytes: other versions of libraries wrote it")
    return Finding(item, "differs", "holds other values than what its recipe gives")


def _bytes(path: Path) -> Mapping[str, bytes]:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def _name_of(again: Rebuilt) -> str:
    """Return which output of the recipe the file is, by its name, else by its suffix."""
    names = again.prepared.recipe.outputs
    fitting = [name for name in names if Path(name).name == again.path.name] or [
        name for name in names if Path(name).suffix == again.path.suffix
    ]
    if len(fitting) != 1:
        raise RecipeError(f"which of the outputs {', '.join(names)} it was is not known")
    return fitting[0]


def _code(again: Rebuilt) -> list[Finding]:
    before, now = again.made["code"], again.prepared.run.record["provenance"]["code"]
    changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if not changed:
        return []
    return [Finding("code", "note", f"another version than what made it: {', '.join(changed[:5])}")]
