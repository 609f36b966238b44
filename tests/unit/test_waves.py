"""How a driver comes by the receipts of blocks: it is told, or fetches them; what is lost runs again."""

import threading
import time

import pytest
from dask.distributed import Client, LocalCluster, wait

from daskpar.block import Receipt
from daskpar.clusters.host import Heard, PassReceipts, WorkerHost
from daskpar.clusters.waves import _ended, settle

AGAIN = threading.Event()
calls = []


def block():
    calls.append(1)
    if len(calls) > 1:
        AGAIN.wait(30)
    return {"stored": len(calls)}


def telling(number, run="ours"):
    receipt = Receipt(stored=number)
    WorkerHost(run).tell(receipt)
    return receipt


@pytest.fixture
def again():
    """Return what a second execution waits for."""
    calls.clear()
    AGAIN.clear()
    yield AGAIN
    AGAIN.set()


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client.register_plugin(PassReceipts())
        yield cluster


def test_receipts_that_were_told_are_not_fetched(cluster, monkeypatch):
    with Client(cluster) as client, Heard(client, "ours") as heard:
        futures = client.map(telling, range(20), pure=False)
        wait(futures)
        monkeypatch.setattr(Client, "gather", lambda *_: pytest.fail("a receipt is fetched"))
        ended, again = _ended(client, futures, heard)
        assert [dict(receipt) for _, receipt in ended] == [{"stored": number} for number in range(20)]
        assert not again
        assert heard.take(futures[0].key) is None


def telling_once(number):
    calls.append(number)
    if len(calls) > 1:
        AGAIN.wait(30)
    return telling(number)


def test_a_receipt_that_was_told_outlives_its_worker(cluster, again):
    with Client(cluster) as client, Heard(client, "ours") as heard:
        future = client.submit(telling_once, 7, pure=False)
        wait(future)
        ((address,),) = client.who_has([future]).values()
        client.sync(cluster.scheduler.remove_worker, address, stimulus_id="test")
        until(lambda: future.status == "lost")
        ((key, receipt),), repeated = _ended(client, [future], heard)
        assert (key, dict(receipt), repeated) == (future.key, {"stored": 7}, [])


def test_receipts_of_other_runs_are_not_heard(cluster):
    with Client(cluster) as client, Heard(client, "ours") as heard:
        future = client.submit(telling, 7, "another", pure=False)
        wait(future)
        assert heard.take(future.key) is None
        ((key, receipt),), again = _ended(client, [future], heard)
        assert (key, dict(receipt), again) == (future.key, {"stored": 7}, [])


def test_who_is_no_worker_tells_nobody():
    assert dict(telling(1)) == {"stored": 1}


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_receipt_lost_with_its_worker_is_waited_for_again(cluster, again):
    with Client(cluster) as client:
        heard = Heard(client, "ours")
        future = client.submit(block, pure=False)
        wait(future)
        ((address,),) = client.who_has([future]).values()
        client.sync(cluster.scheduler.remove_worker, address, stimulus_id="test")
        until(lambda: future.status == "lost")
        assert _ended(client, [future], heard) == ([], [future])
        again.set()
        wait(future)
        assert _ended(client, [future], heard) == ([(future.key, {"stored": 2})], [])


def lasting(path):
    (path / "begun").touch()
    until((path / "go").exists)
    time.sleep(0.3)  # past the end of a `settle` that does not wait
    (path / "ended").touch()


def test_a_block_that_began_unseen_is_let_end(cluster, tmp_path, monkeypatch):
    """Asked which run, the workers say none; then one begins a block, and is told to begin no other."""
    asked = []
    with Client(cluster) as client:
        future = client.submit(lasting, tmp_path)
        until((tmp_path / "begun").exists)
        original = client.run

        def run(function, *arguments, **options):
            asked.append(function)
            if len(asked) == 1:
                return {"worker": []}
            (tmp_path / "go").touch()
            return original(function, *arguments, **options)

        monkeypatch.setattr(client, "run", run)
        settle(client, 20.0)
        assert future.cancelled()
        assert (tmp_path / "ended").exists()
