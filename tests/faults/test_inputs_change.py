"""Inputs that change while they are read or between blocks, and more files than a process may open."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import yaml
from astropy.io import fits
from conftest import environment

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

ITEMS = 40
MODULE = """
from pathlib import Path


def work(path):
    text = Path(path).read_text().partition(chr(0))[0]
    mark(f"begin {text}")
    HOOK
    return {"number": int(text)}
"""
BEGIN = ["run", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--json"]


def write(folder, count, hook="pass", items=ITEMS, site="processes: false", **options):
    """Write a recipe over files that hold their numbers."""
    for i in range(items):
        (folder / f"data{i:04d}.txt").write_text(str(i))
    (folder / "mine.py").write_text(count.source + MODULE.replace("HOOK", hook))
    (folder / "site.yaml").write_text(f"kind: local\nworkers: 1\n{site}\ndashboard: false\n")
    recipe = {
        "name": "read", "analysis": "map", "inputs": {"files": "data*.txt"},
        "options": {"function": "mine:work", **options}, "outputs": ["table.ecsv"],
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))


# What the first block does, whichever it is: blocks run in the order of their keys, not of their items.
HOOK = """
    own, marker = Path(path), Path(MARKER)
    if not marker.exists():
        other = own.with_name("data0031.txt" if own.name == "data0030.txt" else "data0030.txt")
        target = TARGET
        marker.write_text(target.name)
        target.CHANGE
"""


@pytest.mark.parametrize("change", ["write_text('77')", "unlink()"], ids=["edited", "removed"])
@pytest.mark.parametrize("victim", ["other", "own"], ids=["before it is read", "while it is read"])
def test_an_input_that_changes_on_the_way_ends_the_run(tmp_path, cli, count, change, victim):
    marker = tmp_path / "changed"
    hook = HOOK.replace("MARKER", repr(str(marker))).replace("TARGET", victim).replace("CHANGE", change)
    write(tmp_path, count, hook.strip(), items_per_block=1)
    done = cli(*BEGIN)
    assert done.code == 3
    target = tmp_path / marker.read_text()
    assert str(target) in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/results/*"))  # never a mixture
    refused = cli("resume", "last")
    assert refused.code == 3
    found = cli("verify", "last", "--json")
    assert found.code == 3
    named = [f for f in json.loads(found.stdout)["findings"] if f["state"] == "differs"]
    assert len(named) == 1
    assert target.name in named[0]["item"]


MEMORY = 400  # MiB of the worker
WATER = """
    status = open("/proc/self/status").read().split()
    mark(f"peak {status[status.index('VmHWM:') + 1]}")
"""


def test_many_more_files_than_may_be_open_and_more_data_than_a_worker_holds(tmp_path, runs, count):
    write(tmp_path, count, WATER.strip(), 2000, f"memory: {MEMORY} MiB")
    for path in tmp_path.glob("data*.txt"):
        os.truncate(path, 1 << 20)  # zeros behind the number: five times the memory, and nothing on the disk
    limited = ["bash", "-c", 'ulimit -n 256; exec "$0" "$@"', sys.executable, "-m", "daskpar", *BEGIN]
    done = subprocess.run(
        limited, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert os.path.exists(status["outputs"][0])
    assert sum(line.startswith("begin") for line in count.lines()) == 2000
    peaks = [int(line.split()[1]) for line in count.lines() if line.startswith("peak")]
    assert len(peaks) == 2000
    assert max(peaks) < MEMORY << 10


# After so many blocks of all workers, files are written anew, in their places and of their size.
EDITING = """
import os
from pathlib import Path

from daskpar import durable
from daskpar.analyses.image_stats import partition
from daskpar.inputs import reading_plan

partition.LEAST_BAND_BYTES, reading_plan.MIN_READ = 1 << 18, 1  # small bands, which read the files themselves
original = durable.Durable.__call__


def call(self, *arguments, **keywords):
    value = original(self, *arguments, **keywords)
    mark(self.label)
    if len(open(COUNT).readlines()) >= int(os.environ.get("EDIT_AFTER", 1000)):
        try:
            open("edited", "x").close()
        except FileExistsError:
            return value
        for path in TARGETS:
            Path(path).write_bytes(Path(OTHER).read_bytes())
    return value


durable.Durable.__call__ = call
"""


def frames(folder):
    """Write frames, and another one for the place of the last; return a recipe, and what is to be changed."""
    rng = np.random.default_rng(1)
    for i in range(9):
        sky = rng.normal(1000, 30, (256, 256)).astype(np.float32)
        fits.PrimaryHDU(sky).writeto(folder / (f"frame{i}.fits" if i < 8 else "other"))
    recipe = {
        "name": "stacked", "analysis": "image_stats", "inputs": {"files": "frame*.fits"},
        "outputs": ["combined.fits", "frame_stats.ecsv"],
    }  # fmt: skip
    return recipe, ["frame7.fits"]


def catalogs(folder):
    """Write parts of a catalog, and another one for the place of each: they are read once, in any order."""
    rng = np.random.default_rng(2)
    for i in range(5):
        np.save(folder / f"part{i}.npy", rng.uniform(0, 100, (4000, 3)))
    (folder / "part4.npy").rename(folder / "other")
    recipe = {
        "name": "pairs", "analysis": "pair_counts", "inputs": {"files": "part*.npy"},
        "options": {"edges": [1, 5, 10], "estimator": None}, "outputs": ["pairs.ecsv"],
    }  # fmt: skip
    return recipe, [f"part{i}.npy" for i in range(4)]


@pytest.fixture
def edited(tmp_path, count, monkeypatch):
    """Return a function that writes the input of a kind, which any worker process changes on the way."""

    def write(kind):
        recipe, names = kind(tmp_path)
        text = EDITING.replace("COUNT", repr(str(count.path))).replace("OTHER", repr(str(tmp_path / "other")))
        text = text.replace('"edited"', repr(str(tmp_path / "edited")))
        text = text.replace("TARGETS", repr([str(tmp_path / name) for name in names]))
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(count.source + text)
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (tmp_path / "site.yaml").write_text("kind: local\nworkers: 2\nmemory: 1 GiB\ndashboard: false\n")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
        return names

    return write


@pytest.mark.parametrize(
    ("kind", "after"), [(frames, 2), (frames, 12), (catalogs, 1)], ids=["early", "late", "catalog"]
)
def test_files_that_change_between_blocks_of_processes_end_the_run(tmp_path, cli, edited, kind, after):
    names = edited(kind)
    done = cli("run", "recipe.yaml", "-p", "site.yaml", EDIT_AFTER=str(after))
    assert (tmp_path / "edited").exists()
    assert done.code == 3, done.stderr
    said = rf"^error: {tmp_path}/({'|'.join(names)})\S*: the file changed since it was scanned"
    assert re.search(said, done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("runs/*/results/*"))
    assert cli("resume", "last").code == 3  # what is stored is of the old files


def test_a_catalog_that_changes_when_it_was_read_leaves_the_result_as_it_was(tmp_path, cli, count, edited):
    edited(catalogs)
    expected = cli("run", "recipe.yaml", "-p", "site.yaml", "--json", "--set", "name=quiet")
    assert expected.code == 0, expected.stderr
    count.clear()
    done = cli("run", "recipe.yaml", "-p", "site.yaml", "--json", EDIT_AFTER="5")
    assert (tmp_path / "edited").exists()
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["result_hash"] == json.loads(expected.stdout)["result_hash"]
