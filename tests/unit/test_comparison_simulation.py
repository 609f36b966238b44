"""Replays of blocks on more workers: exact where that can be known, honest where not."""

import numpy as np
import pytest

from daskpar.comparison.recorded_runs import predicted, recording_of
from daskpar.comparison.simulation import (
    SCHEDULER_FACTOR,
    SCHEDULER_SECONDS,
    Prediction,
    Recording,
    predict,
    recorded,
    relative_error,
    stage_seconds,
    worth_it,
)
from daskpar.comparison.sweep import sweep_sentences, task_cost, with_block_size
from daskpar.errors import UsageError
from daskpar.recipe import Recipe
from daskpar.rundir import RunDirectory


def test_equal_blocks_take_as_many_turns_as_they_must():
    assert stage_seconds([2.0] * 6, 1, 0.0) == 12
    assert stage_seconds([2.0] * 6, 3, 0.0) == pytest.approx(4, abs=3 * SCHEDULER_SECONDS)
    assert stage_seconds([2.0] * 7, 3, 0.0) == pytest.approx(6, abs=3 * SCHEDULER_SECONDS)
    assert stage_seconds([2.0] * 3, 64, 0.0) == pytest.approx(2, abs=3 * SCHEDULER_SECONDS)
    assert stage_seconds([], 4, 0.0) == 0


def test_whoever_is_free_takes_the_next_block():
    assert stage_seconds([4.0, 1.0, 1.0, 1.0], 2, 0.0) == pytest.approx(4, abs=2 * SCHEDULER_SECONDS)
    assert stage_seconds([1.0, 1.0, 1.0, 4.0], 2, 0.0) == pytest.approx(5, abs=2 * SCHEDULER_SECONDS)


def test_the_scheduler_is_a_limit_that_no_worker_lifts():
    """Blocks shorter than the scheduler's time for all workers together wait for it."""
    limit = 999 * SCHEDULER_SECONDS + 0.01
    assert stage_seconds([0.01] * 1000, 1000, 0.0) == pytest.approx(limit)
    assert stage_seconds([0.01] * 1000, 100, 0.002) == pytest.approx(limit)


def test_a_worker_pauses_between_its_blocks():
    assert stage_seconds([1.0] * 10, 1, 0.01) == pytest.approx(10.1)
    assert stage_seconds([1.0] * 10, 5, 0.01) == pytest.approx(2.02, abs=5 * SCHEDULER_SECONDS)


@pytest.mark.parametrize("workers", [1, 2, 5, 64])
def test_no_replay_beats_the_bounds(workers):
    blocks = np.random.default_rng(1).exponential(1.0, 200)
    found = stage_seconds(blocks, workers, 0.0)
    assert max(blocks.sum() / workers, blocks.max()) - 1e-9 <= found
    # Graham's bound for list scheduling.
    assert found <= blocks.sum() / workers + blocks.max() + workers * SCHEDULER_SECONDS


def test_stages_wait_for_each_other():
    recording = Recording((np.array([1.0, 3.0]), np.array([2.0])), 0.0)
    assert recording.makespan(8) == pytest.approx(5, abs=2 * SCHEDULER_SECONDS)
    assert recording.blocks == 3
    with pytest.raises(UsageError):
        recording.makespan(0)


def made_blocks(seconds, stages, workers, pause):
    """Return what is recorded of blocks that so many workers computed in turn, with a pause between them."""
    found = {name: [] for name in ("total_seconds", "stage", "started", "lane", "bytes")}
    began = 0.0
    for stage in dict.fromkeys(stages):
        free = [began] * workers
        for took in (one for one, of in zip(seconds, stages, strict=True) if of == stage):
            lane = free.index(min(free))
            for name, value in zip(found, (took, stage, free[lane] + pause, lane, 1_000_000), strict=True):
                found[name].append(value)
            free[lane] += pause + took
        began = max(free)
    return found


def test_what_was_measured_is_found_again():
    """Times made with pauses and a serial part: both are found, and other numbers of workers follow."""
    seconds = np.random.default_rng(3).uniform(0.2, 0.4, 300).tolist()
    stages = ["a"] * 100 + ["b"] * 200
    parts = np.array(seconds[:100]), np.array(seconds[100:])
    truth = Recording(parts, 0.004, 1.5)
    found = recorded(made_blocks(seconds, stages, 2, 0.004), startup_seconds=5.0)
    measured = {n: truth.makespan(n) for n in (1, 2)}
    assert found.pause_seconds == pytest.approx(0.004)
    assert found.fitted(measured).serial_seconds == pytest.approx(1.5, abs=1e-6)
    assert relative_error(found, measured) < 1e-6
    few, many = predict(found, [2, 64], measured)
    assert (few.extrapolated, many.extrapolated) == (False, True)
    assert few.seconds == pytest.approx(measured[2] + 5)
    assert many.seconds == pytest.approx(truth.makespan(64) + 5)
    assert 0 < many.error < 0.2 * many.seconds
    assert many.stored_rate == pytest.approx(300e6 / truth.makespan(64))
    assert predict(found, [2, 64], measured) == [few, many]


def test_the_error_of_the_model_is_that_of_what_it_was_not_fitted_to():
    """Work that gets slower by a tenth with a second worker, as where memory is short: the error says so."""
    found = recorded(made_blocks([1.0] * 40, ["a"] * 40, 1, 0.0))
    assert relative_error(found, {1: 40.0, 2: 22.0}) == pytest.approx(0.09, abs=0.02)
    assert relative_error(found, {1: 40.0}) is None
    (one,) = predict(found, [8], {1: 40.0})
    assert one.error is None
    assert one.text() == "8 workers: 5.0 s (extrapolated, error unknown)"


def test_the_scheduler_of_many_workers_is_uncertain():
    """Two workers do not show what it costs to hand out the first blocks of 64, one after the other."""
    found = recorded(made_blocks([0.5] * 128, ["a"] * 128, 1, 0.0))
    few, many = predict(found, [2, 64], {1: 64.0, 2: 32.0})
    assert few.error < 0.02
    assert many.seconds == pytest.approx(1 + 63 * SCHEDULER_SECONDS)
    assert many.error == pytest.approx(63 * SCHEDULER_SECONDS * (SCHEDULER_FACTOR - 1), rel=0.01)


def test_predictions_in_words():
    found = [Prediction(8, 2520, 360, True), Prediction(16, 1980, 300, True), Prediction(32, 1950, 300, True)]
    first, second, third = worth_it(found)
    assert first == "8 workers: 42 ± 6 min (extrapolated)"
    assert second == "16 workers: 33 ± 5 min (extrapolated), saves 9 min more"
    assert third.endswith("saves nothing that can be told")
    assert Prediction(1, 3.25, 0.12, False).text() == "1 worker: 3.2 ± 0.1 s"
    busy = worth_it([Prediction(8, 100, 1, False, 50e6), Prediction(64, 13, 1, True, 400e6)])
    assert [one.partition("; ")[2] for one in busy] == ["", "its blocks store 400 MB/s"]


def test_the_cost_of_a_task_is_the_slope():
    rng = np.random.default_rng(2)
    blocks = np.repeat([10, 100, 1000, 4000], 5)
    found = task_cost(blocks, 12 + 0.0015 * blocks + rng.normal(0, 0.05, blocks.size))
    assert abs(found.seconds - 0.0015) < 3 * found.error
    assert found.error < 1e-4
    assert found.work_seconds == pytest.approx(12, abs=0.2)
    assert found.smallest_block(0.02) == pytest.approx(0.075, rel=0.1)
    assert task_cost([10, 100], [1.0, 2.0]) is None


def test_the_cost_of_a_task_in_words():
    measured = [{"size": 1, "blocks": n, "seconds": 5 + 0.002 * n} for n in (100, 200, 400)]
    (said,) = sweep_sentences({"workers": 2, "measured": measured})
    assert said.startswith("A task of dask costs 4.0 ± 0.0 ms of a worker: blocks of 0.2 s or more")
    assert sweep_sentences(None) == []
    faster = [{"size": 1, "blocks": n, "seconds": 5 - 0.002 * n} for n in (100, 200, 400)]
    (said,) = sweep_sentences({"workers": 2, "measured": faster})
    assert said == "A task of dask costs less than 0.1 ms of a worker."
    failed = [{"size": 9, "message": "FAILED: blocks of size 9: dask took more than 1 s"}]
    said = sweep_sentences({"workers": 2, "measured": measured, "failed": failed})
    assert said[0] == "FAILED: blocks of size 9: dask took more than 1 s; it has no times."
    assert said[1].startswith("A task of dask costs 4.0")
    (said,) = sweep_sentences({"workers": 1, "measured": measured[:2]})
    assert "give other block sizes" in said


def test_blocks_of_another_size_are_a_setting_where_there_is_one():
    options = {"trial": {"kind": "pi"}, "n_samples": 1000, "seed": 1}
    recipe = Recipe.from_data({"name": "pi", "analysis": "monte_carlo", "options": options})
    assert with_block_size(recipe, 4).data()["options"]["block_batches"] == 4
    images = Recipe.from_data({"name": "m", "analysis": "image_stats", "inputs": {"files": "*.fits"}})
    with pytest.raises(UsageError, match="follow from its input alone"):
        with_block_size(images, 4)


def recorded_run(folder, name, seconds, workers, options=None, digest="same"):
    """Write a run whose blocks of equal length were shared out evenly."""
    run = RunDirectory(folder / name)
    run.path.mkdir(parents=True)
    recipe = {"analysis": "map", "options": options or {}}
    run.write_record({"created": name, "recipe": recipe, "input": digest})
    run.write_state({"state": "done", "profile": "local"})
    events = [{"event": "cluster", "seconds": 2.0}, {"event": "stage", "name": "items"}]
    events += [
        {
            "event": "block", "started": 100.0 + seconds * (k // workers), "total_seconds": seconds,
            "host": "here", "pid": k % workers, "thread": 1, "bytes": 1000,
        }
        for k in range(64)
    ]  # fmt: skip
    run.append_events([*events, {"event": "done", "seconds": 3.0 + seconds * 64 / workers}])
    return run


def test_a_plan_learns_from_the_last_run_like_it(tmp_path):
    recorded_run(tmp_path, "a-first", 9.0, 2)
    run = recorded_run(tmp_path, "b-second", 30.0, 2)
    recorded_run(tmp_path, "c-other", 1.0, 2, {"function": "other:function"})
    recorded_run(tmp_path, "d-other", 1.0, 2, digest="other")
    recording, measured = recording_of(run)
    assert (recording.blocks, measured, recording.startup_seconds) == (64, {2: 960.0}, 3.0)
    source, half, same, twice = predicted("map", {}, "same", 64, 2, tmp_path)
    assert source == "by the blocks of b-second (local), threads for workers:"
    assert half == "1 worker: 32.0 min (extrapolated, error unknown)"
    assert same == "2 workers: 16.1 min (error unknown), saves 16 min more"
    assert twice == "4 workers: 8.1 min (extrapolated, error unknown), saves 8 min more"
    assert predicted("image_stats", {}, "same", 64, 2, tmp_path) == []


def test_a_plan_knows_its_error_from_runs_on_several_numbers_of_workers(tmp_path):
    recorded_run(tmp_path, "a-first", 30.0, 1)
    recorded_run(tmp_path, "b-second", 33.0, 2)
    _, half, same, _ = predicted("map", {}, "same", 64, 2, tmp_path)
    assert half.startswith("1 worker: 35 ± 2 min")
    assert same.startswith("2 workers: 18 ± 1 min")
    assert "extrapolated" not in half + same
    assert "unknown" not in half + same


def test_another_input_is_a_guide_only_where_its_size_is_known(tmp_path):
    recorded_run(tmp_path, "a-first", 30.0, 2)
    source, _, same, _ = predicted("map", {}, "other", 128, 2, tmp_path)
    assert "whose input was another and had 64 blocks" in source
    assert same.startswith("2 workers: 32.1 min (extrapolated, error unknown)")
    assert predicted("map", {}, "other", 0, 2, tmp_path) == []
    assert len(predicted("map", {}, "same", 0, 2, tmp_path)) == 4


def test_an_interrupted_run_predicts_nothing(tmp_path):
    run = recorded_run(tmp_path, "run", 1.0, 2)
    run.append_events([{"event": "cluster", "seconds": 1.0}, {"event": "done", "seconds": 1.0}])
    assert recording_of(run) is None
    assert predicted("map", {}, "same", 64, 2, tmp_path) == []
