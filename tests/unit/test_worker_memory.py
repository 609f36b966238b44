"""What a worker gets where the profile does not say it in bytes, and blocks that do not fit that."""

import pytest
from distributed import system

import daskpar
from daskpar.clusters.memory import memory_key, memory_limit
from daskpar.errors import ProfileError
from daskpar.planning import plan_recipe
from daskpar.profile import KINDS

MB = 10**6
MACHINE = 1000 * MB


@pytest.fixture
def machine(monkeypatch):
    """A machine of 4 cores and 1000 MB, as distributed sees it."""
    monkeypatch.setattr(system, "MEMORY_LIMIT", MACHINE)
    monkeypatch.setattr("distributed.worker_memory.parse_memory_limit.__defaults__", (4,))
    for name in ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def profile(kind, **keys):
    return KINDS[kind](**keys)


CLASS = {"path": "dask_jobqueue.PBSCluster"}
PROFILES = [
    ("local", {}, MACHINE // 4),
    ("local", {"cores": 2}, MACHINE // 2),
    ("local", {"cores": 8}, MACHINE),
    ("local", {"memory": "600 MB"}, 600 * MB),
    ("slurm", {"memory": "600 MB", "cores": 4}, 600 * MB),
    ("slurm", {"memory_per_cpu": "150 MB", "cores": 4}, 600 * MB),
    ("mpi", {}, MACHINE // 4),
    ("mpi", {"memory": "600 MB"}, 600 * MB),
    ("mpi", {"batch": "slurm", "memory_per_cpu": "150 MB", "cores": 2}, 300 * MB),
    ("mpi", {"interface": "ib0"}, None),  # other machines
    ("class", CLASS, None),
]


@pytest.mark.parametrize(("kind", "keys", "limit"), PROFILES)
def test_what_a_worker_gets(machine, kind, keys, limit):
    assert memory_limit(profile(kind, **keys)) == limit


def test_auto_is_what_a_local_worker_is_started_with():
    with daskpar.open_client("local", workers=1) as client:
        (worker,) = client.scheduler_info()["workers"].values()
        assert worker["memory_limit"] == memory_limit(profile("local", workers=1))


def recipe(batch):
    return {
        "name": "large", "analysis": "monte_carlo", "outputs": ["pi.nc"],
        "options": {"n_samples": 2 * batch, "batch_size": batch},
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "keys", "limit"), [case for case in PROFILES if case[2]])
def test_blocks_that_do_not_fit_are_refused_with_the_key_to_change(machine, kind, keys, limit):
    """A block takes 40 MB and 64 bytes a sample, in each thread."""
    site = profile(kind, **keys)
    with pytest.raises(ProfileError) as refused:
        plan_recipe(recipe(25_000_000), site)
    (fault,) = refused.value.faults
    assert fault.key == ("memory_per_cpu" if "memory_per_cpu" in keys else "memory") == memory_key(site)
    assert f"a worker has {limit // MB} MB" in fault.what
    if "memory_per_cpu" in keys:
        assert "memory_per_cpu: 2734 MB" in fault.todo  # 1640 MB are 60 % of it
        assert "fewer cores" not in fault.todo
    else:
        assert f"give a worker at least {-(-1640 * site.cores * 5 // 3)} MB" in fault.todo


def test_blocks_that_fit_are_not_refused(machine):
    assert plan_recipe(recipe(1_000_000), profile("local", workers=1)).workers == 1
