"""The driver's diary: what happened is on disk within a second, and at the end all of it."""

import os
import threading
import time

import pytest

from daskpar import journal as module
from daskpar.errors import OutputError, UsageError
from daskpar.journal import Journal
from daskpar.rundir import create_run


@pytest.fixture
def run(tmp_path):
    return create_run("t", tmp_path)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "PERIOD", 0.01)


def wait_for(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def kinds(run):
    return [event["event"] for event, _ in run.events()]


def test_state_is_there_from_the_first_moment(run):
    with Journal(run, {"state": "running"}).kept():
        assert run.read_state()["state"] == "running"


def test_changes_reach_the_disk_while_it_runs(run):
    with Journal(run, {"state": "running"}).kept() as journal:
        journal.update(blocks_done=3)
        journal.event("block", n=1)
        wait_for(lambda: run.read_state().get("blocks_done") == 3 and kinds(run) == ["block"])
        assert journal.state["blocks_done"] == 3


def test_all_is_written_at_the_end_also_of_a_failure(run):
    def work():
        with Journal(run, {"state": "running"}).kept() as journal:
            for n in range(1000):
                journal.event("block", n=n)
            journal.update(state="failed")
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        work()
    assert [event["n"] for event, _ in run.events()] == list(range(1000))
    assert run.read_state()["state"] == "failed"


def test_state_is_replaced_only_when_something_changed(run):
    with Journal(run, {"state": "running"}).kept():
        first = os.stat(run.path / "state.json").st_ino
        time.sleep(0.1)
        assert os.stat(run.path / "state.json").st_ino == first


def test_events_have_times_that_do_not_go_back(run):
    with Journal(run, {}).kept() as journal:
        for _ in range(50):
            journal.event("a")
    times = [event["time"] for event, _ in run.events()]
    assert times == sorted(times)


def test_many_threads_may_tell_it(run):
    with Journal(run, {}).kept() as journal:
        threads = [
            threading.Thread(target=lambda: [journal.event("x") for _ in range(200)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(kinds(run)) == 800


def test_no_thread_stays_behind(run):
    with Journal(run, {}).kept():
        assert "daskpar-journal" in {thread.name for thread in threading.enumerate()}
    assert "daskpar-journal" not in {thread.name for thread in threading.enumerate()}


def test_a_disk_that_fills_up_ends_the_run_with_its_own_error(run):
    os.symlink("/dev/full", run.path / "events.jsonl")

    def work():
        with Journal(run, {}).kept() as journal:
            journal.event("block")
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                journal.update(n=1)
                time.sleep(0.005)

    with pytest.raises(OutputError, match=r"events\.jsonl"):
        work()


def test_who_has_lost_the_run_writes_nothing_more(run):
    lost = threading.Event()

    def work():
        with Journal(run, {"state": "running"}, lost).kept() as journal:
            lost.set()
            journal.event("late")
            journal.update(state="done")

    with pytest.raises(UsageError, match="another driver"):
        work()
    assert run.read_state()["state"] == "running"
    assert kinds(run) == []


def test_an_older_state_never_comes_after_a_newer_one(run, monkeypatch):
    """A slow disk holds one thread up while it writes; another has something newer to write meanwhile."""
    begun, go_on, write = threading.Event(), threading.Event(), run.write_state

    def slow(state):
        if state["state"] == "running":
            begun.set()
            assert go_on.wait(10)
        write(state)

    monkeypatch.setattr(type(run), "write_state", lambda self, state: slow(state))
    journal = Journal(run, {"state": "running"})
    first = threading.Thread(target=journal.write)
    first.start()
    assert begun.wait(10)
    journal.update(state="done")
    second = threading.Thread(target=journal.write)
    second.start()
    second.join(0.2)
    go_on.set()
    first.join()
    second.join()
    assert run.read_state()["state"] == "done"
