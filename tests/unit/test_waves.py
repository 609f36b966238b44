"""What a driver makes of blocks whose receipts were lost: they run again, and are no failures."""

import threading
import time

from dask.distributed import Client, LocalCluster, wait

from daskpar.clusters.waves import _ended

AGAIN = threading.Event()
calls = []


def block():
    calls.append(1)
    if len(calls) > 1:
        AGAIN.wait(30)
    return {"stored": len(calls)}


def test_a_receipt_lost_with_its_worker_is_waited_for_again():
    calls.clear()
    AGAIN.clear()
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster) as client:
        future = client.submit(block, pure=False)
        wait(future)
        ((address,),) = client.who_has([future]).values()
        client.sync(cluster.scheduler.remove_worker, address, stimulus_id="test")
        deadline = time.monotonic() + 10
        while future.status != "lost" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert _ended(client, [future]) == ([], [future])
        AGAIN.set()
        wait(future)
        assert _ended(client, [future]) == ([(future.key, {"stored": 2})], [])
