"""Inputs that change while they are read, and more files than a process may open."""

import json
import os
import subprocess
import sys

import pytest
import yaml
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
