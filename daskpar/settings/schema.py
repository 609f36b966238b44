"""JSON schemas for editors. ``python -m daskpar.settings.schema`` writes those that are shipped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, create_model

from daskpar.analysis import BUILT_IN, load_analysis
from daskpar.profile import Profile
from daskpar.recipe import Recipe
from daskpar.settings.analysis_check import AnalysisModels, Inputs, rules_all_inputs

FOLDER = Path(__file__).parents[1] / "schemas"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def inputs_model(analysis: AnalysisModels) -> type[BaseModel]:
    """Give the model of the whole mapping ``inputs`` of an analysis."""
    if analysis.inputs is None:
        return Inputs
    if rules_all_inputs(analysis.inputs):
        return analysis.inputs
    return create_model(f"{analysis.name}_inputs", __base__=(analysis.inputs, Inputs))


def recipe_schema(analysis: AnalysisModels | None = None) -> dict[str, Any]:
    """Make the JSON schema of recipes, of any analysis or of one.

    Parameters
    ----------
    analysis : AnalysisModels
        With it, ``options`` and ``inputs`` are described in full.

    Returns
    -------
    dict
        JSON schema, draft 2020-12.
    """
    if analysis is None:
        return {"$schema": _DIALECT, **Recipe.model_json_schema()}
    fields: dict[str, Any] = {"inputs": (inputs_model(analysis), Recipe.model_fields["inputs"])}
    if analysis.options is not None:
        fields["options"] = (analysis.options, Recipe.model_fields["options"])
    model: type[BaseModel] = create_model("recipe", __base__=Recipe, **fields)
    schema = model.model_json_schema()
    schema["properties"]["analysis"] = {"const": analysis.name}
    return {"$schema": _DIALECT, **schema, "title": f"daskpar recipe of {analysis.name}"}


def profile_schema() -> dict[str, Any]:
    """Make the JSON schema of profiles of every kind."""
    schema = TypeAdapter(Profile).json_schema()
    return {"$schema": _DIALECT, "title": "daskpar profile", **schema}


def schema_name(analysis: str) -> str:
    """Name the shipped schema that fits a recipe best: its analysis's own, or that of all recipes."""
    return f"recipe-{analysis}.json" if analysis in BUILT_IN else "recipe.json"


def schema_texts() -> dict[str, str]:
    """Give the shipped files by name; a test compares them with the folder."""
    schemas = {"recipe.json": recipe_schema(), "profile.json": profile_schema()}
    for name in BUILT_IN:
        schemas[schema_name(name)] = recipe_schema(load_analysis(name))
    return {name: json.dumps(schema, indent=1) + "\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    for _name, _text in schema_texts().items():
        (FOLDER / _name).write_text(_text)
