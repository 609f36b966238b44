"""Bad files and recipes on the command line: the exit code, a message with the place, nothing written."""

import hashlib
import os
import re
import sys

import pytest
from bad_files import BAD, CATALOG_READ, CATALOG_SCAN, CATALOGS, IMAGES, READ, SCAN
from bad_recipes import BAD as BAD_RECIPES
from bad_recipes import written
from processes import environment
from tally import SEED
from timed import timed, within

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SITE = "kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n"


def in_some_order(names):
    """Return names in an order that mixes the kinds, and is the same each time."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{SEED} {name}".encode()).hexdigest())


def run(folder, recipe, limit):
    """Run a recipe, which may not take longer than a limit."""
    command = [sys.executable, "-m", "daskpar", "run", recipe, "-p", "site.yaml"]
    variables = environment(DASKPAR_RUNS=str(folder / "runs"))
    return within(limit, lambda: timed(command, cwd=folder, env=variables))


def make_folder(tmp_path, number):
    folder = tmp_path / str(number)
    folder.mkdir()
    (folder / "site.yaml").write_text(SITE)
    return folder


def check(name, ended, code, begin, *words):
    """Hold that a command ended with a code, a message that begins in a way, and some words in it."""
    assert ended.code == code, f"{name}: code {ended.code}: {ended.stderr}"
    assert "Traceback" not in ended.stderr, name
    assert re.search(begin, ended.stderr, re.MULTILINE), f"{name}: {ended.stderr}"
    assert all(re.search(word, ended.stderr) for word in words), f"{name}: {ended.stderr}"


def test_bad_files(tally, tmp_path):
    images = {name: (BAD, *case, IMAGES) for name, case in (SCAN | READ).items()}
    late = {*READ, *(f"catalog: {name}" for name in CATALOG_READ)}  # what only a block can find
    catalogs = CATALOG_SCAN | CATALOG_READ
    cases = images | {f"catalog: {name}": (*case, CATALOGS) for name, case in catalogs.items()}
    order = in_some_order(cases)

    def attempt(number):
        name = order[number % len(order)]
        folder = make_folder(tmp_path, number)
        file, make, what, recipe = cases[name]
        make(folder / file)
        (folder / "recipe.yaml").write_text(recipe.format(file))
        ended = run(folder, "recipe.yaml", 5)
        check(name, ended, 3, rf"^error: \S*{re.escape(file)}", what)
        written = [path for path in folder.glob("runs/*/results/*")]
        assert written == []
        assert name in late or not (folder / "runs").exists(), f"{name}: something is written"
        return {"name": name, **ended.figures()}

    assert len(order) >= 60
    tally("bad_files").each(attempt)


def test_bad_recipes(tally, tmp_path):
    order = in_some_order(BAD_RECIPES)

    def attempt(number):
        name = order[number % len(order)]
        folder = make_folder(tmp_path, number)
        place, words = written(folder / "r.yaml", name)
        ended = run(folder, "r.yaml", 1)
        check(name, ended, 2, r"^error: \S*r\.yaml:\d+:\d+", re.escape(place), re.escape(words))
        assert sorted(os.listdir(folder)) == ["r.yaml", "site.yaml"], f"{name}: something is written"
        return {"name": name, **ended.figures()}

    assert len(order) >= 40
    tally("bad_recipes").each(attempt)
