"""Modules of users: two folders may have one of the same name, and a file may change between two runs."""

import importlib
import sys

import pytest
import yaml

import daskpar
from daskpar.analysis import load_code
from daskpar.errors import AnalysisError
from daskpar.user_modules import put_first

MODULES = {"same_name", "asks", "helps", "changes", "its_part", "a_package", "in_use", "of_run"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in MODULES]:
        del sys.modules[name]


def folder(path, **modules):
    path.mkdir(exist_ok=True)
    for name, text in modules.items():
        (path / f"{name}.py").write_text(text)
    return path


def test_each_folder_has_its_own_module(tmp_path):
    for name in ("one", "two", "one"):
        put_first(folder(tmp_path / name, same_name=f"def work():\n    return {name!r}\n"))
        assert load_code("same_name:work")() == name


def test_a_module_beside_is_the_right_one_too(tmp_path):
    for name in ("one", "two"):
        helper = f"name = {name!r}\n"
        put_first(folder(tmp_path / name, asks="import helps\nanswer = helps.name\n", helps=helper))
        assert load_code("asks:answer") == name


def test_what_changed_is_imported_again(tmp_path):
    put_first(
        folder(tmp_path, changes="import its_part\ndef work():\n    return its_part.n\n", its_part="n = 1\n")
    )
    first = load_code("changes:work")
    put_first(tmp_path)
    assert load_code("changes:work") is first  # nothing changed
    folder(tmp_path, its_part="n = 22\n")
    put_first(tmp_path)
    assert load_code("changes:work")() == 22


def test_a_package_is_a_module(tmp_path):
    for name in ("one", "two"):
        package = folder(folder(tmp_path / name) / "a_package", __init__="", part=f"name = {name!r}\n")
        put_first(package.parent)
        assert load_code("a_package.part:name") == name


def test_a_module_in_use_is_not_taken_for_another(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(folder(tmp_path / "elsewhere", in_use="work = abs\n"))
    module = importlib.import_module("in_use")
    put_first(folder(tmp_path / "recipe", in_use="work = len\n"))
    with pytest.raises(AnalysisError, match=r"elsewhere.*name of its own"):
        load_code("in_use:work")
    assert sys.modules["in_use"] is module
    put_first(folder(tmp_path / "recipe", in_use="work = abs\n"))  # a copy, as a run keeps one
    assert load_code("in_use:work") is abs


def test_two_runs_in_one_process(tmp_path):
    for number in (1, 2):
        here = folder(
            tmp_path / str(number), of_run=f"def work(p):\n    return {{'y': {number}7 + p['x']}}\n"
        )
        recipe = {
            "name": "r", "analysis": "map", "inputs": {"grid": {"x": [1, 2]}},
            "options": {"function": "of_run:work"}, "outputs": ["table.ecsv"],
        }  # fmt: skip
        (here / "r.yaml").write_text(yaml.safe_dump(recipe))
        (here / "p.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
        result = daskpar.run(here / "r.yaml", here / "p.yaml", allow_code=True, runs=tmp_path / "runs")
        assert [f"{number}8", f"{number}9"] == [
            line.split()[-1] for line in result.outputs[0].read_text().splitlines()[-2:]
        ]
