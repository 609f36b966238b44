"""Runs under a real mpiexec: the bits of a local run, clean ends, exit codes, lost workers and ranks."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psutil
import pytest
from listeners import dask_shows_its_pages, listening, strangers_are_refused, tls_ports
from user_folder import UserFolder, some_done

from daskpar.launching import WITHOUT_NETWORK

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

    def rank(self, number):
        """Return the process of a rank, which is no worker that its nanny started."""
        return next(
            process
            for process in self.ranks()
            if str(number) in (variable(process, "PMI_RANK"), variable(process, "OMPI_COMM_WORLD_RANK"))
            and "daskpar.ranks" in command_line(process)
        )

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
    made = []

    def make(**more):
        made.append(Site(tmp_path, mpi, **more))
        return made[-1]

    yield make
    for one in made:
        one.let_go()  # also where the test failed: nothing waits for ever


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


@pytest.mark.fault
@pytest.mark.parametrize("interface", ["loopback", "named"])
def test_listeners(site, tmp_path, interface):
    """A port of TLS for each process, on the named interface; pages on loopback; nothing else of ours."""
    mine = site(blocks=100, seconds=0.5)
    name, address = second_interface() if interface == "named" else (None, "127.0.0.1")
    mine.profile(interface=name)
    mine.environment.update(WITHOUT_NETWORK)  # what MPI itself opens for other hosts is not ours
    mine.submit("--detach")
    mine.wait(some_done)
    # The launcher's own control port, which ranks inherit, is not ours to choose.
    launchers = {place for p in mine.ranks() if not is_python(p) for place in listening(p)}
    run = next((mine.folder / "runs").iterdir())
    ours = [process for process in mine.ranks() if is_python(process)]
    ports = tls_ports(ours, run / "keys", address, besides=launchers)
    assert len(ports) == 1 + 2 * 2  # the scheduler; two workers, each with its nanny
    for place in ports.values():
        strangers_are_refused(place, tmp_path)
    dask_shows_its_pages(mine.json("status", "last")["dashboard"])
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


@pytest.mark.fault
def test_a_failing_item(site):
    mine = site(bad=5)
    said = mine.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=2)
    assert "a bad item" in said
    mine.wait_until_gone()
    assert mine.status()["exit_code"] == 2


@pytest.mark.fault
def test_too_few_ranks(site):
    mine = site()
    mine.submit("--detach")
    mine.wait(lambda status: status["state"] == "done")
    run = next((mine.folder / "runs").iterdir())
    launcher = shutil.which("mpiexec", path=mine.environment["PATH"])
    command = [launcher, "-n", "2", sys.executable, "-m", "mpi4py", "-m", "daskpar.ranks", str(run)]
    done = subprocess.run(
        command, env=mine.environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "3 are needed" in done.stderr


@pytest.mark.fault
def test_a_killed_worker_process(site):
    mine = site(blocks=40, seconds=0.3)
    mine.submit("--detach")
    mine.wait(some_done)
    os.kill(int(mine.computed()[-1][1]), signal.SIGKILL)
    status = mine.wait()
    assert status["state"] == "done", (status, mine.driver_log())
    assert status["result_hash"] == mine.local_hash()
    assert len(mine.computed()) <= 41
    mine.wait_until_gone()


@pytest.mark.fault
def test_a_block_that_kills_its_worker(site):
    """It is tried four times, named, and the rest is saved."""
    mine = site(poison=5)
    said = mine.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert '{"x": 5}' in said
    assert "ended its worker 4 times" in said
    assert mine.status()["blocks_done"] == 31
    mine.wait_until_gone()


@pytest.mark.fault
@pytest.mark.parametrize("rank", [0, 1, 2], ids=["scheduler", "driver", "worker"])
def test_a_killed_rank(site, rank):
    """The job ends within 30 s, without orphans, and the run goes on from its ledger."""
    mine = site(blocks=40, seconds=0.3)
    following = mine.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    mine.wait(some_done)
    mine.rank(rank).kill()
    code = following.wait(30)
    mine.wait_until_gone()
    assert code == 4 if rank == 0 else code != 0, (code, mine.driver_log())
    goes_on(mine)


def goes_on(mine):
    """Resume a run that ended early: the bits of an uninterrupted one, and at most two blocks again."""
    status = mine.status()
    assert status["state"] in ("interrupted", "failed")
    before = len(mine.computed())
    again = mine.json("resume", "last")
    assert again["state"] == "done"
    assert again["result_hash"] == mine.local_hash()
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


@pytest.mark.fault
@pytest.mark.parametrize(
    ("to", "number", "code"),
    [
        ("who follows", signal.SIGINT, 130),
        ("who follows", signal.SIGTERM, 143),
        ("the driver", signal.SIGTERM, 143),
    ],
)
def test_signals(site, to, number, code):
    mine = site(blocks=40, seconds=0.3)
    following = mine.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    mine.wait(some_done)
    (following if to == "who follows" else mine.rank(1)).send_signal(number)
    assert following.wait(60) == code
    mine.wait_until_gone()
    assert mine.status()["exit_code"] == code
    goes_on(mine)


@pytest.mark.fault
def test_a_second_driver_is_refused(site):
    mine = site(blocks=40, held=20)
    mine.submit("--detach")
    mine.wait(some_done)
    said = mine.daskpar("resume", "last", code=2)
    assert f"is running already: pid {mine.rank(1).pid} on {socket.gethostname()}" in said
    mine.let_go()
    assert mine.wait()["state"] == "done"
    assert len(mine.computed()) == 40
    mine.wait_until_gone()


def test_run_says_how_to_start_ranks(site):
    said = site().daskpar("run", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "daskpar submit" in said
