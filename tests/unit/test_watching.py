"""Watchers read a run directory from where they left off, and aggregate what 500 workers did."""

import json
import time

import numpy as np
import pytest

from daskpar.dashboard import reach
from daskpar.dashboard.texts import events, failures, heading
from daskpar.dashboard.timeline import MOST_BARS, Timeline
from daskpar.dashboard.watching import Runs, Watcher, duration, pace
from daskpar.rundir import EMPTY_STATE, RunDirectory


def receipt(number, *, began=0.0, seconds=1.0, pid=1, thread=1, preview=None, **more):
    return {
        "event": "block", "time": "2026-01-01T00:00:00+00:00", "key": f"{number:040x}",
        "label": f"part {number}",
        "started": began, "total_seconds": seconds, "seconds": seconds, "host": "node1",
        "pid": pid, "thread": thread,
        "bytes": 10, "memory_bytes": 1000 * pid, "preview": preview, **more,
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "runs" / "one")
    run.path.mkdir(parents=True)
    run.write_record({"name": "one", "created": "2026", "recipe": {"analysis": "map", "options": {}}})
    run.write_state({**EMPTY_STATE, "name": "one", "state": "done"})
    return run


def test_each_event_is_read_once(run):
    watcher = Watcher(run)
    assert len(watcher.look_all().seen.timeline) == 0
    for number in range(5):
        run.append_events([receipt(number, preview={"n": number})])
        assert watcher.look() is True
        assert [one["preview"]["n"] for one in watcher.take()] == [number]
    assert watcher.look() is False
    assert watcher.take() == []
    assert len(watcher.seen.timeline) == 5


def test_a_line_that_is_being_written_is_read_when_it_is_complete(run):
    line = json.dumps(receipt(1, preview=1))
    path = run.path / "events.jsonl"
    path.write_text(line[:50])
    watcher = Watcher(run).look_all()
    assert len(watcher.seen.timeline) == 0
    path.write_text(line + "\n")
    assert len(watcher.look_all().take()) == 1


def test_what_a_crash_tore_hides_nothing_behind_it(run):
    (run.path / "events.jsonl").write_text('{"event": "blo')
    run.append_events([receipt(2, preview=1)])
    assert len(Watcher(run).look_all().take()) == 1


def test_another_file_in_its_place_is_read_from_its_beginning(run):
    run.append_events([receipt(number, preview=1) for number in range(3)])
    watcher = Watcher(run).look_all()
    (run.path / "events.jsonl").write_text(json.dumps(receipt(7, preview=7)) + "\n")
    watcher.look_all()
    assert watcher.restarts == 1
    assert [one["preview"] for one in watcher.take()] == [7]
    assert len(watcher.seen.timeline) == 1


def test_a_block_computed_again_is_counted_and_shown_once(run):
    run.append_events([receipt(1, preview=1), receipt(1, preview=1), receipt(2, preview=2)])
    watcher = Watcher(run).look_all()
    assert [one["preview"] for one in watcher.take()] == [1, 2]
    assert watcher.seen.again == 1
    assert len(watcher.seen.timeline) == 3, "both took a worker's time"


def test_failures_and_notes_are_kept_and_escaped(run):
    run.append_events([
        {"event": "stage", "time": "2026-01-01T00:00:00", "name": "<b>blocks", "blocks": 2},
        {"event": "failed", "time": "t", "label": "<script>x", "message": "a < b", "traceback": "line <1>"},
    ])  # fmt: skip
    seen = Watcher(run).look_all().seen
    assert seen.failed == 1
    shown = failures(seen.failures, seen.failed, seen.again) + events(seen.notes)
    assert "<script>" not in shown
    assert "<b>blocks" not in shown
    assert "&lt;script&gt;x" in shown
    assert "line &lt;1&gt;" in shown
    state = {**EMPTY_STATE, "name": "<i>", "error": "<u>", "state": "failed"}
    assert "<i>" not in heading(state, pace(state, Timeline()), "")


def test_a_look_is_short_however_much_is_new(run):
    many = [receipt(number, pid=number % 500, began=number / 100, preview=None) for number in range(50_000)]
    run.append_events(many)
    watcher = Watcher(run)
    looks = 0
    while not watcher.complete:
        started = time.monotonic()
        watcher.look(0.05)
        assert time.monotonic() - started < 5
        looks += 1
    assert looks > 1
    assert len(watcher.seen.timeline) == 50_000
    timeline = watcher.seen.timeline
    assert timeline.bars() is None
    busy = timeline.busy()
    assert busy.shape == (500, 240), "as much to draw as there are workers, not blocks"
    assert timeline.workers == 500
    span = timeline.span[1] - timeline.span[0]
    assert busy.sum() * span / 240 == pytest.approx(50_000, rel=1e-9)
    assert len(timeline.throughput()[1]) == 80


def test_throughput_counts_every_block_once():
    timeline = Timeline()
    for number in range(100):
        timeline.add(receipt(number, began=number * 0.1, seconds=0.1))
    edges, rate = timeline.throughput()
    assert np.sum(rate * np.diff(edges)) == pytest.approx(100)


def test_busy_shares_against_a_sum_by_hand():
    rng = np.random.default_rng(1)
    timeline, blocks = Timeline(), []
    for number in range(200):
        began, seconds, pid = rng.uniform(0, 50), rng.exponential(3.0), int(rng.integers(100))
        timeline.add(receipt(number, began=began, seconds=seconds, pid=pid))
        blocks.append((began, began + seconds, pid))
    start, end = min(b[0] for b in blocks), max(b[1] for b in blocks)
    edges = np.linspace(start, end, 31)
    names = timeline.lanes()
    by_hand = np.zeros((len(names), 30))
    for began, ended, pid in blocks:
        for k in range(30):
            overlap = min(ended, edges[k + 1]) - max(began, edges[k])
            by_hand[names.index(f"node1:{pid}"), k] += max(overlap, 0) / (edges[1] - edges[0])
    np.testing.assert_allclose(timeline.busy(30), by_hand, atol=1e-9)


def test_lanes_are_threads_while_there_are_few():
    timeline = Timeline()
    for number in range(8):
        timeline.add(receipt(number, pid=1 + number // 4, thread=number))
    assert timeline.lanes() == [
        f"node1:{pid}{more}" for pid in (1, 2) for more in ("", " (2)", " (3)", " (4)")
    ]
    bars = timeline.bars()
    assert bars["label"] == [f"part {number}" for number in range(8)]
    assert sorted(set(bars["lane"])) == sorted(timeline.lanes())
    assert timeline.workers == 2
    times, held = timeline.memory()
    assert len(times) == len(held) > 0
    for number in range(MOST_BARS):
        timeline.add(receipt(number))
    assert timeline.bars() is None


def test_the_rate_does_not_reach_back_over_a_pause(run):
    run.append_events([receipt(number, began=number, seconds=1) for number in range(10)])
    later = 1e6
    run.append_events([{"event": "cluster", "time": "t", "seconds": 1}])
    run.append_events([receipt(10 + number, began=later + number, seconds=1) for number in range(5)])
    watcher = Watcher(run).look_all()
    state = {"state": "running", "blocks_done": 15, "blocks_total": 25, "written": later + 5}
    found = pace(state, watcher.seen.timeline)
    assert found["rate"] == pytest.approx(1.0, rel=0.01)
    assert found["left_seconds"] == pytest.approx(10, rel=0.01)
    assert found["share"] == 0.6
    assert pace({**state, "state": "done"}, watcher.seen.timeline)["left_seconds"] is None


def test_runs_are_found_by_name_only(run, tmp_path):
    runs = Runs(tmp_path / "runs")
    assert runs.look("one").run.path == run.path
    assert runs.look("one") is runs.look("one")
    assert runs.look(str(run.path)) is None
    assert runs.look("../runs/one") is None
    elsewhere = Runs(tmp_path / "none", run)
    assert elsewhere.look("one").run == run


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0.2, "0 s"),
        (99, "99 s"),
        (600, "10 min"),
        (7500, "2 h 05 min"),
        (360_000, "4 d 4 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_the_ssh_line_of_a_driver_on_another_node(run, monkeypatch):
    monkeypatch.setattr(reach, "_user", lambda: "ann")
    monkeypatch.setattr(reach, "this_host", lambda: "login.site")
    state = {"state": "running", "dashboard": "http://127.0.0.1:4567/status"}
    (run.path / "lease.json").write_text(json.dumps({"host": "node7"}))
    assert reach.dask_dashboard(run, state) == (
        "http://127.0.0.1:4567/status", "ssh -N -L 4567:127.0.0.1:4567 -J ann@login.site node7"
    )  # fmt: skip
    (run.path / "lease.json").unlink()
    assert reach.dask_dashboard(run, state)[1] == "ssh -N -L 4567:127.0.0.1:4567 ann@login.site"
    assert reach.dask_dashboard(run, {**state, "state": "done"}) is None
    assert reach.dask_dashboard(run, {**state, "dashboard": "javascript:alert(1)"}) is None


def test_blocks_stored_but_not_reported_are_shown_without_a_time(run):
    run.append_events([
        receipt(1, preview=1),
        {"event": "recovered", "time": "t", "key": f"{2:040x}", "label": "part 2", "preview": 2},
        {"event": "block", "key": 5},
        {"event": "recovered", "time": "t", "key": f"{1:040x}", "label": "part 1", "preview": 1},
    ])  # fmt: skip
    with open(run.path / "events.jsonl", "a") as file:
        file.write("3\n[]\n")
    watcher = Watcher(run).look_all()
    assert [one["preview"] for one in watcher.take()] == [1, 2]
    assert len(watcher.seen.timeline) == 2


def test_the_list_follows_the_folder(run, tmp_path):
    runs = Runs(tmp_path / "runs")
    assert [one.name for one in runs.listed()] == ["one"]
    two = RunDirectory(tmp_path / "runs" / "two")
    two.path.mkdir()
    (two.path / "run.json").write_text("{")
    assert [one.name for one in runs.listed()] == ["one"]
    two.write_record({"name": "two", "created": "2027"})
    assert [one.name for one in runs.listed()] == ["two", "one"]
    (two.path / "run.json").unlink()
    assert [one.name for one in runs.listed()] == ["one"]
