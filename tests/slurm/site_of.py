"""A folder with recipe and profile, and the command line on a private Slurm: what a user has on a cluster."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import patch

import daskpar

ROOT = Path(__file__).resolve().parents[2]

MEASURE = """
import os, time
def measure(p):
    with open({count!r}, "a") as file:
        file.write(f"{{p['x']}} {{os.environ.get('SLURM_JOB_ID')}}\\n")
    time.sleep({seconds})
    if p["x"] == {poison}:
        os.kill(os.getpid(), 9)
    return {{"square": p["x"] ** 2 / 7}}
"""
RECIPE = """
name: mapped
analysis: map
inputs: {{grid: {{x: [{numbers}]}}}}
options: {{function: "mine:measure", items_per_block: 1}}
outputs: [table.ecsv]
"""
PROFILE = {
    "kind": "slurm", "workers": 2, "cores": 1, "memory": "600 MB", "interface": "lo", "partition": "main",
    "walltime": "00:10:00", "driver": {"memory": "500 MB"},
}  # fmt: skip
_local_hashes = {}  # by recipe
ENDED = ("done", "failed", "cancelled", "interrupted")


class Site:
    """A user's folder on a cluster."""

    def __init__(self, slurm, folder, blocks=32, seconds=0.2, poison=-1):
        self.slurm, self.folder, self.count = slurm, folder, folder / "count"
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**slurm.environment, "PYTHONPATH": path}
        (folder / "mine.py").write_text(MEASURE.format(count=str(self.count), seconds=seconds, poison=poison))
        numbers = ", ".join(map(str, range(blocks)))
        (folder / "recipe.yaml").write_text(RECIPE.format(numbers=numbers))
        self.profile()

    def profile(self, name="site", **changes):
        """Write a profile; JSON is YAML."""
        data = {key: value for key, value in {**PROFILE, **changes}.items() if value is not None}
        (self.folder / f"{name}.yaml").write_text(json.dumps(data))

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
        assert done.returncode == code, (done.returncode, done.stdout[-3000:], done.stderr[-3000:])
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
            assert status["state"] not in ENDED, (status, self.daskpar("logs", "last"))
            assert time.monotonic() < deadline, (status, self.slurm.jobs(), self.daskpar("logs", "last"))
            time.sleep(0.5)
        return status

    def _seen(self):
        # As `status` does, but without a process for each look.
        with patch.dict(os.environ, self.environment):
            return daskpar.open_run("last", self.folder / "runs").status()

    def computed(self):
        """Return (item, job) of each call of the function, in the order they began."""
        if not self.count.exists():
            return []
        return [(int(item), job) for item, job in map(str.split, self.count.read_text().splitlines())]

    def local_hash(self):
        """Return the result hash of the same recipe on the local profile; the function does not wait."""
        recipe = (self.folder / "recipe.yaml").read_text()
        if recipe not in _local_hashes:
            local = self.folder / "local"
            local.mkdir()
            (local / "recipe.yaml").write_text(recipe)
            quick = MEASURE.format(count=str(local / "count"), seconds=0, poison=-1)
            (local / "mine.py").write_text(quick)
            _local_hashes[recipe] = self.json(
                "run", "local/recipe.yaml", "-p", "local", "--allow-code", "--runs", "local/runs"
            )["result_hash"]
        return _local_hashes[recipe]
