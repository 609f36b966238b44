"""What an output carries, found again: its recipe, and the run it is of."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from daskpar.analysis import analysis_names, load_analysis
from daskpar.errors import UsageError
from daskpar.outputs import FORMATS
from daskpar.recipe import Recipe
from daskpar.rundir import RunDirectory, find_run, runs_folder
from daskpar.user_modules import put_first


def recipe_of_text(text: str, scratch: Path, folder: str | Path, allow_code: bool = False) -> Recipe:
    """Return the recipe that an output carries, checked; `folder` is what its inputs refer to."""
    path = scratch / "recipe.yaml"
    path.write_text(text)
    if allow_code:
        put_first(Path(folder))
    lookup = partial(load_analysis, allow_code=allow_code)
    return Recipe.load(path, (), lookup, analysis_names=analysis_names(), suffixes=FORMATS, folder=folder)


def run_of(path: Path, made: Mapping[str, Any], runs: str | Path | None = None) -> RunDirectory | None:
    """Return the run that an output says it is of, if it is here."""
    for parent in path.absolute().parents:
        if parent.name == made.get("run") and (parent / "run.json").is_file():
            return RunDirectory(parent)
    try:
        return find_run(str(made["run"]), runs_folder(runs))
    except (UsageError, KeyError):
        return None
