"""Workers that crash or run out of memory, blocks that cannot fit, disks that are full."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import yaml
from conftest import environment
from processes import AS_USER

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
    held = re.search(r"held up to (\d+) MB after other blocks, a worker has 420 MB\)", done.stderr)
    assert held, done.stderr
    assert 20 < int(held[1]) < 420
    assert "Traceback" not in done.stderr
    assert len(stored(runs)) == ITEMS - 1  # the rest is saved
    write()
    assert "mine.py" in cli("resume", "last").stderr
    done = cli("resume", "last", "-p", "site.yaml", "--as-begun", "--json", timeout=200)
    assert done.code == 0, done.stderr  # with a worker of 1 GiB the same block fits


def test_a_block_that_runs_out_of_memory_once_changes_no_bit(write, cli, runs, count, tmp_path):
    """Six arrays of 100 MB in a worker of 400 MiB; whoever comes next finds the flag and goes on."""
    hook = once(tmp_path, "keep = [np.ones(12_500_000) for _ in range(6)]; time.sleep(60)")
    write(hook, "memory: 400 MiB\n")
    done = cli(*BEGIN, timeout=200)
    assert done.code == 0, done.stderr
    assert count.lines().count("begin 5") == 2  # the first time its worker died
    assert count.lines().count("end 5") == 1
    calm = cli(*BEGIN)  # the flag stands
    assert calm.code == 0, calm.stderr
    assert json.loads(done.stdout)["result_hash"] == json.loads(calm.stdout)["result_hash"]


LYING = """
import os
import signal

import dask.array as da
import numpy as np
import xarray as xr

from daskpar.analysis import Analysis


def crash(block_id):
    os.kill(os.getpid(), signal.SIGSEGV)


def build(files, options):
    level = da.map_blocks(crash, chunks=((1,),), dtype=float, meta=np.empty(0))
    return xr.Dataset({"level": ("y", level)})


ANALYSIS = Analysis(build=build, cost=lambda files, options: {"task_memory_bytes": 150_000_000})
"""


def test_a_crash_names_what_the_analysis_said_of_its_blocks(cli, tmp_path):
    """A segfault may be either: what a block needs and a worker has is told, too."""
    (tmp_path / "mine.py").write_text(LYING)
    (tmp_path / "data.txt").write_text("data")
    recipe = "name: lying\nanalysis: mine:ANALYSIS\ninputs: {files: data.txt}\noutputs: [level.ecsv]\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "site.yaml").write_text("kind: local\nworkers: 1\nmemory: 400 MB\ndashboard: false\n")
    done = cli(*BEGIN, timeout=200)
    assert done.code == 4, done.stderr
    assert "its blocks need about 150 MB at a time, a worker has 400 MB)" in done.stderr
    assert "crash in compiled code" in done.stderr


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


def test_a_worker_whose_memory_is_full_of_what_nothing_frees(write, cli, count):
    """dask pauses it at 80 %; no result could move to its disk, and none of its blocks waits for that."""
    held = "4096 * int(open('/proc/self/statm').read().split()[1])"
    keep = f"work.kept = np.ones((int(0.87 * (400 << 20)) - {held}) // 8)"
    write(f"if not hasattr(work, 'kept'):\n    {keep}\n    time.sleep(0.5)", "memory: 400 MiB\n")
    done = cli(*BEGIN)
    assert done.code == 0, done.stderr
    assert len(count.lines()) == 2 * ITEMS  # and no worker ended
    assert json.loads(done.stdout)["blocks_done"] == ITEMS


# A chunk takes as long as it takes to see that the memory grows: a worker that fills up between two looks is
# killed before it has tried to spill.
SPILLING = """
import time

import dask.array as da
import numpy as np
import xarray as xr

from daskpar.analysis import Analysis


def level(block_id):
    time.sleep(0.1)
    return np.full((1, 1_500_000), float(block_id[0]))


def build(files, options):
    image = da.map_blocks(level, chunks=((1,) * 80, (1_500_000,)), dtype=float, meta=np.empty((0, 0)))
    return xr.Dataset({"level": ("y", (image - image.mean()).max(axis=1))})


ANALYSIS = Analysis(build=build)
"""


def test_a_full_scratch_disk_ends_a_run_that_must_spill(cli, runs, tmp_path, small_disk):
    """All of an image is needed twice, more than the worker holds; how long it is waited for is shortened."""
    disk = small_disk("scratch", 4096)
    (tmp_path / "mine.py").write_text(SPILLING)
    (tmp_path / "data.txt").write_text("data")
    recipe = "name: spill\nanalysis: mine:ANALYSIS\ninputs: {files: data.txt}\noutputs: [level.ecsv]\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    site = f"kind: local\nworkers: 1\nmemory: 400 MiB\ndashboard: false\nscratch: {disk}\n"
    (tmp_path / "site.yaml").write_text(site)
    (tmp_path / "sitecustomize.py").write_text(
        "from daskpar.clusters import settings\n"
        "settings.CONFIG['distributed.scheduler.no-workers-timeout'] = '5s'\n"
    )
    done = cli(*BEGIN, PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    assert done.code == 4, done.stderr
    assert done.stderr.count("scratch folder with more space") == 1
    assert "Traceback" not in done.stderr


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


@pytest.mark.parametrize("change", ["os.rmdir({0!r}); open({0!r}, 'w').close()", "os.chmod({0!r}, 0o555)"])
def test_an_output_folder_that_goes_away_or_may_not_be_written(write, cli, runs, tmp_path, change):
    out = tmp_path / "out"
    out.mkdir()
    write(once(tmp_path, change.format(str(out))), "processes: false\n")
    command = [*AS_USER, sys.executable, "-m", "daskpar", *BEGIN, "--output", str(out)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 5, done.stderr
    assert str(out) in done.stderr
    assert "Traceback" not in done.stderr
    if out.is_dir():
        assert os.listdir(out) == []
        out.chmod(0o755)
    else:
        out.unlink()
    done = cli("resume", "last", "--json")
    assert done.code == 0, done.stderr
    assert (out / "table.ecsv").exists()
