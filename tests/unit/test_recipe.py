"""Recipes: loading, --set, defaults, the canonical text and the digest."""

import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict, ValidationError
from sample_analysis import ANALYSIS, NAMES, SUFFIXES, lookup

from daskpar.analysis import analysis_names, load_analysis
from daskpar.errors import Fault, InputError, RecipeError
from daskpar.outputs.names import FORMATS
from daskpar.recipe import Recipe, difference
from daskpar.settings.schema import schema_name

RECIPES = Path(__file__).parents[2] / "recipes"

TEXT = """\
name: m13
analysis: image_stats
inputs:
  files: [data/a.fits, "data:night1/*.fits"]
options:
  combine: {method: median, sigma: 2}
outputs: [combined.fits, plots/preview.png]
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "m13.yaml"
    file.write_text(TEXT)
    return file


def load(path, *overrides):
    return Recipe.load(path, overrides, lookup, analysis_names=NAMES, suffixes=SUFFIXES)


def refused(path, *overrides):
    with pytest.raises(RecipeError) as refusal:
        load(path, *overrides)
    return [str(fault) for fault in refusal.value.faults]


def test_defaults_are_filled_in(path):
    recipe = load(path)
    assert recipe.options == {
        "frame_stats": {"sigma": 3.0, "maxiters": 5},
        "combine": {"sigma": 2.0, "maxiters": 5, "method": "median", "weights": False},
        "edges": [0.0, 1.0],
    }
    assert recipe.inputs == {"files": ["data/a.fits", "data:night1/*.fits"]}
    assert recipe.outputs == ("combined.fits", "plots/preview.png")
    assert recipe.keep_ledger == "always"
    assert recipe.folder == path.parent
    assert ANALYSIS.options.model_validate(recipe.options).combine.sigma == 2


def test_without_an_analysis_options_stand_as_they_are(path):
    assert Recipe.load(path).options == {"combine": {"method": "median", "sigma": 2}}


def test_a_recipe_does_not_change(path):
    with pytest.raises(ValidationError):
        load(path).name = "m14"


def test_the_text_is_canonical(path, tmp_path):
    recipe = load(path)
    again = tmp_path / "resolved.yaml"
    again.write_text(recipe.dump())
    back = Recipe.load(again, (), lookup, folder="/data")
    assert back.dump() == recipe.dump()
    assert back.digest() == recipe.digest()
    assert str(back.folder) == "/data"
    assert pickle.loads(pickle.dumps(recipe)).folder == recipe.folder


def test_the_digest_follows_the_meaning_not_the_notation(path, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(
        "outputs: [combined.fits, plots/preview.png]  # order of keys and comments do not matter\n"
        "options: {combine: {sigma: 2.0, method: median, maxiters: 5}}\n"
        'inputs: {files: ["data/a.fits", "data:night1/*.fits"]}\n'
        "analysis: image_stats\nname: m13\n"
    )
    assert load(other).digest() == load(path).digest()
    assert load(path, "options.combine.sigma=2.5").digest() != load(path).digest()


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        (
            "options.combine.sigma=3",
            "combine",
            {"sigma": 3.0, "maxiters": 5, "method": "median", "weights": False},
        ),
        ("options.edges=[1, 2, 4]", "edges", [1.0, 2.0, 4.0]),
        ("options.combine=null", "combine", None),
        ("options.frame_stats.maxiters=null", "frame_stats", {"sigma": 3.0, "maxiters": None}),
    ],
)
def test_set(path, assignment, key, value):
    assert load(path, assignment).options[key] == value


def test_later_settings_win_and_the_file_is_untouched(path):
    recipe = load(path, "name=a", "name=b", "outputs=[x.fits]", "keep_ledger=until_done")
    assert (recipe.name, recipe.outputs, recipe.keep_ledger) == ("b", ("x.fits",), "until_done")
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("options.combine.sigma=three", "--set options.combine.sigma: 'three' is not a number"),
        ("options.combine.sigm=3", "--set options.combine.sigm: unknown key 'sigm'; did you mean 'sigma'?"),
        (
            "options.combine={sigm: 3}",
            "--set options.combine.sigm: unknown key 'sigm'; did you mean 'sigma'?",
        ),
        ("options.combine.weights=yes", "--set options.combine.weights: 'yes' is a text here; write true or"),
        ("options.combine.sigma=", "--set options.combine.sigma: has no value"),
        ("options.combine.sigma=[1", "--set options.combine.sigma: a quote or bracket is not closed"),
        ("options.combine.sigma=!!int 3", "--set options.combine.sigma: the tag"),
        ("options.combine.sigma=1\n2", "--set options.combine.sigma: has no value on its line"),
        (
            "options.combine.sigma.x=1",
            "--set options.combine.sigma.x: stands below a value that is no mapping",
        ),
        ("options.combine.sigma", "--set: 'options.combine.sigma' is not of the form key=value"),
        ("=3", "--set: '=3' is not of the form"),
        ("a..b=3", "--set: 'a..b=3' is not of the form"),
        (
            "analysis=image_stat",
            "--set analysis: there is no analysis 'image_stat'; did you mean 'image_stats'?",
        ),
        ("outputs=[a.txt]", "--set outputs[0]: 'a.txt' has no known suffix"),
        ("name=01", "--set name: 01 begins with a zero"),
        ("name=a # b", "--set name: "),
    ],
)
def test_a_wrong_set_names_itself(path, assignment, message):
    faults = refused(path, assignment)
    assert len(faults) == 1
    assert faults[0].startswith(message)


def test_later_faults_are_given_their_place(path):
    recipe = load(path, "options.combine.sigma=3")
    error = InputError(
        faults=[
            Fault("no file matches", key="inputs.files[1]"),
            Fault("is too small", key="options.combine.sigma"),
            Fault("has no HDU 2", path="a.fits", key="NAXIS"),
            Fault("is gone"),
        ]
    )
    placed = pickle.loads(pickle.dumps(recipe)).located(error)
    assert type(placed) is InputError
    assert str(placed).splitlines() == [
        f"{path}:4:24 inputs.files[1]: no file matches",
        "--set options.combine.sigma: is too small",
        "a.fits NAXIS: has no HDU 2",
        "is gone",
    ]


def test_an_analysis_without_options(path):
    def bare(name):
        return SimpleNamespace(name=name, options=None, inputs=None)

    with pytest.raises(RecipeError, match=r"m13.yaml:6:3 options.combine: image_stats has no options"):
        Recipe.load(path, (), bare)


class _Own(BaseModel):
    model_config = ConfigDict(extra="forbid")
    hdu: int = 0


class _Whole(_Own):
    files: str


class _Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


@pytest.mark.parametrize(
    ("model", "inputs", "resolved"),
    [
        (None, {"files": "x"}, {"files": "x"}),
        (None, {"grid": {"a": [1, 2]}}, {"grid": {"a": [1, 2]}}),
        (_Own, {"files": ["x"], "hdu": 1}, {"files": ["x"], "hdu": 1}),
        (_Own, {"synthetic": {"n": 1}}, {"synthetic": {"n": 1}, "hdu": 0}),
        (_Whole, {"files": "x"}, {"files": "x", "hdu": 0}),
        (_Nothing, {}, {}),
    ],
)
def test_inputs_of_an_analysis(model, inputs, resolved):
    analysis = SimpleNamespace(name="a", options=None, inputs=model)
    recipe = Recipe.from_data({"name": "a", "analysis": "a", "inputs": inputs}, lambda name: analysis)
    assert recipe.inputs == resolved


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(_Whole, {"grid": {}}), (_Nothing, {"files": "x"}), (_Own, {"hdus": 1, "file": "x"})],
)
def test_inputs_an_analysis_does_not_know(model, inputs):
    analysis = SimpleNamespace(name="a", options=None, inputs=model)
    with pytest.raises(RecipeError, match="unknown key"):
        Recipe.from_data({"name": "a", "analysis": "a", "inputs": inputs}, lambda name: analysis)


def test_what_changed(path):
    old = load(path)
    new = load(path, "options.combine.sigma=3", "name=m14", "options.frame_stats.maxiters=null")
    assert difference(old, new) == [
        'name: "m13" -> "m14"',
        "options.combine.sigma: 2.0 -> 3.0",
        "options.frame_stats.maxiters: 5 -> null",
    ]
    assert difference(old, old.data()) == []
    assert difference({"a": {"b": 1}, "c": float("nan")}, {"a": {"d": 2}, "c": float("nan")}) == [
        "a.b: removed, was 1",
        "a.d: added, 2",
    ]


def test_a_mapping_may_hold_paths_and_arrays():
    data = {
        "name": "a",
        "analysis": "image_stats",
        "inputs": {"files": (Path("a.fits"), "b.fits")},
        "options": {"edges": np.array([1.0, 2.0]), "frame_stats": {"maxiters": np.int64(3)}},
    }
    recipe = Recipe.from_data(data, lookup)
    assert recipe.inputs == {"files": ["a.fits", "b.fits"]}
    assert recipe.options["edges"] == [1.0, 2.0]
    assert recipe.options["frame_stats"]["maxiters"] == 3


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", print])
def test_a_mapping_that_no_file_can_hold(value):
    with pytest.raises(RecipeError, match="what no file can hold"):
        Recipe.from_data({"name": "a", "analysis": "image_stats", "options": {"edges": value}}, lookup)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes(recipe):
    loaded = Recipe.load(recipe, (), load_analysis, analysis_names=analysis_names(), suffixes=FORMATS)
    assert Recipe.from_data(loaded.data(), load_analysis, suffixes=FORMATS).digest() == loaded.digest()
    hint = recipe.read_text().splitlines()[0]
    assert hint == f"# yaml-language-server: $schema=../daskpar/schemas/{schema_name(loaded.analysis)}"


@pytest.mark.parametrize(
    "name", ["os;ls", "../x", "a b", "a:", ":b", "a..b", "a:b:c", "a" * 300, 3, None, ["a"]]
)
def test_nothing_is_looked_up_by_a_name_that_is_none(name):
    def never(name):
        raise AssertionError(name)

    with pytest.raises(RecipeError, match="analysis"):
        Recipe.from_data({"name": "a", "analysis": name}, never)
