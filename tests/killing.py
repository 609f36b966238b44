"""Runs to be killed: recipes whose blocks note what they do in a file of the workers, and the killing.

Shared by the tests of faults and by the long tests.
"""

import collections
import contextlib
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from astropy.io import fits
from processes import ROOT, Count, environment

from daskpar import ledger

BLOCKS = 64
SECONDS = 0.2  # a block takes in the long tests
BRIEF = 0.1  # and in the others: enough to be hit while it is computed
THREADS = 2
ENOUGH = 4  # blocks stored before a kill

PROFILE = f"kind: local\nworkers: {THREADS}\nmemory: 1 GiB\ndashboard: false\n"
CALM = "kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n"

# How long a block takes. A command for which nothing has to be waited for gets PAUSE=0 in its environment,
# and HOLD where its driver is killed: once enough is stored, its workers stay in their blocks until then.
WAITING = """
def pause(seconds):
    import time
    time.sleep(float(os.environ.get("PAUSE", seconds)))
    while "HOLD" in os.environ and sum(line.startswith("end") for line in open(PATH)) > ENOUGH:
        time.sleep(0.05)
"""
MAP_MODULE = """
import time
def measure(p):
    mark(f"begin {p['x']}")
    pause(SECONDS)
    HOOK(p["x"])
    mark(f"end {p['x']}")
    return {"square": p["x"] ** 2 / 7, "name": f"n{p['x']}"}
"""
MAP_RECIPE = """
name: mapped
analysis: map
inputs:
  grid:
    x: [{numbers}]
options: {{function: "mine:measure", items_per_block: 1}}
outputs: [table.ecsv]
"""

# A user's own analysis, in less than 30 lines and without any durable node.
PLUGIN_MODULE = """
import time

import dask.array as da
import numpy as np
import xarray as xr

from daskpar.analysis import Analysis


def chunk(block_id):
    mark(f"begin {block_id[0]}")
    pause(SECONDS)
    HOOK(block_id[0])
    mark(f"end {block_id[0]}")
    return np.arange(4.0)[None] / (block_id[0] + 1)


def build(files, options):
    image = da.map_blocks(
        lambda block_id: chunk(block_id), chunks=((1,) * BLOCKS, (4,)), dtype=float, meta=np.empty((0, 0))
    )
    return xr.Dataset({"image": (("y", "x"), image)})


ANALYSIS = Analysis(build=build)
"""
PLUGIN_RECIPE = """
name: plugged
analysis: mine:ANALYSIS
inputs: {{files: data.txt}}
outputs: [image.fits]
"""
IMAGE_RECIPE = """
name: stacked
analysis: image_stats
inputs: {files: "frame*.fits"}
options:
  frame_stats: {sigma: 3}
  combine: {method: mean, rejection: sigma_clip}
outputs: [combined.fits, frame_stats.ecsv]
"""
IMAGE_SITE = """
import time

from daskpar import durable

original = durable.Durable.__call__


def call(self, *arguments, **keywords):
    mark(f"begin {self.key}")
    pause(SECONDS)
    HOOK(len(open(COUNT).readlines()))
    value = original(self, *arguments, **keywords)
    mark(f"end {self.key}")
    return value


durable.Durable.__call__ = call
"""
# Few frames of few pixels make as many blocks as the other cases have.
SMALL_BLOCKS = """
from daskpar.analyses.image_stats import partition

partition.LEAST_BAND_BYTES = 4 << 20
"""
MODULES = {"map": (MAP_MODULE, MAP_RECIPE), "plugin": (PLUGIN_MODULE, PLUGIN_RECIPE)}


class Case:
    """A recipe with code of the user's, whose blocks do something in the middle."""

    def __init__(self, kind, folder, count, blocks=BLOCKS, seconds=BRIEF):
        self.kind, self.folder, self.count, self.blocks, self.seconds = kind, folder, count, blocks, seconds
        self.module, recipe = MODULES[kind]
        (folder / "data.txt").write_text("data")
        (folder / "site.yaml").write_text(PROFILE)
        (folder / "recipe.yaml").write_text(recipe.format(numbers=", ".join(map(str, range(blocks)))))
        self.write()

    def write(self, hook="pass"):
        """Write the module; `hook` runs in the middle of each block, `n` being its number."""
        text = self.module.replace("SECONDS", str(self.seconds)).replace("BLOCKS", str(self.blocks))
        body = f"def HOOK(n):\n    import os, signal, time\n    {hook}\n"
        (self.folder / "mine.py").write_text(self.source + body + text)

    @property
    def source(self):
        """What blocks use, as text."""
        waiting = WAITING.replace("PATH", repr(str(self.count.path))).replace("ENOUGH", str(ENOUGH))
        return self.count.source + waiting

    @property
    def begin(self):
        return ["run", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--json"]

    def begun(self):
        return self.executions("begin")

    def executions(self, what):
        """How often each block came to that point."""
        return collections.Counter(line.split()[1] for line in self.count.lines() if line.startswith(what))


class ImageCase(Case):
    """Image statistics as they are; each worker process counts and slows its blocks from the outside."""

    def __init__(self, folder, count, zipped=False):
        self.kind = "staged image" if zipped else "image"
        self.folder, self.count, self.seconds = folder, count, BRIEF
        rng = np.random.default_rng(0)
        sky = rng.integers(900, 1100, (1024, 1024)).astype(np.uint16)
        for i in range(64):
            name = folder / f"frame{i:02d}.fits"
            fits.PrimaryHDU(np.roll(sky, 37 * i)).writeto(name)
            if zipped:
                # Level 0: nothing is gained, and nothing has to be waited for.
                Path(f"{name}.gz").write_bytes(gzip.compress(name.read_bytes(), 0))
                name.unlink()
        (folder / "site.yaml").write_text(PROFILE)
        text = IMAGE_RECIPE.replace("*.fits", "*.fits.gz") if zipped else IMAGE_RECIPE
        (folder / "recipe.yaml").write_text(text)
        (folder / "site").mkdir()
        self.write()

    def write(self, hook="pass"):
        body = f"def HOOK(n):\n    import os, signal, time\n    {hook}\n"
        text = IMAGE_SITE.replace("SECONDS", str(self.seconds)).replace("COUNT", repr(str(self.count.path)))
        (self.folder / "site" / "sitecustomize.py").write_text(self.source + body + text + SMALL_BLOCKS)


def case_of(kind, folder, count):
    """Return the case of a kind."""
    return ImageCase(folder, count, "staged" in kind) if "image" in kind else Case(kind, folder, count)


def undisturbed(kind, folder):
    """Run a case in threads of one process, where nobody disturbs it; return its status."""
    case = case_of(kind, folder, Count(folder / "executions.txt"))
    (folder / "calm.yaml").write_text(CALM)
    path = os.pathsep.join([str(folder / "site"), str(ROOT)])
    begin = [*case.begin, "--profile", "calm.yaml", "--runs", "runs"]
    done = subprocess.run(
        [sys.executable, "-m", "daskpar", *begin], cwd=folder, env=environment(PAUSE="0", PYTHONPATH=path),
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    assert set(case.begun().values()) == {1}
    assert len(case.begun()) == status["blocks_total"] >= BLOCKS
    return status


def the_run(runs):
    (path,) = runs.iterdir()
    return path


def stored_keys(runs):
    found = [path for path in runs.iterdir()] if runs.exists() else []
    return set(ledger.scan(found[0] / "ledger")[0]) if found else set()


def removed_keys(runs):
    """Records that only a first stage was stored for, removed when the run was done."""
    (path,) = runs.iterdir()
    events = map(json.loads, (path / "events.jsonl").read_text().splitlines())
    return {key for event in events if event["event"] == "removed" for key in event["keys"]}


def wait_for(condition, seconds=60):
    """Wait until a condition is true; a pause of the whole machine is not counted."""
    waited, last = 0.0, time.monotonic()
    while not (value := condition()):
        assert waited < seconds, "it did not happen in time"
        time.sleep(0.02)
        now = time.monotonic()
        waited, last = waited + min(now - last, 1.0), now
    return value


def under_way(case, process):
    """Wait until enough blocks are stored while others are computed."""

    def reached():
        if process.poll() is not None:
            raise AssertionError(f"it ended early: {process.communicate()}")
        return len(case.executions("end")) > ENOUGH + THREADS  # a thread stores one before it begins another

    wait_for(reached)


def held(case, process):
    """Wait until all threads stay in a block, as HOLD has them do: what they computed before is stored."""

    def reached():
        if process.poll() is not None:
            raise AssertionError(f"it ended early: {process.communicate()}")
        ended = len(case.executions("end"))
        return ended > ENOUGH and len(case.begun()) == ended + THREADS

    wait_for(reached)


def family(process):
    """All processes below one, itself included."""
    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def left(processes):
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def gone(processes, seconds=60):
    wait_for(lambda: not left(processes), seconds)
