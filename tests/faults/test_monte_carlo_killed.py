"""Monte Carlo runs that are killed: the hash of an undisturbed run, and no stored block drawn again."""

import json
import time

import psutil
import pytest
import yaml

from daskpar import ledger

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

SIZE = 250
N = 70 * SIZE + 77
THREADS = 2
ENOUGH = 4  # blocks stored before a kill

TRIALS = {
    "pi": {"kind": "pi"},
    "error_propagation": {
        "kind": "error_propagation", "formula": "4 * pi * d**2 * f",
        "values": {"d": {"value": 16.5, "error": 0.9}, "f": {"value": 3.2, "error": 0.2}},
    },
    "columns": {"kind": "function", "function": "mine:columns"},
}  # fmt: skip
MODULE = """
import numpy as np


def columns(rng, n):
    return rng.standard_normal((n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])
"""
# Every process of a run notes, from outside the analysis, which blocks it begins and has stored. Where it is
# told so, it stays for ever at the block after some: that one is computed when the run is killed, whenever
# that is.
SITE = """
import itertools, os, threading, time

if os.environ.get("STAY_AFTER"):
    from daskpar import block

    original = block.BlockWork.__call__
    numbers = itertools.count()

    def call(self, durable, *arguments, **keywords):
        mark(f"begin {durable.key}")
        if next(numbers) == int(os.environ["STAY_AFTER"]):
            threading.Event().wait()
        receipt = original(self, durable, *arguments, **keywords)
        mark(f"end {durable.key}")
        return receipt

    block.BlockWork.__call__ = call
"""


def noted(count, what):
    return [line.split()[1] for line in count.lines() if line.startswith(what)]


@pytest.fixture
def write(tmp_path, count, monkeypatch):
    """Return a function that writes the recipe of a trial."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(count.source + SITE)
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "site.yaml").write_text(f"kind: local\nworkers: {THREADS}\nmemory: 1 GiB\ndashboard: false\n")
    (tmp_path / "calm.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")

    def one(name, site="site.yaml", **options):
        options = {"trial": TRIALS[name], "n_samples": N, "seed": 5, "batch_size": SIZE, **options}
        recipe = {"name": "carlo", "analysis": "monte_carlo", "options": options, "outputs": ["result.nc"]}
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        return ["run", "recipe.yaml", "-p", site, "--allow-code", "--json"]

    return one


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def kill_on_the_way(process, count):
    """SIGKILL the driver while blocks are stored and others are computed; wait until all have left."""

    def reached():
        assert process.poll() is None, f"it ended early: {process.communicate()}"
        return len(noted(count, "begin")) == THREADS * (ENOUGH + 1)

    wait_for(reached)
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.kill()
    psutil.wait_procs(family, timeout=60)
    wait_for(lambda: not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE])


def finished(done):
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pi", {"block_batches": 1}),
        ("error_propagation", {"block_batches": 1}),
        ("columns", {"block_batches": 1, "quantiles": {"exact": [0.1, 0.5]}}),
    ],
    ids=list(TRIALS),
)
def test_a_killed_run_is_resumed_to_the_hash_of_one_that_was_not(
    write, name, options, cli, start, runs, count
):
    expected = finished(cli(*write(name, "calm.yaml", **options), "--runs", "calm"))
    assert expected["blocks_total"] >= 64
    process = start(*write(name, **options), STAY_AFTER=str(ENOUGH))
    kill_on_the_way(process, count)
    (ledger_folder,) = runs.glob("*/ledger")
    stored = set(ledger.scan(ledger_folder)[0])
    begun = set(noted(count, "begin"))
    assert ENOUGH <= len(stored) < expected["blocks_total"]
    assert len(begun - stored) == THREADS
    after = finished(cli("resume", "last", "--json", STAY_AFTER="-1"))
    assert after["result_hash"] == expected["result_hash"]
    times = noted(count, "begin")
    assert {key for key in stored if times.count(key) > 1} == set()  # no stored block again
    assert len(times) - len(set(times)) == len(begun - stored)
    before = count.lines()
    assert finished(cli("resume", "last", "--json"))["result_hash"] == expected["result_hash"]
    assert count.lines() == before
