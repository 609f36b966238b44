"""Every recipe and profile that ships is valid, and every recipe runs."""

import json

import pytest
from conftest import ROOT
from ruamel.yaml import YAML

from daskpar.profile import KINDS
from daskpar.settings.profile_lookup import example_profile, load_profile

RECIPES = sorted((ROOT / "recipes").iterdir())
PROFILES = sorted((ROOT / "conf").glob("*.yaml"))
SCHEMA_LINE = "# yaml-language-server: $schema="


def schema_of(path):
    """The JSON schema that a file names for editors."""
    first = path.read_text().splitlines()[0]
    assert first.startswith(SCHEMA_LINE), f"{path.name} names no schema"
    return json.loads((path.parent / first.removeprefix(SCHEMA_LINE)).read_text())


@pytest.mark.parametrize("path", RECIPES + PROFILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_schema_that_editors_use(path):
    schema, data = schema_of(path), YAML(typ="safe").load(path)
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    jsonschema.Draft202012Validator(schema).validate(data)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.name)
def test_profiles(path):
    assert load_profile(path).kind in KINDS
    assert example_profile(path.stem) == path
    assert example_profile("nowhere") is None


@pytest.mark.timeout(600)  # the first run of an analysis on a machine compiles its kernels
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes(path, cli):
    done = cli("validate", path, "-p", "local", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == []
    done = cli("run", path, "--json", timeout=500)
    assert done.code == 0, done.stderr
    status = json.loads(done.stdout)
    assert status["state"] == "done"
    assert status["blocks_done"] == status["blocks_total"] > 1
    assert len(status["outputs"]) == len(YAML(typ="safe").load(path)["outputs"])


def test_starters_are_valid(cli, tmp_path):
    for analysis in ("image_stats", "map"):
        done = cli("init", analysis)
        assert done.code == 0, done.stderr
        assert cli("init", analysis).code == 2, "an existing file is not replaced"
        text = (tmp_path / f"{analysis}.yaml").read_text()
        assert text.startswith(SCHEMA_LINE)
    assert cli("validate", "image_stats.yaml").code == 0
