"""Clusters of any class, and schedulers that others run: the same bits, over TLS, strangers refused."""

import socket
import time

import pytest
from distributed import LocalCluster

import daskpar
from daskpar.clusters.keys import PARTS, security_of
from daskpar.errors import ClusterError, ProfileError
from daskpar.profile import AddressProfile, ClassProfile

RECIPE = {
    "name": "mapped", "analysis": "map",
    "inputs": {"grid": {"redshift": [0.1 * n for n in range(8)], "hubble": [70], "omega_matter": [0.3]}},
    "options": {"function": "daskpar.analyses.map.examples:comoving_distance"},
}  # fmt: skip
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return daskpar.run(RECIPE, runs=tmp_path_factory.mktemp("local")).run.read_state()["result_hash"]


def test_a_class_by_its_path(runs, expected):
    options = {"n_workers": 1, "threads_per_worker": 1, "memory_limit": "500MB"}
    profile = ClassProfile(path="distributed.LocalCluster", options=options, workers=2)
    result = daskpar.run(RECIPE, profile)
    state = result.run.read_state()
    assert (state["state"], state["result_hash"]) == ("done", expected)
    assert not (result.run.path / "keys").exists()


@pytest.mark.parametrize(
    ("path", "options", "what"),
    [
        ("nowhere.Cluster", {}, "cannot import"),
        ("distributed.NoSuchCluster", {}, "cannot import"),
        ("distributed.get_client", {}, "is no class"),
        ("distributed.SpecCluster", {"no_such_argument": 1}, "refuses its arguments"),
    ],
)
def test_a_class_that_is_wrong(runs, path, options, what):
    with pytest.raises(ProfileError, match=what):
        daskpar.run(RECIPE, ClassProfile(path=path, options=options))


@pytest.fixture
def running(tmp_path):
    """A scheduler with two workers, and the profile that reaches it."""
    security = security_of("temporary", tmp_path / "keys")
    with LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0", security=security, silence_logs=50,
    ) as cluster:  # fmt: skip
        keys = {part: str(tmp_path / "keys" / f"{part}.pem") for part in PARTS}
        yield cluster, AddressProfile(address=cluster.scheduler_address, security=keys)


def test_a_running_scheduler(running, runs, expected):
    cluster, profile = running
    assert daskpar.run(RECIPE, profile).run.read_state()["result_hash"] == expected
    assert daskpar.run(RECIPE, profile).run.read_state()["result_hash"] == expected
    assert len(cluster.scheduler_info["workers"]) == 2


def test_a_foreign_key_is_refused_soon(running, runs, tmp_path):
    _, profile = running
    security_of("temporary", tmp_path / "foreign")
    keys = {part: str(tmp_path / "foreign" / f"{part}.pem") for part in PARTS}
    stranger = AddressProfile(address=profile.address, security=keys)
    begun = time.monotonic()
    with (
        pytest.raises(ClusterError, match="cannot be reached with these keys"),
        daskpar.open_client(stranger),
    ):
        pass
    assert time.monotonic() - begun < 10


def test_nobody_there(tmp_path, runs):
    security_of("temporary", tmp_path / "keys")
    keys = {part: str(tmp_path / "keys" / f"{part}.pem") for part in PARTS}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tls://127.0.0.1:{free.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match="cannot be reached"),
            daskpar.open_client(AddressProfile(address=address, security=keys)),
        ):
            pass
