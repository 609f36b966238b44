"""Recipes that must be refused: each with its place, what is wrong and what to do, and nothing executed."""

import os
import sys

import pytest
from bad_recipes import BAD, GOOD
from sample_analysis import NAMES, SUFFIXES, lookup

from daskpar.errors import RecipeError
from daskpar.recipe import Recipe


@pytest.mark.parametrize("name", BAD)
def test_a_bad_recipe_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, place, words = BAD[name]
    raw = text if isinstance(text, bytes) else (GOOD + text).encode()
    (tmp_path / "r.yaml").write_bytes(raw)
    modules = set(sys.modules)
    with pytest.raises(RecipeError) as refusal:
        Recipe.load("r.yaml", (), lookup, analysis_names=NAMES, suffixes=SUFFIXES)
    message = str(refusal.value)
    assert all(line.startswith("r.yaml:") and "; " in line for line in message.splitlines()), message
    assert all(fault.place for fault in refusal.value.faults)
    assert place in message
    assert words in message
    assert refusal.value.exit_code == 2
    assert os.listdir() == ["r.yaml"]
    assert set(sys.modules) - modules <= {"encodings.utf_16", "encodings.latin_1"}


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"key{i}: 1\n" for i in range(5000)),
        "options:\n" + "".join(f"  key{i}: 1\n" for i in range(5000)),
        "options: {edges: [" + "x, " * 10_000 + "]}\n",
        "outputs: [" + "a.txt, " * 10_000 + "]\n",
        "\ta: 1\n" * 10_000,
        "".join(f"{i}: 1\n" for i in range(5000)),
    ],
    ids=["keys", "options", "values", "outputs", "tabs", "numbers"],
)
def test_thousands_of_faults_stay_readable(text, tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD + text)
    with pytest.raises(RecipeError) as refusal:
        Recipe.load(tmp_path / "r.yaml", (), lookup, analysis_names=NAMES, suffixes=SUFFIXES)
    assert 1 < len(refusal.value.faults) < 160
    assert len(str(refusal.value)) < 40_000


def test_there_are_enough_of_them():
    assert len(BAD) >= 45


def test_the_good_part_is_good(tmp_path):
    (tmp_path / "r.yaml").write_text(GOOD)
    assert Recipe.load(tmp_path / "r.yaml", (), lookup, suffixes=SUFFIXES).name == "m13"


def test_all_faults_at_once_in_the_order_of_the_file(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(
        "name: m 13\n"
        "analyis: x\n"
        "analysis: image_stats\n"
        "options:\n"
        "  combine: {sigma: 0, methd: mean}\n"
        "  frame_stats: {maxiters: many}\n"
        "outputs: [../x.fits, a.txt, b.fits, b.fits]\n"
        "keep_ledger: never\n"
    )
    with pytest.raises(RecipeError) as refusal:
        Recipe.load(path, (), lookup, analysis_names=NAMES, suffixes=SUFFIXES)
    found = [(fault.place.partition(":")[0], fault.key) for fault in refusal.value.faults]
    assert found == [
        ("1", "name"),
        ("2", "analyis"),
        ("5", "options.combine.sigma"),
        ("5", "options.combine.methd"),
        ("6", "options.frame_stats.maxiters"),
        ("7", "outputs[0]"),
        ("7", "outputs[1]"),
        ("7", "outputs[3]"),
        ("8", "keep_ledger"),
    ]
