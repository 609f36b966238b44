"""The lease: one driver a run, whoever died holding it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import environment

from daskpar import lease
from daskpar.errors import UsageError
from daskpar.lease import Lease, describe, is_alive

HOLD = """
import sys, time
from pathlib import Path
from daskpar.lease import Lease
with Lease(Path(sys.argv[1])).hold():
    print("held", flush=True)
    sys.stdin.read()
"""

RACE = """
import sys, time
from pathlib import Path
from daskpar.errors import UsageError
from daskpar.lease import Lease
while time.time() < float(sys.argv[2]):
    pass
try:
    with Lease(Path(sys.argv[1])).hold():
        print("held", flush=True)
        sys.stdin.read()
except UsageError:
    print("refused", flush=True)
"""


def process(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        text=True,
    )


def end(*processes):
    for one in processes:
        one.communicate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lease.json"


@pytest.fixture
def holder(path):
    """Another process that holds the lease."""
    other = process(HOLD, path)
    assert other.stdout.readline() == "held\n"
    yield other
    other.kill()
    other.communicate()


def written(path, **changes):
    """Write a lease that a process holds which differs from this one in some way."""
    value = {**describe(os.getpid()), **changes}
    path.write_text(json.dumps(value))
    return value


def test_it_is_held_inside_and_free_outside(path):
    one = Lease(path)
    assert not one.is_held()
    with one.hold():
        assert one.is_held()
        assert one.holder()["pid"] == os.getpid()
        assert one.holder()["host"] == os.uname().nodename
    assert not one.is_held()
    assert one.holder() is None
    with one.hold():
        assert one.is_held()


def test_a_live_holder_is_named_and_left_alone(path, holder):
    with pytest.raises(UsageError, match=f"pid {holder.pid} on {os.uname().nodename}"), Lease(path).hold():
        pass
    assert Lease(path).holder()["pid"] == holder.pid
    end(holder)
    with Lease(path).hold():
        assert Lease(path).holder()["pid"] == os.getpid()


def test_the_same_process_cannot_hold_it_twice(path):
    with Lease(path).hold(), pytest.raises(UsageError, match=f"pid {os.getpid()}"), Lease(path).hold():
        pass


def test_a_dead_holder_is_recognised_at_once(path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert Lease(path).holder()["pid"] == holder.pid
    assert not Lease(path).is_held()
    with Lease(path).hold():
        assert Lease(path).holder()["pid"] == os.getpid()


def test_a_dead_holder_that_nobody_has_waited_for_is_dead(path, holder):
    holder.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Lease(path).is_held():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_stopped_holder_is_alive(path, holder):
    holder.send_signal(signal.SIGSTOP)
    assert Lease(path).is_held()
    holder.send_signal(signal.SIGCONT)


def test_of_several_that_want_it_one_gets_it(path):
    for _ in range(3):
        others = [process(RACE, path, time.time() + 0.7) for _ in range(3)]
        answers = sorted(other.stdout.readline() for other in others)
        assert answers == ["held\n", "refused\n", "refused\n"]
        end(*others)


def test_a_later_process_with_the_same_pid_is_not_the_holder(path):
    written(path, started="some boot:12345")
    assert not Lease(path).is_held()


def test_another_host_holds_it_while_its_heart_beats(path):
    holder = written(path, host="node17", pid=1)
    assert Lease(path).is_held()
    with pytest.raises(UsageError, match="pid 1 on node17"), Lease(path).hold():
        pass
    assert is_alive({**holder, "heartbeat": time.time() - lease.STALE + 5})
    assert not is_alive({**holder, "heartbeat": time.time() - lease.STALE - 5})
    written(path, host="node17", pid=1, heartbeat=time.time() - lease.STALE - 5)
    with Lease(path).hold():
        assert Lease(path).holder()["host"] == os.uname().nodename


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[1, 2]", "null", "3", "{}", '{"host": "HOST", "pid": "x"}', "\0"]
)
def test_a_damaged_lease_is_nobody_s(path, text):
    path.write_text(text.replace("HOST", os.uname().nodename))
    assert not Lease(path).is_held()
    with Lease(path).hold():
        assert Lease(path).is_held()


def test_the_heart_beats(path, monkeypatch):
    monkeypatch.setattr(lease, "BEAT", 0.02)
    with Lease(path).hold():
        first = Lease(path).holder()["heartbeat"]
        deadline = time.monotonic() + 10
        while Lease(path).holder()["heartbeat"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lease_that_another_took_is_not_taken_back(path, monkeypatch):
    """After a long standstill another host may have taken over: it is not disturbed."""
    monkeypatch.setattr(lease, "BEAT", 0.02)
    with Lease(path).hold() as lost:
        assert not lost.wait(0.1)
        other = written(path, host="node17", pid=1, token="theirs")
        assert lost.wait(10)
        assert Lease(path).holder() == other
    assert Lease(path).holder() == other


def test_a_folder_that_vanishes_ends_quietly(path):
    with Lease(path).hold():
        path.unlink()
    assert Lease(path).holder() is None
