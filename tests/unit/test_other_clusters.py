"""Clusters of any class, and schedulers that others run: the same bits, over TLS, strangers refused."""

import datetime
import socket
import subprocess
import sys
import time

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from distributed import Client, LocalCluster
from distributed.comm import CommClosedError
from processes import environment, listening, ours

import daskpar
from daskpar.clusters.keys import PARTS, security_of
from daskpar.errors import ClusterError, ProfileError
from daskpar.profile import AddressProfile, ClassProfile, KeyFiles

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


class WithoutTls(LocalCluster):
    """Forgets the keys that it is given."""

    def __init__(self, **arguments):
        super().__init__(**{**arguments, "security": None, "protocol": "tcp://"}, host="127.0.0.1")


class NoKeys:
    """Has never heard of any."""

    def __init__(self, workers=1):
        raise AssertionError("made all the same")


@pytest.mark.parametrize(
    ("path", "options", "error", "what"),
    [
        ("distributed.LocalCluster", {"security": False}, ProfileError, "is told of keys"),
        ("distributed.LocalCluster", {"protocol": "tcp://"}, ProfileError, "open to anybody"),
        (f"{__name__}.NoKeys", {}, ProfileError, "takes no security"),
        (f"{__name__}.WithoutTls", {"n_workers": 0}, ClusterError, r"without TLS, at tcp://"),
    ],
)
def test_a_class_without_tls_is_refused(runs, path, options, error, what):
    with pytest.raises(error, match=what):
        daskpar.run(RECIPE, ClassProfile(path=path, options=options))


@pytest.mark.usefixtures("runs")
def test_a_class_listens_on_loopback_with_tls():
    options = {"n_workers": 1, "threads_per_worker": 1}
    with daskpar.open_client(ClassProfile(path="distributed.LocalCluster", options=options)) as client:
        assert client.scheduler.address.startswith("tls://127.")
        assert listening(ours()) <= {"127.0.0.1", "::1"}


KEPT_OPEN = """
import sys, daskpar
from daskpar.profile import ClassProfile
options = {"n_workers": 1, "threads_per_worker": 1}
with daskpar.open_client(ClassProfile(path="distributed.LocalCluster", options=options)):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_keys_of_a_killed_process_are_swept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".cache" / "daskpar" / "clusters"
    with subprocess.Popen(
        [sys.executable, "-c", KEPT_OPEN], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        (left,) = folder.glob("*/keys")
        assert {path.stat().st_mode & 0o777 for path in left.iterdir()} == {0o600}
        below = psutil.Process(process.pid).children(recursive=True)
        (folder / "daskpar-begun").mkdir()  # by a process that has not said yet who it is
        profile = ClassProfile(path="distributed.LocalCluster", options={"n_workers": 1}, workers=1)
        with daskpar.open_client(profile):
            assert left.exists()
        process.kill()
    psutil.wait_procs(below, timeout=30)
    with daskpar.open_client(profile):
        assert not left.parent.exists()
        assert (folder / "daskpar-begun").exists()


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


def refused(profile):
    """Hold that a scheduler refuses us in 3 s, and that it is no silence that we tire of."""
    begun = time.monotonic()
    with (
        pytest.raises(ClusterError, match=r"cannot be reached with these keys.*has not expired") as caught,
        daskpar.open_client(profile),
    ):
        pass
    assert time.monotonic() - begun < 3
    assert "imed out" not in str(caught.value)


def test_a_foreign_key_is_refused_soon(running, runs, tmp_path):
    _, profile = running
    security_of("temporary", tmp_path / "foreign")
    keys = {part: str(tmp_path / "foreign" / f"{part}.pem") for part in PARTS}
    refused(AddressProfile(address=profile.address, security=keys))


def test_a_client_without_tls_is_refused_soon(running):
    cluster, _ = running
    begun = time.monotonic()
    with pytest.raises(CommClosedError):
        Client(cluster.scheduler_address.replace("tls:", "tcp:"), timeout="60s")
    assert time.monotonic() - begun < 3


def make_keys(folder, days):
    """Write an authority and, by name, its certificates that end in so many days; return their key files."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)

    def write(name, key, until, signer, authority):
        subject, issuer = (
            x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (name, "authority")
        )
        certificate = (
            x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=until))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    signer = rsa.generate_private_key(65537, 2048)
    write("authority", signer, 9, signer, True)
    for name, until in days.items():
        key = rsa.generate_private_key(65537, 2048)
        write(name, key, until, signer, False)
        plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
    return {
        name: {
            "ca_file": str(folder / "authority.pem"),
            "cert": str(folder / f"{name}.pem"),
            "key": str(folder / f"{name}.key"),
        }
        for name in days
    }


def test_a_stale_certificate_is_refused_soon(tmp_path):
    """Of the same authority, so that nothing but its date is wrong."""
    keys = make_keys(tmp_path / "keys", {"valid": 9, "stale": -1})
    security = security_of(KeyFiles(**keys["valid"]), tmp_path)
    with LocalCluster(
        n_workers=1, processes=False, protocol="tls://", host="127.0.0.1", dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0", security=security, silence_logs=50,
    ) as cluster:  # fmt: skip
        address = cluster.scheduler_address
        refused(AddressProfile(address=address, security=keys["stale"]))
        with daskpar.open_client(AddressProfile(address=address, security=keys["valid"])) as client:
            assert client.submit(sum, [1, 2]).result() == 3


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
