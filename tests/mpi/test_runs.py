"""Runs under a real mpiexec: the bits of a local run, clean ends, exit codes, lost workers and ranks."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(200)]

ROOT = Path(__file__).resolve().parents[2]
MEASURE = """
import os, time
def measure(p):
    with open({count!r}, "a") as file:
        file.write(f"{{p['x']}} {{os.getpid()}}\\n")
    time.sleep({seconds})
    if p["x"] == {bad}:
        raise ValueError("a bad item")
    return {{"square": p["x"] ** 2 / 7}}
"""
RECIPE = """
name: mapped
analysis: map
inputs: {{grid: {{x: [{numbers}]}}}}
options: {{function: "mine:measure", items_per_block: 1}}
outputs: [table.ecsv]
"""
ENDED = ("done", "failed", "cancelled", "interrupted")


class Site:
    """A user's folder, and the command line with one of the MPIs."""

    def __init__(self, folder, mpi, blocks=32, seconds=0.1, bad=-1):
        self.folder, self.count = folder, folder / "count"
        python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, "PYTHONPATH": python_path, **mpi}
        (folder / "mine.py").write_text(MEASURE.format(count=str(self.count), seconds=seconds, bad=bad))
        numbers = ", ".join(map(str, range(blocks)))
        (folder / "recipe.yaml").write_text(RECIPE.format(numbers=numbers))
        self.profile()

    def profile(self, **changes):
        data = {"kind": "mpi", "workers": 2, "memory": "600 MB", **changes}
        (self.folder / "site.yaml").write_text(json.dumps(data))

    def start(self, *arguments):
        command = [sys.executable, "-m", "daskpar", *arguments]
        pipe = subprocess.PIPE
        place = {"cwd": self.folder, "env": self.environment}
        return subprocess.Popen(command, **place, text=True, stdout=pipe, stderr=pipe)

    def daskpar(self, *arguments, code=0):
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert process.returncode == code, (process.returncode, out, err, self.driver_log())
        return out if code == 0 else out + err

    def submit(self, *more, code=0):
        return self.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", *more, code=code)

    def status(self):
        return json.loads(self.daskpar("status", "last", "--json"))

    def wait(self, until, timeout=60):
        deadline = time.monotonic() + timeout
        while not list(self.folder.glob("runs/*/state.json")):
            assert time.monotonic() < deadline, "there is no run"
            time.sleep(0.1)
        while not until(status := self.status()):
            assert time.monotonic() < deadline, (status, self.driver_log())
            time.sleep(0.2)
        return status

    def computed(self):
        return [line.split() for line in self.count.read_text().splitlines()] if self.count.exists() else []

    def driver_log(self):
        logs = sorted(self.folder.glob("runs/*/logs/driver.log"))
        return logs[-1].read_text()[-3000:] if logs else ""

    def ranks(self):
        """Return the processes of the MPI job: launcher, ranks and the workers they started."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if str(self.folder) in " ".join(process.info["cmdline"] or []):
                found.append(process)
                with contextlib.suppress(psutil.NoSuchProcess):
                    found += process.children(recursive=True)
        return set(found)

    def wait_until_gone(self, timeout=30):
        deadline = time.monotonic() + timeout
        left = self.ranks()
        while left := {process for process in left if lives(process)}:
            assert time.monotonic() < deadline, [process.cmdline() for process in left]
            time.sleep(0.1)


def lives(process):
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def site(tmp_path, mpi):
    def make(**more):
        return Site(tmp_path, mpi, **more)

    return make


def some_done(status):
    return status["blocks_done"] >= 4


def test_the_bits_of_a_local_run(site):
    mine = site()
    done = json.loads(mine.submit("--json"))
    assert done["state"] == "done"
    shares = Counter(worker for _, worker in mine.computed())
    assert len(shares) == 2
    assert min(shares.values()) >= 8
    mine.wait_until_gone()
    local = mine.daskpar("run", "recipe.yaml", "--allow-code", "--json", "--runs", "elsewhere")
    assert json.loads(local)["result_hash"] == done["result_hash"]
    assert not (mine.folder / "runs" / done["name"] / "keys").exists()


@pytest.mark.parametrize("interface", ["loopback", "named"])
def test_listeners(site, interface):
    mine = site(blocks=100, seconds=0.5)
    name, allowed = second_interface() if interface == "named" else (None, "127.")
    mine.profile(interface=name)
    mine.environment["OMPI_MCA_btl"] = (
        "self,sm"  # what openmpi itself opens for other hosts is on all interfaces
    )
    mine.submit("--detach")
    mine.wait(some_done)
    # The launcher's own control port, which ranks inherit, is not ours to choose.
    launchers = {place for p in mine.ranks() if not is_python(p) for place in listening(p)}
    places = {place for p in mine.ranks() if is_python(p) for place in listening(p)} - launchers
    assert len(places) >= 6
    outside = {place for place in places if not place[0].startswith("127.")}
    assert {place for place in outside if not place[0].startswith(allowed)} == set()
    assert bool(outside) == (interface == "named")
    scheduler = mine.daskpar("cancel", "last", "--json")
    assert json.loads(scheduler)["state"] == "cancelled"
    mine.wait_until_gone()


def second_interface():
    for name, stats in psutil.net_if_stats().items():
        for address in psutil.net_if_addrs().get(name, []):
            if stats.isup and name != "lo" and address.family.name == "AF_INET":
                return name, address.address
    pytest.skip("there is one interface only")


def is_python(process):
    return "python" in Path(process.exe()).name


def listening(process):
    return {c.laddr[:2] for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_a_failing_item(site):
    mine = site(bad=5)
    said = mine.submit(code=2)
    assert "a bad item" in said
    mine.wait_until_gone()
    assert mine.status()["exit_code"] == 2


def test_too_few_ranks(site):
    mine = site()
    mine.submit("--detach")
    mine.wait(lambda status: status["state"] == "done")
    run = next((mine.folder / "runs").iterdir())
    launcher = shutil.which("mpiexec", path=mine.environment["PATH"])
    command = [launcher, "-n", "2", sys.executable, "-m", "mpi4py", "-m", "daskpar.ranks", str(run)]
    done = subprocess.run(
        command, env=mine.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "3 are needed" in done.stderr


def test_a_killed_worker_process(site):
    mine = site(blocks=40, seconds=0.3)
    mine.submit("--detach")
    mine.wait(some_done)
    os.kill(int(mine.computed()[-1][1]), signal.SIGKILL)
    status = mine.wait(lambda status: status["state"] in ENDED)
    assert status["state"] == "done"
    assert len(mine.computed()) <= 41
    mine.wait_until_gone()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_killed_rank(site, rank):
    """The job ends within 30 s, without orphans, and the run goes on from its ledger."""
    mine = site(blocks=40, seconds=0.3)
    mine.submit("--detach")
    mine.wait(some_done)
    number = str(rank)
    killed = next(
        process
        for process in mine.ranks()
        if number in (variable(process, "PMI_RANK"), variable(process, "OMPI_COMM_WORLD_RANK"))
        and "daskpar.ranks" in command_line(process)
    )
    killed.kill()
    mine.wait_until_gone()
    status = mine.status()
    assert status["state"] in ("interrupted", "failed")
    before = len(mine.computed())
    again = json.loads(mine.daskpar("resume", "last", "--json"))
    assert again["state"] == "done"
    assert len(mine.computed()) - before <= 40 - status["blocks_done"] + 2
    mine.wait_until_gone()


def command_line(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def variable(process, name):
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def test_ctrl_c(site):
    mine = site(blocks=40, seconds=0.3)
    following = mine.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    mine.wait(some_done)
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    assert following.returncode == 130
    mine.wait_until_gone()
    assert mine.status()["state"] in ("interrupted", "failed")
    assert json.loads(mine.daskpar("resume", "last", "--json"))["state"] == "done"


def test_run_says_how_to_start_ranks(site):
    said = site().daskpar("run", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "daskpar submit" in said
