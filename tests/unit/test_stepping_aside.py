"""A worker computes its next block while a record reaches the disk; no receipt leaves before it has."""

import contextlib
import errno
import threading
import time

import numpy as np
import pytest
from dask.distributed import Client, LocalCluster

from daskpar import block, ledger, record_files
from daskpar.block import BlockWork, Lanes
from daskpar.clusters.host import WorkerHost
from daskpar.durable import Durable, digest_of
from daskpar.errors import OutputError

LARGE, SMALL = 2 * ledger.SMALL // 8, 3
PATIENCE = 30

computed = []


def compute(number, size):
    computed.append(number)
    return {"x": np.full(size, float(number))}


@pytest.fixture
def disk(monkeypatch):
    """A disk that nothing reaches before its event is set; `waiting` counts the records that wait for it."""

    class Disk(threading.Event):
        waiting = 0
        lock = threading.Lock()

        def reach(self, *_):
            with self.lock:
                self.waiting += 1
            assert self.wait(PATIENCE)

    disk = Disk()
    monkeypatch.setattr(record_files, "flush_record", disk.reach)
    monkeypatch.setattr(record_files.os, "fdatasync", disk.reach)
    monkeypatch.setattr(block, "LONG_BLOCK", 0.0)
    monkeypatch.setattr(block, "DISK", block.Disk())
    yield disk
    disk.set()


@pytest.fixture
def client():
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_the_next_block_begins_before_the_disk_is_reached(tmp_path, client, disk, size):
    computed.clear()
    work = BlockWork(str(tmp_path), host=WorkerHost(str(tmp_path)))
    keys = [digest_of(number) for number in range(4)]
    futures = [client.submit(work, Durable(compute, keys[n], f"n{n}"), n, size, pure=False) for n in range(4)]
    until(lambda: disk.waiting and len(computed) == 2)  # the second is in place, and holds the others up
    until(lambda: len(ledger.scan(tmp_path)[0]) == 2)
    assert not any(future.done() for future in futures)
    assert len(computed) == 2
    disk.set()
    receipts = client.gather(futures)
    assert sorted(computed) == [0, 1, 2, 3]
    assert {receipt["thread"] for receipt in receipts} == {0}
    assert all(receipt["total_seconds"] >= receipt["seconds"] for receipt in receipts)
    assert set(ledger.scan(tmp_path)[0]) == set(keys)


def test_a_record_is_in_place_while_its_thread_waits(tmp_path):
    seen = []

    @contextlib.contextmanager
    def waiting():
        seen.append(set(ledger.scan(tmp_path)[0]))
        yield
        seen.append("on disk")

    for number, size in enumerate((LARGE, SMALL)):
        ledger.store(tmp_path, digest_of(number), {"x": np.zeros(size)}, waiting=waiting)
    assert seen == [{digest_of(0)}, "on disk", {digest_of(0), digest_of(1)}, "on disk"]


@pytest.mark.parametrize("size", [LARGE, SMALL])
def test_a_disk_that_fails_while_it_is_waited_for(tmp_path, monkeypatch, size):
    def fail(*_):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(record_files, "flush_record", fail)
    monkeypatch.setattr(record_files.os, "fdatasync", fail)
    with pytest.raises(OutputError, match="the disk is broken"):
        ledger.store(tmp_path, digest_of(0), {"x": np.zeros(size)})


class Counting(block.Host):
    def __init__(self):
        self.times = 0

    def aside(self, leave):
        self.times += 1
        leave()
        return contextlib.nullcontext()


class Clock:
    """A clock that goes on only when a disk is waited for."""

    now = 0.0

    def time(self):
        return self.now

    perf_counter = time


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(block, "time", clock)
    monkeypatch.setattr(block, "DISK", block.Disk())
    return clock


@pytest.mark.parametrize(("wait", "times"), [(0.001, 1), (0.02, 5)])
def test_blocks_step_aside_where_the_disk_is_slow(tmp_path, monkeypatch, clock, wait, times):
    monkeypatch.setattr(block, "LONG_BLOCK", 0.0)
    monkeypatch.setattr(record_files.os, "fdatasync", lambda _: setattr(clock, "now", clock.now + wait))
    work = BlockWork(str(tmp_path), host=Counting())
    for number in range(5):
        work(Durable(compute, digest_of(number), f"n{number}"), number, SMALL)
    assert work.host.times == times  # before the first nobody knows


def test_what_is_expected_of_a_disk_follows_it(clock):
    disk = block.DISK
    with pytest.raises(OSError, match="full"), disk.timed():
        raise OSError("full")
    assert disk.expected == float("inf")
    for wait, low, high in [(0.02, 0.019, 0.021), (0.0, 0.0, 0.001)]:
        for _ in range(20):
            with disk.timed():
                clock.now += wait
        assert low <= disk.expected <= high


def test_outside_a_worker_nobody_steps_aside():
    with WorkerHost("run").aside(lambda: pytest.fail("nobody leaves")):
        pass


def test_lanes_are_the_lowest_that_are_free():
    lanes = Lanes()
    assert [lanes.take(), lanes.take(), lanes.take()] == [0, 1, 2]
    lanes.leave(1)
    lanes.leave(0)
    assert [lanes.take(), lanes.take(), lanes.take()] == [0, 1, 3]


def test_a_block_that_raises_leaves_its_lane(tmp_path):
    def fail():
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            BlockWork(str(tmp_path))(Durable(fail, digest_of(0), "fails"))
    lane = block.LANES.take()
    block.LANES.leave(lane)
    assert lane == 0
