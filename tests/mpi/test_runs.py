"""Runs under a real mpiexec: the bits of a local run, clean ends, exit codes, lost workers and ranks."""

import contextlib
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
from user_folder import UserFolder, some_done

pytestmark = [pytest.mark.mpi, pytest.mark.timeout(200)]

PROFILE = {"kind": "mpi", "workers": 2, "memory": "600 MB"}


class Site(UserFolder):
    """A user's folder, and the command line with one of the MPIs."""

    def __init__(self, folder, mpi, seconds=0.1, **more):
        super().__init__(folder, {**os.environ, **mpi}, PROFILE, seconds=seconds, **more)

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


def test_the_bits_of_a_local_run(site):
    mine = site()
    done = mine.submit()
    assert done["state"] == "done"
    shares = Counter(worker for _, worker, _ in mine.computed())
    assert len(shares) == 2
    assert min(shares.values()) >= 8
    mine.wait_until_gone()
    assert done["result_hash"] == mine.local_hash()
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
    assert mine.json("cancel", "last")["state"] == "cancelled"
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
    said = mine.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=2)
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
    status = mine.wait()
    assert status["state"] == "done", (status, mine.driver_log())
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
    again = mine.json("resume", "last")
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
    assert following.wait(60) == 130
    mine.wait_until_gone()
    assert mine.status()["state"] in ("interrupted", "failed")
    assert mine.json("resume", "last")["state"] == "done"


def test_run_says_how_to_start_ranks(site):
    said = site().daskpar("run", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "daskpar submit" in said
