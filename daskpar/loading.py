"""What recipe and profile name, loaded: the models, and the record of the input that `build` gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from daskpar.analysis import Analysis, Where, analysis_names, load_analysis
from daskpar.errors import RecipeError, UsageError
from daskpar.outputs.names import FORMATS
from daskpar.profile import Profile
from daskpar.recipe import Recipe
from daskpar.settings.profile_lookup import load_profile


def load_recipe(
    recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str] = (), allow_code: bool = False
) -> Recipe:
    """Return a recipe checked against its analysis, from a file, a mapping or as it is."""
    if isinstance(recipe, Recipe):
        return recipe
    lookup = partial(load_analysis, allow_code=allow_code)
    names = analysis_names()
    if isinstance(recipe, Mapping):
        if settings:
            raise UsageError("settings change a recipe file", "change the mapping itself")
        return Recipe.from_data(recipe, lookup, analysis_names=names, suffixes=FORMATS)
    return Recipe.load(recipe, settings, lookup, analysis_names=names, suffixes=FORMATS)


def profile_model(profile: str | Path | Profile) -> Profile:
    """Return a profile from its name, its file, or as it is."""
    return load_profile(profile) if isinstance(profile, str | Path) else profile


def identity_of(analysis: Analysis, record: Any) -> Any:
    """Return the JSON-like value that says which input a record describes."""
    if analysis.identity is not None:
        return analysis.identity(record)
    return [item.identity for item in record]


def open_record(analysis: Analysis, inputs: Mapping[str, Any], where: Where) -> Any:
    """Return what `build` gets: the analysis' own record, or the sorted list of files."""
    if analysis.open_inputs is not None:
        return analysis.open_inputs(inputs, where)
    from daskpar.inputs.files import describe_files

    unknown = sorted(set(inputs) - {"files"})
    if unknown:
        raise RecipeError(
            f"{analysis.name} reads files only", "give inputs: {files: ...}", key=f"inputs.{unknown[0]}"
        )
    return describe_files(where.resolve(inputs.get("files", ())), where.root)
