"""A user's folder: a module, a recipe over a grid and a profile, and the command line in it.

Runs under Slurm and MPI are tried with it; what differs is in `tests/slurm/site_of.py` and `tests/mpi`.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import daskpar

ROOT = Path(__file__).resolve().parents[1]

MEASURE = """
import os, time
def measure(p):
    with open({count!r}, "a+") as file:
        file.write(f"{{p['x']}} {{os.getpid()}} {{os.environ.get('SLURM_JOB_ID')}}\\n")
        file.seek(0)
        begun = len(file.readlines())
    time.sleep({seconds})
    while begun > {held} and not os.path.exists({go!r}):
        time.sleep(0.05)
    if p["x"] == {poison}:
        os.kill(os.getpid(), 9)
    if p["x"] == {bad}:
        raise ValueError("a bad item")
    return {{"square": p["x"] ** 2 / 7}}
"""
FAULTLESS = {"poison": -1, "bad": -1, "held": 1_000_000, "go": ""}
RECIPE = """
name: mapped
analysis: map
inputs: {{grid: {{x: [{numbers}]}}}}
options: {{function: "mine:measure", items_per_block: 1}}
outputs: [table.ecsv]
"""
CALM = {"kind": "local", "workers": 1, "processes": False, "dashboard": False}
_local_hashes = {}  # by recipe
ENDED = ("done", "failed", "cancelled", "interrupted")


class UserFolder:
    """The folder, and commands in it with the given environment; `common` is what every profile has.

    Item `poison` kills its worker and item `bad` fails; once `held` items have begun, the others take until
    `let_go`, so that a run does not end before the test has seen enough.
    """

    def __init__(self, folder, environment, common, blocks=32, seconds=0.2, **faults):
        self.folder, self.common = folder, common
        self.count, self.go = folder / "count", folder / "go"
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**environment, "PYTHONPATH": path}
        assert faults.keys() <= FAULTLESS.keys(), faults
        faults = {**FAULTLESS, "go": str(self.go), **faults}
        (folder / "mine.py").write_text(MEASURE.format(count=str(self.count), seconds=seconds, **faults))
        numbers = ", ".join(map(str, range(blocks)))
        (folder / "recipe.yaml").write_text(RECIPE.format(numbers=numbers))
        self.profile()

    def profile(self, name="site", **changes):
        """Write a profile; JSON is YAML."""
        data = {key: value for key, value in {**self.common, **changes}.items() if value is not None}
        (self.folder / f"{name}.yaml").write_text(json.dumps(data))

    def let_go(self):
        """Let the items end that are held."""
        self.go.touch()

    def start(self, *arguments):
        """Start a command that goes on while the test does something."""
        command = [sys.executable, "-m", "daskpar", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, **quiet)

    def daskpar(self, *arguments, code=0, timeout=180):
        """Run a command and return what it printed."""
        command = [sys.executable, "-m", "daskpar", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip
        said = (done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        assert done.returncode == code, (*said, self.driver_log())
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *arguments, **more):
        """Run a command with --json and return the document."""
        return json.loads(self.daskpar(*arguments, "--json", **more))

    def submit(self, *more, profile="site.yaml"):
        """Submit the recipe and return the status."""
        return self.json("submit", "recipe.yaml", "-p", profile, "--allow-code", *more)

    def status(self):
        """Return the status of the last run."""
        return self.json("status", "last")

    def wait(self, until=lambda status: status["state"] in ENDED, timeout=120):
        """Wait until the last run's status is as asked; return it."""
        deadline = time.monotonic() + timeout
        while not list(self.folder.glob("runs/*/state.json")):
            assert time.monotonic() < deadline, "there is no run"
            time.sleep(0.1)
        while not until(status := self._seen()):
            assert status["state"] not in ENDED, (status, self.driver_log())
            assert time.monotonic() < deadline, (status, self.driver_log())
            time.sleep(0.3)
        return status

    def _seen(self):
        # As `status` does, but without a process for each look.
        with patch.dict(os.environ, self.environment):
            return daskpar.open_run("last", self.folder / "runs").status()

    def driver_log(self):
        """Return the end of what the last driver said."""
        logs = sorted(self.folder.glob("runs/*/logs/driver*"))
        return logs[-1].read_text()[-3000:] if logs else ""

    def computed(self):
        """Return (item, process, job) of each call of the function, as words, in the order they began."""
        return [line.split() for line in self.count.read_text().splitlines()] if self.count.exists() else []

    def local_hash(self):
        """Return the result hash of the same recipe in threads of one process; the function does not wait."""
        recipe = (self.folder / "recipe.yaml").read_text()
        if recipe not in _local_hashes:
            local = self.folder / "local"
            local.mkdir()
            (local / "recipe.yaml").write_text(recipe)
            quick = MEASURE.format(count=str(local / "count"), seconds=0, **FAULTLESS)
            (local / "mine.py").write_text(quick)
            (self.folder / "calm.yaml").write_text(json.dumps(CALM))
            _local_hashes[recipe] = self.json(
                "run", "local/recipe.yaml", "-p", "calm.yaml", "--allow-code", "--runs", "local/runs"
            )["result_hash"]
        return _local_hashes[recipe]


def some_done(status):
    """Whether a run has begun to work: for `UserFolder.wait`."""
    return status["blocks_done"] >= 4
