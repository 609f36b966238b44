"""Workers on this machine: what a profile says, over loopback only, and nothing left behind."""

import contextlib
import os
import signal
import sys

import psutil
import pytest
from dask.utils import parse_timedelta
from distributed import LocalCluster
from distributed.deploy import spec
from processes import listening, ours

import daskpar
from daskpar import clusters
from daskpar.errors import ClusterError
from daskpar.profile import LocalProfile


@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("dashboard", [True, False])
def test_nothing_listens_beyond_loopback(processes, dashboard):
    before = set(ours())
    profile = LocalProfile(workers=1, processes=processes, dashboard=dashboard)
    with daskpar.open_client(profile) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert listening(ours()) <= {"127.0.0.1", "::1"}
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        if processes:
            assert client.scheduler.address.startswith("tls://127.0.0.1:")
    psutil.wait_procs(set(ours()) - before, timeout=10)
    assert set(ours()) <= before


def test_a_worker_is_what_the_profile_says():
    with daskpar.open_client("local", workers=2, cores=3, memory="300 MiB") as client:
        assert list(client.nthreads().values()) == [3, 3]
        limits = {worker["memory_limit"] for worker in client.scheduler_info()["workers"].values()}
        assert limits == {300 * 2**20}
        variables = client.run(
            lambda: {n: os.environ.get(n) for n in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
        )
        assert all(
            found == {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"} for found in variables.values()
        )
        assert len({client.submit(os.getpid, pure=False).result() for _ in range(4)} | {os.getpid()}) >= 2


def test_workers_import_no_bokeh():
    """It would be for pages of their own, to which nobody is pointed, and takes each of them seconds."""
    with daskpar.open_client("local", workers=1) as client:
        assert client.submit(lambda: "bokeh" in sys.modules).result() is False


def test_threads_are_limited_whatever_is_exported_and_the_environment_is_given_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    before = dict(os.environ)
    with daskpar.open_client("local", workers=1) as client:
        assert client.submit(os.environ.get, "OMP_NUM_THREADS").result() == "1"
        assert client.submit(os.environ.get, "NUMBA_CACHE_DIR").result()
    assert dict(os.environ) == before


def test_a_worker_that_takes_long_to_come_back_is_not_given_up(monkeypatch):
    monkeypatch.setattr(spec, "parse_timedelta", lambda text: parse_timedelta(text) / 100)
    with daskpar.open_client("local", workers=1) as client:
        os.kill(client.submit(os.getpid).result(), signal.SIGKILL)
        assert client.submit(os.getpid, pure=False).result(timeout=30)
        assert len(client.cluster.workers) == 1


@pytest.mark.parametrize("cause", [None, KeyError("why")])
def test_what_ended_a_block_is_told_though_closing_fails_too(monkeypatch, cause):
    original = LocalCluster.close

    def close(cluster, *arguments, **options):
        original(cluster, *arguments, **options)
        raise AssertionError("can only join a started process")

    monkeypatch.setattr(LocalCluster, "close", close)
    with pytest.raises(ValueError, match="the reason") as caught:
        with daskpar.open_client("local", workers=1, processes=False, dashboard=False):
            raise ValueError("the reason") from cause
    assert caught.value.__cause__ is cause
    with pytest.raises(AssertionError), daskpar.open_client("local", workers=1, processes=False):
        pass


@contextlib.contextmanager
def queueing(profile, place):
    """An opener that knows more of the reason than the run, and fails to close."""
    try:
        yield "client"
    except ClusterError as error:
        raise ClusterError("the queue says why", "daskpar resume continues the run") from error
    finally:
        raise ClusterError("no controller", "wait")


def test_what_an_opener_says_of_the_reason_is_kept(monkeypatch):
    monkeypatch.setitem(clusters.OPENERS, "local", f"{__name__}:queueing")
    with pytest.raises(ClusterError, match="the queue says why"), daskpar.open_client("local"):
        raise ClusterError("no workers", "wait")
    with pytest.raises(ValueError, match="mine"), daskpar.open_client("local"):
        raise ValueError("mine")
    with pytest.raises(ClusterError, match="no controller"), daskpar.open_client("local"):
        pass
