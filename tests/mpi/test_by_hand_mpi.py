"""Versions with mpi4py under a real mpiexec: the bits of the dask version, on any number of ranks."""

import json
import re

import numpy as np
import pytest
from by_hand_problems import (
    FORWARD,
    MANY_BLOCKS,
    PROBLEMS,
    dask_result,
    hash_of,
    many_blocks_here,
    prepared,
    write_package,
    write_small,
)

import daskpar
from daskpar.analysis import load_code
from daskpar.by_hand import Job
from daskpar.comparison.launch import Launcher, Version
from daskpar.dataset_store import result_hash
from daskpar.errors import ClusterError
from daskpar.recipe import Recipe

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("any_mpi")]

MUTANT = """
from daskpar.analyses.pair_counts import with_mpi4py as real
def run(job):
    real.exchange = lambda slab, *rest: dict(slab)
    return real.run(job)
"""

SEEN = """
sent = received = 0
class Seen:
    def __init__(self, world): self.world = world
    def __getattr__(self, name): return getattr(self.world, name)
    def Isend(self, rows, other):
        global sent
        sent += rows.nbytes
        return self.world.Isend(rows, other)
    def Irecv(self, rows, other):
        global received
        received += rows.nbytes
        return self.world.Irecv(rows, other)
exchange = real.exchange
real.exchange = lambda *given: exchange(*given[:5], Seen(given[5]), *given[6:])
def run(job):
    found = real.run(job)
    job.notes["boundary"] = [real.MPI.COMM_WORLD.reduce(one) for one in (sent, received)]
    return found
"""

BAD = """
from mpi4py.MPI import COMM_WORLD as world
def run(job):
    if world.rank == 1: raise ValueError("rank 1 has had enough")
    world.barrier()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A folder of modules that run versions with many small blocks; ``mutant`` skips a step."""
    for analysis in ("map", "monte_carlo", "pair_counts", "image_stats"):
        write_small(tmp_path, analysis, "mpi4py")
    write_package(tmp_path, "mutant", with_mpi4py=MANY_BLOCKS + MUTANT)
    many_blocks_here(monkeypatch)
    return tmp_path


def measured(problem, target, name, ranks, folder):
    given = {"record": problem.record, "options": problem.options, "setup": None}
    launcher = Launcher(given, (str(folder),), time_limit=120)
    return launcher.measure(Version(name, target), ranks, folder / "result")


@pytest.mark.parametrize("ranks", [1, 5])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_bits_of_dask(name, ranks, tmp_path, package):
    problem = prepared(name, tmp_path / "scratch")
    target = f"small_{problem.recipe.analysis}.with_mpi4py:run"
    found = measured(problem, target, "mpi4py", ranks, package)
    assert found.result_hash == result_hash(dask_result(problem))
    assert found.notes["dask_loaded"] is False
    assert (found.notes["bytes_moved"] > 0) == (ranks > 1)


def test_an_input_that_no_pipe_holds(tmp_path, runs):
    """MPICH's launcher gives up where rank 0 does not take what it is sent at once."""
    numbers = np.linspace(0.1, 5, 4000).round(6).tolist()
    grid = {"omega_matter": [0.3], "hubble": [70.0], "redshift": numbers}
    recipe = {
        "name": "grid", "analysis": "map", "inputs": {"grid": grid},
        "options": {"function": "daskpar.analyses.map.examples:comoving_distance", "items_per_block": 100},
    }  # fmt: skip
    (tmp_path / "grid.yaml").write_text(json.dumps(recipe))
    found = daskpar.compare(tmp_path / "grid.yaml", ["serial", "mpi4py"], [2], repeats=1, time_limit=120)
    assert [one["agrees"] for one in found.data["agreement"]] == [True, True]


@pytest.mark.parametrize("name", ["monte_carlo", "monte_carlo in rounds"])
def test_master_and_workers(name, tmp_path, package):
    problem = prepared(name, tmp_path / "scratch")
    found = measured(problem, "small_monte_carlo.with_mpi4py:run_pool", "mpi4py_pool", 2, package)
    assert found.result_hash == result_hash(dask_result(problem))


def test_boundary_points_cross_as_messages(tmp_path, package):
    problem = prepared("pair_counts", tmp_path / "scratch")
    text = MANY_BLOCKS + FORWARD.format(analysis="pair_counts", how="mpi4py") + SEEN
    write_package(package, "seen", with_mpi4py=text)
    found = measured(problem, "seen.with_mpi4py:run", "mpi4py", 3, package)
    points = 4000 * 5 * 8
    sent, received = found.notes["boundary"]
    assert 0 < sent == received < points
    assert sent < found.notes["bytes_moved"] < 3 * points
    assert found.result_hash == result_hash(dask_result(problem))


def test_a_skipped_boundary_exchange_is_caught(tmp_path, package):
    problem = prepared("pair_counts", tmp_path / "scratch")
    wanted = hash_of(load_code(problem.analysis.by_hand["serial"])(Job(problem.record, problem.options)))
    found = measured(problem, "mutant.with_mpi4py:run", "mpi4py", 3, package)
    assert found.result_hash != wanted
    right = dask_result(problem)["npairs"].values
    assert np.all(found.result["npairs"].values <= right)
    assert found.result["npairs"].values.sum() < right.sum()


def test_a_comparison_shows_no_time_of_it(package, runs):
    recipe = package / "pairs.yaml"
    recipe.write_text(Recipe.from_data({"name": "pairs", **PROBLEMS["pair_counts"]}).dump())
    versions = ["whole=small_pair_counts.with_mpi4py:run", "skipped=mutant.with_mpi4py:run"]
    found = daskpar.compare(recipe, versions, [3], repeats=1, allow_code=True, time_limit=120)
    right, wrong = found.data["agreement"]
    assert (right["version"], right["agrees"]) == ("whole", True)
    assert (wrong["version"], wrong["agrees"]) == ("skipped", False)
    assert any(re.match(r"npairs \([1-8] of 8 values\)", what) for what in wrong["differs"])
    assert [(one.version, one.warmup, one.seconds is None) for one in found.timings] == [
        ("whole", True, False),
        ("skipped", True, True),
        ("whole", False, False),
    ]
    assert found.conclusion[0].startswith("WRONG: skipped did not give the result of whole")


def test_an_exception_on_one_rank_ends_the_job_with_its_text(tmp_path, package):
    write_package(package, "bad", with_mpi4py=BAD)
    problem = prepared("monte_carlo", tmp_path / "scratch")
    with pytest.raises(ClusterError, match="rank 1 has had enough"):
        measured(problem, "bad.with_mpi4py:run", "mpi4py", 2, package)
