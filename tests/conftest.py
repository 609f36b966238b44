"""What all tests share: a folder of runs, the command line as a process, and counting what workers do."""

import dataclasses
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, settings
from once import shared
from processes import ROOT, Count, environment

from daskpar import garbage

__all__ = ["ROOT", "Count", "Ended", "environment", "shared"]

# Examples may take as long as they do: a machine has other things to do, too.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
garbage.sought_rarely()  # a fifth of the time of the tests that start no process


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="run the tests marked soak, which take long")
    parser.addoption("--soak-scale", type=float, default=1.0, help="how much of them: 0.05 for a short look")
    parser.addoption("--soak-fresh", action="store_true", help="forget what was tried before")
    parser.addoption(
        "--soak-folder",
        default=str(ROOT / "tests" / "artefacts" / "soak"),
        help="where the tries are noted: a soak that was interrupted goes on from there",
    )


FOLDERS = ("slurm", "mpi", "browser", "install", "soak")  # and marks of that name


# Begun first, so that no process is left with one of them when the others are done.
LONGEST = (
    "test_the_commands_in_their_order", "test_every_name_twice_in_each_import_order",
    "test_a_killed_driver_is_resumed_to_the_same_bits[image]", "test_many_more_files_than_may_be_open",
    "test_a_killed_driver_is_resumed_to_the_same_bits", "test_a_killed_run_is_resumed_to_the_hash",
    "test_a_block_that_needs_more_memory", "test_a_killed_worker_costs_only_the_blocks",
    "test_the_driver_reaches_its_walltime", "test_same_bits_on_an_older_cpu[image_stats]",
    "test_worker_jobs_reach_their_walltime", "test_a_chain_whose_workers_never_start",
    "test_the_report_of_each_recipe",
)  # fmt: skip


def _place(item):
    return next((n for n, name in enumerate(LONGEST) if item.name.startswith(name)), len(LONGEST))


def pytest_collection_modifyitems(config, items):
    """Hold that marks and folders agree; leave the long tests out unless they are asked for."""
    items.sort(key=_place)
    for item, name in ((item, name) for item in items for name in FOLDERS):
        if (ROOT / "tests" / name in item.path.parents) != (item.get_closest_marker(name) is not None):
            raise pytest.UsageError(f"tests in tests/{name}, and only they, are marked {name}: {item.nodeid}")
    long = [] if config.getoption("--soak") else [item for item in items if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """The folder that runs go to, also those of processes started by the test."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("DASKPAR_RUNS", str(folder))
    return folder


@dataclasses.dataclass
class Ended:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(tmp_path, runs):
    """Return a function that runs ``python -m daskpar ...``; keywords are environment variables."""

    def call(*arguments, timeout=120, **variables):
        done = subprocess.run(
            [sys.executable, "-m", "daskpar", *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


def _listen_to_ctrl_c():
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a shell's background job, as these tests may be, ignores it


@pytest.fixture
def start(tmp_path, runs):
    """Return a function that starts ``python -m daskpar ...`` in a session of its own."""
    started = []

    def call(*arguments, **variables):
        process = subprocess.Popen(
            [sys.executable, "-m", "daskpar", *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_listen_to_ctrl_c,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def count(tmp_path):
    return Count(tmp_path / "executions.txt")


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a file system of so many kB."""
    mounted = []

    def mount(name, size):
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("only root can mount a small disk")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="session")
def private():
    from private_slurm import missing, private_slurm

    if reason := missing():
        pytest.skip(reason)
    with private_slurm() as running:
        yield running


@pytest.fixture
def slurm(private):
    """A Slurm of two nodes, partitions ``main`` and ``closed``; the test is over when its jobs are."""
    yield private
    try:
        private.wait_until_empty(90)
    except TimeoutError:
        private.end_jobs()  # the next test starts with none, and this one has failed
        raise
