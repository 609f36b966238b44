"""Workers that crash or run out of memory, blocks that cannot fit, disks that are full."""

import json
import os
import signal

import pytest
import yaml

from daskpar import ledger

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

ITEMS = 24
MODULE = """
import os, signal, time
import numpy as np


def work(p):
    n = p["x"]
    mark(f"begin {n}")
    HOOK
    mark(f"end {n}")
    return {"square": n * n}
"""
BEGIN = ["run", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--json"]


@pytest.fixture
def write(tmp_path, count):
    """Return a function that writes a recipe whose blocks do something on their way."""

    def one(hook="pass", site="memory: 1 GiB\n", outputs=("table.ecsv",)):
        (tmp_path / "mine.py").write_text(count.source + MODULE.replace("HOOK", hook.replace("\n", "\n    ")))
        (tmp_path / "site.yaml").write_text("kind: local\nworkers: 2\ndashboard: false\n" + site)
        recipe = {
            "name": "faulty", "analysis": "map", "inputs": {"grid": {"x": list(range(ITEMS))}},
            "options": {"function": "mine:work", "items_per_block": 1}, "outputs": list(outputs),
        }  # fmt: skip
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    return one


def stored(runs):
    return {key for folder in runs.glob("*/ledger") for key in ledger.scan(folder)[0]}


def once(folder, body):
    """A hook that does something the first time it comes to item 5."""
    flag = folder / "done"
    return (
        f"if n == 5 and not os.path.exists({str(flag)!r}):\n    open({str(flag)!r}, 'w').close()\n    {body}"
    )


def test_a_segfault_costs_only_the_block(write, cli, runs, count, tmp_path):
    write(once(tmp_path, f"os.kill(os.getpid(), {int(signal.SIGSEGV)})"))
    done = cli(*BEGIN)
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["blocks_done"] == ITEMS
    ended = [line for line in count.lines() if line.startswith("end")]
    assert len(set(ended)) == ITEMS
    assert len(ended) <= ITEMS + 1  # a block that had ended, but was not yet stored when its worker died
    assert len(stored(runs)) == ITEMS


def test_a_block_that_needs_more_memory_than_a_worker_has(write, cli, runs):
    write(
        "if n == 5:\n    keep = [np.ones(25_000_000) for _ in range(3)]; time.sleep(5)", "memory: 400 MiB\n"
    )
    done = cli(*BEGIN, timeout=200)
    assert done.code == 4
    assert "ended its worker 4 times" in done.stderr
    assert "memory" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(stored(runs)) == ITEMS - 1  # the rest is saved
    write()
    assert "mine.py" in cli("resume", "last").stderr
    done = cli("resume", "last", "-p", "site.yaml", "--as-begun", "--json", timeout=200)
    assert done.code == 0, done.stderr  # with a worker of 1 GiB the same block fits


@pytest.mark.parametrize("verb", ["run", "plan", "submit"])
def test_a_block_that_cannot_fit_is_refused_before_the_start(cli, runs, tmp_path, verb):
    recipe = {
        "name": "large", "analysis": "monte_carlo", "outputs": ["pi.nc"],
        "options": {"n_samples": 200_000_000, "batch_size": 100_000_000},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (tmp_path / "site.yaml").write_text("kind: local\nworkers: 1\nmemory: 1 GiB\n")
    done = cli(verb, "recipe.yaml", "-p", "site.yaml")
    assert done.code == 2
    assert "memory: " in done.stderr
    assert "give a worker at least" in done.stderr
    assert not list(runs.glob("*"))


def test_a_full_scratch_disk_hinders_nobody_who_spills_nothing(write, cli, runs, small_disk):
    disk = small_disk("scratch", 4096)
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
    write(site=f"memory: 1 GiB\nscratch: {disk}\n")
    done = cli(*BEGIN)
    assert done.code in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    if done.code == 4:
        assert "scratch" in done.stderr or "space" in done.stderr
    # Dask leaves its empty locks.
    assert [path.name for path in disk.rglob("*") if path.is_file() and path.stat().st_size] == ["filler"]


def test_a_full_output_disk_keeps_the_old_output(write, cli, runs, small_disk):
    disk = small_disk("results", 256)
    write()
    done = cli(*BEGIN, "--output", disk)
    assert done.code == 0, done.stderr
    old = (disk / "table.ecsv").read_bytes()
    (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096))
    done = cli(*BEGIN, "--output", disk, "--overwrite")
    assert done.code == 5
    assert str(disk / "table.ecsv") in done.stderr
    assert "bytes" in done.stderr
    assert "Traceback" not in done.stderr
    assert (disk / "table.ecsv").read_bytes() == old
    assert sorted(os.listdir(disk)) == ["filler", "table.ecsv"]  # no temporary file
    (disk / "filler").unlink()
    begun = len(stored(runs))
    done = cli("resume", "last", "--json")
    assert done.code == 0, done.stderr
    assert len(stored(runs)) == begun


def test_an_output_folder_that_goes_away_is_made_again_or_named(write, cli, runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write(once(tmp_path, f"os.rmdir({str(out)!r}); open({str(out)!r}, 'w').close()"))
    done = cli(*BEGIN, "--output", out)
    assert done.code == 5
    assert str(out) in done.stderr
    assert "Traceback" not in done.stderr
    out.unlink()
    done = cli("resume", "last", "--json")
    assert done.code == 0, done.stderr
    assert (out / "table.ecsv").exists()
