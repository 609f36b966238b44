"""Bad files and recipes on the command line: the exit code, a message with the place, nothing written."""

import os
import re
import resource
import subprocess
import sys
import time

import pytest
from bad_files import BAD, READ, SCAN
from bad_recipes import BAD as BAD_RECIPES
from bad_recipes import GOOD
from processes import environment
from tally import SEED

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

RECIPE = f"name: bad\nanalysis: image_stats\ninputs: {{files: {BAD}}}\noutputs: [combined.fits]\n"
SITE = "kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n"


def in_some_order(names):
    """Return names in an order that mixes the kinds, and is the same each time."""
    return sorted(names, key=lambda name: hash_of(name))


def hash_of(name):
    import hashlib

    return hashlib.sha256(f"{SEED} {name}".encode()).hexdigest()


def run(folder, recipe):
    """Run a recipe; return exit code, message, seconds of wall clock and of CPU."""
    clock, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "daskpar", "run", recipe, "-p", "site.yaml"], cwd=folder, timeout=60,
        env=environment(DASKPAR_RUNS=str(folder / "runs")), capture_output=True, text=True, check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.returncode, done.stderr, {"wall": round(time.monotonic() - clock, 2), "cpu": round(cpu, 2)}


def make_folder(tmp_path, number):
    folder = tmp_path / str(number)
    folder.mkdir()
    (folder / "site.yaml").write_text(SITE)
    return folder


def check(name, seen, code, place, figures, limit):
    """Compare how a command ended with how it should; CPU time, for the machine may do other things, too."""
    assert seen[0] == code, f"{name}: code {seen[0]}: {seen[1]}"
    assert "Traceback" not in seen[1], name
    assert re.search(place, seen[1], re.MULTILINE), f"{name}: {seen[1]}"
    assert figures["cpu"] <= limit, f"{name}: {figures}"


def test_bad_files(tally, tmp_path):
    cases = SCAN | READ
    order = in_some_order(cases)

    def attempt(number):
        name = order[number % len(order)]
        folder = make_folder(tmp_path, number)
        cases[name][0](folder / BAD)
        (folder / "recipe.yaml").write_text(RECIPE)
        *seen, figures = run(folder, "recipe.yaml")
        check(name, seen, 3, rf"^error: \S*{re.escape(BAD)}", figures, 5)
        written = [path for path in folder.glob("runs/*/results/*")]
        assert written == []
        assert name in READ or not (folder / "runs").exists(), f"{name}: something is written"
        return {"name": name, **figures}

    assert len(order) >= 60
    tally("bad_files").each(attempt)


def test_bad_recipes(tally, tmp_path):
    order = in_some_order(BAD_RECIPES)

    def attempt(number):
        name = order[number % len(order)]
        folder = make_folder(tmp_path, number)
        text = BAD_RECIPES[name][0]
        (folder / "r.yaml").write_bytes(text if isinstance(text, bytes) else (GOOD + text).encode())
        *seen, figures = run(folder, "r.yaml")
        check(name, seen, 2, r"^error: \S*r\.yaml:\d+:\d+", figures, 1)
        assert sorted(os.listdir(folder)) == ["r.yaml", "site.yaml"], f"{name}: something is written"
        return {"name": name, **figures}

    assert len(order) >= 40
    tally("bad_recipes").each(attempt)
