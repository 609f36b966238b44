"""Refusing to go on with a run whose recipe or code changed since; the message shows the difference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from daskpar.analysis import Analysis, analysis_names, load_analysis
from daskpar.errors import UsageError
from daskpar.recipe import Recipe, difference
from daskpar.rundir import RunDirectory


def refuse_changed_recipe(run: RunDirectory, record: Mapping[str, Any], as_begun: bool) -> None:
    """Refuse if the run's copy of the recipe changed, or, unless `as_begun`, the file that it came from."""
    kept = Recipe.load(run.path / "recipe.yaml")
    lines = difference(record["recipe"], kept)
    file = record["recipe_file"]
    if (
        not lines
        and file is not None
        and not as_begun
        and file_digest(Path(file)) not in (None, record["recipe_file_sha256"])
    ):
        lines = difference(record["recipe"], _comparable(Path(file), record))
    if lines:
        raise UsageError(
            f"the recipe changed since the run began: {'; '.join(lines[:5])}",
            "begin a new run with it; or go on with the recipe as it was: daskpar resume --as-begun",
            path=file or run.path / "recipe.yaml",
            key=lines[0].partition(":")[0],
        )


def _comparable(file: Path, record: Mapping[str, Any]) -> Recipe:
    lookup = partial(load_analysis, allow_code=bool(record["allow_code"]))
    return Recipe.load(file, record["settings"], lookup, analysis_names=analysis_names())


def refuse_changed_code(run: RunDirectory, record: Mapping[str, Any], as_begun: bool) -> None:
    """Refuse if a source file behind the run changed; the user's own may, `as_begun`: the run has a copy."""
    changed = []
    for name, entry in record["code"].items():
        ours = name.partition(".")[0] == "daskpar"
        now_there = file_digest(Path(entry["file"]))
        if now_there != entry["sha256"] and (now_there is not None or ours) and (ours or not as_begun):
            changed.append(entry["file"])
    if changed:
        raise UsageError(
            f"the code behind the run changed since it began: {', '.join(changed[:5])}",
            "begin a new run; or go on with the user's code as it was: daskpar resume --as-begun",
            path=run.path,
        )


def kept_in_use(analysis: Analysis, record: Mapping[str, Any], options: Any) -> dict[str, Any]:
    """Return the options that an analysis adds so that what an extended run has stored stays in use."""
    if analysis.extended is None or analysis.options is None:
        return {}
    return dict(analysis.extended(analysis.options.model_validate(record["recipe"]["options"]), options))


def file_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file, or None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
