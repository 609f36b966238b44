"""Outputs whose writing is cut off, by SIGKILL or a full disk: each is absent, old or complete."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killing import MAP_RECIPE, family, gone
from outputs_data import SUFFIXES
from processes import environment

from daskpar.outputs import verify_output

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SCRIPT = Path(__file__).with_name("cut_writing.py")
MODULE = "def measure(p):\n    return {'square': p['x'] ** 2 / 7, 'row': [p['x']] * 8}\n"


def tries(row, mode, folder, *before):
    """Have the script make the tries that a row misses; note each as it comes."""
    missing = [str(number) for number in row.missing()]
    if missing:
        command = [*before, sys.executable, str(SCRIPT), mode, str(folder), *missing]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True) as process:
            for line in process.stdout:
                number, seconds, fault, figures = json.loads(line)
                row.add(number, seconds, fault, **figures)
        assert process.returncode == 0
    row.check()


def test_writing_killed(tally, tmp_path):
    tries(tally("writing_killed"), "killed", tmp_path / "out")


def test_full_disks(tally, tmp_path):
    private = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    if shutil.which("unshare") is None or subprocess.run([*private, "true"], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    tries(tally("full_disks"), "full", tmp_path / "out", *private)


def test_drivers_killed_writing(tally, tmp_path, random):
    def attempt(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "mine.py").write_text(MODULE)
        recipe = MAP_RECIPE.format(numbers=", ".join(map(str, range(400))))
        recipe = recipe.replace("items_per_block: 1", "items_per_block: 100")
        recipe = recipe.replace("[table.ecsv]", f"[{', '.join('table' + suffix for suffix in SUFFIXES)}]")
        (folder / "recipe.yaml").write_text(recipe)
        (folder / "site.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
        command = [sys.executable, "-m", "daskpar"]
        options = {"cwd": folder, "env": environment(DASKPAR_RUNS=str(folder / "runs")), "text": True}
        begin = [*command, "run", "recipe.yaml", "-p", "site.yaml", "--allow-code"]
        process = subprocess.Popen(begin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        left = at_work(process, folder, random(2000 + number).uniform(0, 0.5))
        finished = [path for path in folder.glob("runs/*/results/*") if not path.name.startswith(".")]
        for path in finished:
            verify_output(path)
        done = subprocess.run(
            [*command, "resume", "last"], capture_output=True, timeout=120, check=False, **options
        )
        assert done.returncode == 0, done.stderr
        (results,) = folder.glob("runs/*/results")
        assert sorted(os.listdir(results)) == sorted("table" + suffix for suffix in SUFFIXES)
        for path in results.iterdir():
            verify_output(path)
        shutil.rmtree(folder)
        return {"midway": int(left), "complete": len(finished)}

    tally("drivers_killed_writing").each(attempt)


def at_work(process, folder, delay):
    """Kill a run some time after it begins to write outputs; whether it left a temporary file there."""
    deadline = time.monotonic() + 120
    while not any(path.is_dir() for path in folder.glob("runs/*/results")):
        assert process.poll() is None, "it wrote no output"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(delay)
    processes = family(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    gone(processes)
    return any(path.name.startswith(".") for path in folder.glob("runs/*/results/.*"))
