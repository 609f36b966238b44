"""The MPI that the other tests use works here, and an exception on one rank ends all."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.mpi


@pytest.fixture
def mpiexec():
    """Path of the launcher that comes with the environment's MPI wheel."""
    found = shutil.which("mpiexec", path=Path(sys.executable).parent) or shutil.which("mpiexec")
    if found is None:
        pytest.skip("MPI is not installed: no mpiexec")
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    return found


def launch(mpiexec, ranks, source):
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "mpi4py", "-c", source]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_sum_over_ranks(mpiexec):
    # One rank prints: the launcher may mix the output of several within a line.
    source = "from mpi4py.MPI import COMM_WORLD as w\nsums = w.gather(w.allreduce(w.rank))"
    done = launch(mpiexec, 3, source + "\nif w.rank == 0: print(sums)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[3, 3, 3]"


def test_an_exception_on_one_rank_ends_all(mpiexec):
    source = "from mpi4py.MPI import COMM_WORLD as w\nif w.rank == 1: raise ValueError('rank 1')\nw.barrier()"
    done = launch(mpiexec, 3, source)
    assert done.returncode != 0
    assert "ValueError: rank 1" in done.stderr
