"""Starter recipes and JSON schemas, both made from the models."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from pydantic import BaseModel, ConfigDict, Field
from sample_analysis import ANALYSIS, SUFFIXES

from daskpar.analysis import BUILT_IN, load_analysis
from daskpar.errors import AnalysisError
from daskpar.recipe import Recipe
from daskpar.settings.schema import FOLDER, profile_schema, recipe_schema, schema_texts
from daskpar.settings.starter import starter
from daskpar.settings.strict_yaml import parse_yaml


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Frames(_Settings):
    frames: int = Field(16, gt=0, description="Number of frames")
    seed: int = Field(1, ge=0, description="Same seed, same data")


class Images(_Settings):
    files: str | tuple[str, ...] | None = Field(None, description="FITS files", examples=["data/*.fits"])
    synthetic: Frames | None = Field(None, description="Seeded frames of stars and sky")
    hdu: int | str | None = Field(None, description="HDU to read; null: the first image")


class Needed(_Settings):
    function: str = Field(description="module:name", examples=["mylab.flats:level"])


class Nothing(_Settings):
    pass


def analysis(options=ANALYSIS.options, inputs=None):
    return SimpleNamespace(name="image_stats", options=options, inputs=inputs)


@pytest.mark.parametrize("inputs", [None, Images, Nothing, Frames])
@pytest.mark.parametrize("options", [None, ANALYSIS.options, Needed, Nothing])
def test_a_starter_is_valid_as_it_stands(options, inputs):
    one = analysis(options, inputs)
    data = parse_yaml(starter(one, ["combined.fits"])).data
    recipe = Recipe.from_data(data, lambda name: one, suffixes=SUFFIXES)
    assert recipe.outputs == ("combined.fits",)


def test_a_starter_writes_the_defaults():
    data = parse_yaml(starter(analysis(inputs=Images))).data
    bare = Recipe.from_data(
        {"name": "image_stats", "analysis": "image_stats", "inputs": {"synthetic": {}}},
        lambda name: analysis(inputs=Images),
    )
    assert Recipe.from_data(data, lambda name: analysis(inputs=Images)).digest() == bare.digest()


@pytest.mark.parametrize("name", BUILT_IN)
def test_starters_of_the_built_in_analyses(name):
    text = starter(name)
    assert text.startswith(f"# yaml-language-server: $schema={FOLDER / f'recipe-{name}.json'}\n")
    assert Recipe.from_data(parse_yaml(text).data, load_analysis).analysis == name


def test_a_record_may_name_its_outputs():
    one = SimpleNamespace(name="a", options=None, inputs=None, outputs=("table.ecsv",))
    assert "outputs: [table.ecsv]\n" in starter(one)
    assert "outputs: []\n" in starter(one, [])


def test_a_starter_says_what_is_allowed():
    text = starter(analysis(inputs=Images), schema="../recipe.json")
    for line in (
        "# yaml-language-server: $schema=../recipe.json",
        "  synthetic:",
        "    # Number of frames (a whole number above 0)",
        "    frames: 16",
        "  # files: data/*.fits",
        "  # The combined image; null: none",
        "  combine: null",
        "  #   # How to combine (one of mean, median, sum)",
        "  #   method: mean",
        "    # Most rounds of rejection (a whole number at least 1, or null)",
    ):
        assert line in text.splitlines(), text


def test_what_a_starter_comments_out_is_valid_too():
    text = starter(analysis(inputs=Images))
    text = text.replace("  combine: null\n", "").replace("  # combine:\n", "  combine:\n")
    text = text.replace("\n  #   ", "\n    ")
    recipe = Recipe.from_data(parse_yaml(text).data, lambda name: analysis(inputs=Images))
    assert recipe.options["combine"]["method"] == "mean"


def test_an_option_without_default_and_example_is_reported():
    class Bare(_Settings):
        function: str

    with pytest.raises(AnalysisError, match="option 'function' has neither a default nor an example"):
        starter(analysis(Bare))


def test_shipped_schemas_are_those_of_the_models():
    assert {file.name: file.read_text() for file in FOLDER.glob("*.json")} == schema_texts()


def test_schema_of_one_analysis():
    schema = recipe_schema(analysis(inputs=Images))
    assert schema["properties"]["analysis"] == {"const": "image_stats"}
    assert "Combine" in schema["$defs"]
    assert "Images" in schema["$defs"]
    assert "Frames" in schema["$defs"]
    own = recipe_schema(analysis(None, Frames))
    assert {"files", "grid", "synthetic", "seed"} <= set(own["$defs"]["image_stats_inputs"]["properties"])
    json.dumps([schema, own])


def test_the_schema_of_profiles_knows_every_kind():
    schema = profile_schema()
    assert set(schema["discriminator"]["mapping"]) == {"local", "slurm", "mpi", "class", "address"}
    assert all(
        one["additionalProperties"] is False for one in schema["$defs"].values() if "properties" in one
    )


def test_settings_load_without_the_heavy_packages():
    code = (
        "import sys, daskpar.recipe, daskpar.settings.profile_lookup\n"
        "import daskpar.settings.starter, daskpar.settings.input_paths\n"
        "print(sorted({'numpy', 'dask', 'distributed', 'numba', 'astropy', 'xarray', 'bokeh', 'scipy'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
