"""The run directory: what a watcher reads is true, whatever the driver was doing when it died."""

import json
import os
import re
import stat

import pytest

from daskpar import rundir
from daskpar.driver import sweep_keys
from daskpar.errors import OutputError, UsageError
from daskpar.rundir import (
    EMPTY_STATE,
    RECORDS,
    RunDirectory,
    create_run,
    find_run,
    folder_bytes,
    list_runs,
    runs_folder,
    safe_title,
)

FIELDS = {
    "name",
    "state",
    "profile",
    "blocks_done",
    "blocks_total",
    "started",
    "ended",
    "result_hash",
    "error",
    "path",
}


def begun(folder, title="m13", created="2026-01-01", **state):
    run = create_run(title, folder)
    run.write_record({"created": created})
    run.write_state({**rundir.EMPTY_STATE, "name": run.name, **state})
    return run


def test_a_new_run_is_its_owner_s_alone(tmp_path):
    run = create_run("m13", tmp_path / "runs")
    assert re.fullmatch(r"m13-\d{8}-\d{6}-[0-9a-f]{4}", run.name)
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o700
    assert sorted(path.name for path in run.path.iterdir()) == ["ledger", "logs"]
    assert create_run("m13", tmp_path / "runs").name != run.name


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(OutputError, match=r"choose a folder with --runs"):
        create_run("m13", tmp_path / "runs")


def test_status_holds_what_is_promised(tmp_path):
    run = begun(tmp_path, state="done", blocks_done=3, blocks_total=3, result_hash="ab")
    status = run.status()
    assert set(status) >= FIELDS
    assert (status["name"], status["state"], status["path"]) == (run.name, "done", str(run.path))
    json.dumps(status)


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "null", '{"state": '])
def test_a_damaged_state_is_an_interrupted_run(tmp_path, text):
    run = begun(tmp_path)
    (run.path / "state.json").unlink()
    if text is not None:
        (run.path / "state.json").write_text(text)
    assert set(run.status()) >= FIELDS
    assert run.status()["state"] == "interrupted"


def test_running_is_said_only_while_a_driver_lives(tmp_path):
    run = begun(tmp_path, state="running")
    with run.lease.hold():
        assert run.status()["state"] == "running"
    status = run.status()
    assert status["state"] == "interrupted"
    assert "resume" in status["error"]


def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(tmp_path, monkeypatch):
    run = begun(tmp_path, state="running")

    def end_first(self):
        run.write_state({**run.read_state(), "state": "done"})
        return False

    monkeypatch.setattr(rundir.Lease, "is_held", end_first)
    assert run.status()["state"] == "done"


def test_events_come_back_in_order_from_any_offset(tmp_path):
    run = begun(tmp_path)
    assert list(run.events()) == []
    events = [{"event": "block", "n": n, "text": "é\n"} for n in range(5)]
    run.append_events(events[:2])
    run.append_events([])
    run.append_events(events[2:])
    found = list(run.events())
    assert [event for event, _ in found] == events
    assert found[-1][1] == (run.path / "events.jsonl").stat().st_size
    for number, (_, offset) in enumerate(found):
        assert [event for event, _ in run.events(offset)] == events[number + 1 :]


def test_a_line_being_written_is_read_when_it_is_complete(tmp_path):
    run = begun(tmp_path)
    run.append_events([{"event": "a"}])
    file = run.path / "events.jsonl"
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert list(run.events()) == []
    file.write_bytes(whole)
    assert [event for event, _ in run.events()] == [{"event": "a"}]


def test_a_line_torn_by_a_crash_costs_no_other(tmp_path):
    run = begun(tmp_path)
    run.append_events([{"event": "a"}, {"event": "torn"}])
    file = run.path / "events.jsonl"
    file.write_bytes(file.read_bytes()[:-5])
    run.append_events([{"event": "b"}])
    run.append_events([{"event": "c"}])
    assert [event["event"] for event, _ in run.events()] == ["a", "b", "c"]


def test_a_full_disk_is_an_output_error(tmp_path):
    run = begun(tmp_path)
    os.symlink("/dev/full", run.path / "events.jsonl")
    with pytest.raises(OutputError, match=r"events\.jsonl"):
        run.append_events([{"event": "a"}])


def test_runs_are_listed_oldest_first_and_others_passed_over(tmp_path):
    late = begun(tmp_path, "a", created="2026-02-01")
    early = begun(tmp_path, "b", created="2026-01-01")
    create_run("never-begun", tmp_path)
    (tmp_path / "notes.txt").write_text("")
    damaged = begun(tmp_path, "c")
    for name in RECORDS:
        (damaged.path / name).write_text("{")
    assert [run.name for run in list_runs(tmp_path)] == [early.name, late.name]
    assert list_runs(tmp_path / "none") == []


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_record_is_written_again_from_its_copy(tmp_path, name, text):
    run = begun(tmp_path, "a", created="2026-01-01")
    record, path = run.record, run.path / name
    assert run.mend_record() == ""
    path.write_text(text)
    assert list_runs(tmp_path) == [run]
    assert run.mend_record() == f"{name} was damaged and is written again"
    assert run.record == json.loads(path.read_text()) == record


def test_a_run_without_a_copy_gets_one(tmp_path):
    run = begun(tmp_path, "a", created="2026-01-01")
    (run.path / ".run.json").unlink()
    assert run.mend_record() == ""
    assert json.loads((run.path / ".run.json").read_text()) == run.record


def test_a_run_is_found_by_path_name_unique_prefix_or_last(tmp_path):
    one, two = begun(tmp_path, "m13", created="1"), begun(tmp_path, "m31", created="2")
    for token in (str(one.path), one.name, "m13"):
        assert find_run(token, tmp_path) == one
    assert find_run("last", tmp_path) == two
    with pytest.raises(UsageError, match="fits 2 runs") as error:
        find_run("m", tmp_path)
    assert one.name in str(error.value)
    with pytest.raises(UsageError, match="there is no run 'x'") as error:
        find_run("x", tmp_path)
    assert two.name in str(error.value)
    with pytest.raises(UsageError, match="none yet"):
        find_run("last", tmp_path / "empty")


def test_a_name_that_begins_another_is_itself(tmp_path):
    for name in ("m13", "m13-b"):
        (tmp_path / name).mkdir()
        RunDirectory(tmp_path / name).write_record({"created": ""})
    assert find_run("m13", tmp_path).name == "m13"


def test_what_is_no_run_says_so(tmp_path):
    with pytest.raises(UsageError, match="is not a run directory"):
        _ = RunDirectory(tmp_path).record


def test_the_folder_of_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DASKPAR_RUNS", raising=False)
    assert runs_folder() == tmp_path / "runs"
    monkeypatch.setenv("DASKPAR_RUNS", str(tmp_path / "env"))
    assert runs_folder() == tmp_path / "env"
    assert runs_folder("here") == tmp_path / "here"


def test_sizes_are_of_all_files_below(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x").write_bytes(bytes(10))
    (tmp_path / "a" / "b" / "y").write_bytes(bytes(32))
    os.symlink("nowhere", tmp_path / "link")
    assert folder_bytes(tmp_path) == 42 + len("nowhere")


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("m13", "m13"),
        ("../../etc", "_.._etc"),
        ("M 13/night", "M_13_night"),
        ("", "run"),
        ("é" * 99, "_" * 1),
    ],
)
def test_titles_become_names_of_one_folder(title, name):
    found = safe_title(title)
    assert found == name
    assert "/" not in found
    assert not found.startswith(".")


def test_keys_of_runs_that_were_killed_are_swept(tmp_path):
    left = {}
    for state in ("running", "pending", "failed"):
        run = create_run(state, tmp_path)
        run.write_state({**EMPTY_STATE, "state": state})
        run.keys.mkdir()
        left[state] = run.keys
    held = create_run("held", tmp_path)
    held.write_state({**EMPTY_STATE, "state": "running"})
    held.keys.mkdir()
    with held.lease.hold():
        sweep_keys(tmp_path)
        assert [path.exists() for path in (*left.values(), held.keys)] == [False, True, False, True]
