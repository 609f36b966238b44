"""Replays of blocks on more workers: exact where that can be known, honest where not."""

import numpy as np
import pytest

from daskpar.comparison.simulation import (
    Prediction,
    Recording,
    predict,
    recorded,
    relative_error,
    stage_seconds,
    worth_it,
)
from daskpar.comparison.sweep import task_cost
from daskpar.errors import UsageError


def test_equal_blocks_take_as_many_turns_as_they_must():
    assert stage_seconds([2.0] * 6, 1, 0.0) == 12
    assert stage_seconds([2.0] * 6, 3, 0.0) == 4
    assert stage_seconds([2.0] * 7, 3, 0.0) == 6
    assert stage_seconds([2.0] * 3, 64, 0.0) == 2
    assert stage_seconds([], 4, 0.0) == 0


def test_whoever_is_free_takes_the_next_block():
    assert stage_seconds([4.0, 1.0, 1.0, 1.0], 2, 0.0) == 4
    assert stage_seconds([1.0, 1.0, 1.0, 4.0], 2, 0.0) == 5


def test_the_scheduler_is_a_limit_that_no_worker_lifts():
    """Blocks shorter than the scheduler's time for all workers together wait for it."""
    assert stage_seconds([0.01] * 1000, 1000, 0.002) == pytest.approx(1000 * 0.002 + 0.01, rel=0.01)
    assert stage_seconds([1.0] * 10, 1, 0.001) == pytest.approx(10, rel=0.01)


@pytest.mark.parametrize("workers", [1, 2, 5, 64])
def test_no_replay_beats_the_bounds(workers):
    blocks = np.random.default_rng(1).exponential(1.0, 200)
    found = stage_seconds(blocks, workers, 0.0)
    assert max(blocks.sum() / workers, blocks.max()) - 1e-9 <= found
    assert found <= blocks.sum() / workers + blocks.max()  # Graham's bound for list scheduling


def test_stages_wait_for_each_other():
    recording = Recording((np.array([1.0, 3.0]), np.array([2.0])), 0.0)
    assert recording.makespan(8) == 5
    assert recording.blocks == 3
    with pytest.raises(UsageError):
        recording.makespan(0)


def test_what_was_measured_is_found_again():
    """Times made with a scheduler's cost: the cost is found, and other numbers of workers follow."""
    rng = np.random.default_rng(3)
    blocks = {"total_seconds": rng.uniform(0.2, 0.4, 300).tolist(), "stage": ["a"] * 100 + ["b"] * 200}
    parts = np.array(blocks["total_seconds"][:100]), np.array(blocks["total_seconds"][100:])
    measured = {n: Recording(parts, 0.004).makespan(n) for n in (1, 2)}
    found = recorded(blocks, measured, startup_seconds=5.0)
    assert found.task_seconds == pytest.approx(0.004, rel=0.3)
    assert relative_error(found, measured) < 0.01
    few, many = predict(found, [2, 8], measured)
    assert (few.extrapolated, many.extrapolated) == (False, True)
    assert few.seconds == pytest.approx(measured[2] + 5, rel=0.05)
    assert many.seconds < few.seconds
    assert 0 < many.error < 0.2 * many.seconds
    assert predict(found, [2, 8], measured) == [few, many]


def test_predictions_in_words():
    found = [Prediction(8, 2520, 360, True), Prediction(16, 1980, 300, True), Prediction(32, 1950, 300, True)]
    first, second, third = worth_it(found)
    assert first == "8 workers: 42 ± 6 min (extrapolated)"
    assert second == "16 workers: 33 ± 5 min (extrapolated), saves 9 min more"
    assert third.endswith("saves nothing that can be told")
    assert Prediction(1, 3.25, 0.12, False).text() == "1 worker: 3.2 ± 0.1 s"


def test_the_cost_of_a_task_is_the_slope():
    rng = np.random.default_rng(2)
    blocks = np.repeat([10, 100, 1000, 4000], 5)
    found = task_cost(blocks, 12 + 0.0015 * blocks + rng.normal(0, 0.05, blocks.size))
    assert abs(found.seconds - 0.0015) < 3 * found.error
    assert found.error < 1e-4
    assert found.work_seconds == pytest.approx(12, abs=0.2)
    assert found.smallest_block(0.02) == pytest.approx(0.075, rel=0.1)
    assert task_cost([10, 100], [1.0, 2.0]) is None
