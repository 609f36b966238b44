"""Whole comparisons, small: growing problems, blocks of other sizes, rounds until intervals are narrow."""

import json

import pytest
from by_hand_problems import PROBLEMS

import daskpar
from daskpar.comparison import measuring
from daskpar.comparison.launch import Launcher
from daskpar.comparison.weak import grown
from daskpar.errors import ClusterError, UsageError
from daskpar.recipe import Recipe

PI = {"name": "pi", **PROBLEMS["monte_carlo"]}


def test_a_problem_that_grows(runs):
    found = daskpar.compare(PI, ["serial", "threads"], [1, 2], repeats=1, weak=True, runs=runs)
    data = found.data
    assert all(one["agrees"] for one in data["agreement"])
    hashes = {(one["version"], one["workers"]): one["result_hash"] for one in data["agreement"]}
    assert hashes["serial", 1] == hashes["threads", 1] != hashes["threads", 2]
    assert {(one["version"], one["workers"]) for one in data["scaling"]} == set(hashes)
    two = next(one for one in data["scaling"] if one["workers"] == 2)
    assert two["speedup"] == pytest.approx(2 * data["serial"]["seconds"] / two["seconds"])
    assert "the problem growing with the workers" in found.report().read_text()
    assert "times the workers" in found.report(found.folder / "t.md").read_text()


def test_a_size_of_blocks_that_fails_costs_no_other(runs, monkeypatch):
    """One size gives a wrong result, one fails in its second round and loses its first; the rest is kept."""
    measure, tried = Launcher.measure, []

    def measured(self, version, workers, folder, **more):
        size = self.given["setup"].recipe.data()["options"].get("block_batches")
        if folder.name != "size":
            return measure(self, version, workers, folder, **more)
        tried.append(size)
        if size == 8 and tried.count(size) == 2:
            raise ClusterError("dask took more than 1 s", "give it longer, or less to do")
        found = measure(self, version, workers, folder, **more)
        wrong = {"result_hash": "another"} if size == 4 else {}
        return measuring.Measured(**{**vars(found), **wrong})

    monkeypatch.setattr(Launcher, "measure", measured)
    found = daskpar.compare(PI, ["dask"], [1], repeats=2, block_sizes=[1, 4, 8], runs=runs)
    swept = found.data["sweep"]
    assert found.data["state"] == "done"
    assert sorted(one["size"] for one in swept["measured"]) == [1, 1]
    assert len({one["blocks"] for one in swept["measured"]}) == 1
    assert all(one["seconds"] > 0 for one in swept["measured"])
    assert [one["size"] for one in swept["failed"]] == [4, 8]
    page = found.report().read_text()
    assert '<li class="wrong">WRONG: blocks of size 4 gave another result' in page
    assert '<li class="wrong">FAILED: blocks of size 8: dask took more than 1 s' in page


@pytest.mark.parametrize(("wide", "rounds"), [(0, 2), (1, 3), (9, 4)])
def test_rounds_go_on_until_intervals_are_narrow(runs, monkeypatch, wide, rounds):
    """At least the two that were asked for, at most four."""
    looked = []

    class Found:
        def __init__(self, values):
            looked.append(len(values))
            self.width = 0.2 if len(looked) <= wide else 0.01

    monkeypatch.setattr(measuring, "median_interval", Found)
    found = daskpar.compare(PI, ["serial"], [1], repeats=2, most_repeats=4, runs=runs)
    assert found.data["rounds_done"] == rounds
    assert looked == list(range(2, rounds + 1))
    assert sorted(one.repeat for one in found.timings) == list(range(rounds + 1))


def test_images_grow_in_rows_and_what_is_in_them():
    recipe = Recipe.from_data({"name": "m", **PROBLEMS["image_stats"]})
    made = grown(recipe, 3).data()["inputs"]["synthetic"]
    assert (made["n_frames"], list(made["shape"]), made["stars"]) == (7, [303, 83], 90)
    assert (made["cosmic_rays"], made["bad_pixels"]) == (60, 150)  # three times the defaults


def test_why_a_problem_does_not_grow():
    ends = {"name": "pi", **PROBLEMS["monte_carlo in rounds"]}
    with pytest.raises(UsageError, match=r"ends at a target_error.*options\.target_error=null"):
        grown(Recipe.from_data(ends), 2)
    with pytest.raises(UsageError, match="map from this input grows"):
        grown(Recipe.from_data({"name": "m", **PROBLEMS["map"]}), 2)


def test_the_page_has_something_to_show_before_all_is_checked(runs, monkeypatch):
    """`comparison.json` is there as soon as the first version has ended."""
    seen, write = [], measuring._Work._write

    def written(self, state):
        write(self, state)
        data = json.loads((self.folder / "comparison.json").read_text())
        seen.append((state, len(data["agreement"]), data["rounds_done"]))

    monkeypatch.setattr(measuring._Work, "_write", written)
    daskpar.compare(PI, ["serial", "threads"], [1], repeats=1, runs=runs)
    assert seen == [("running", 1, 0), ("running", 2, 0), ("running", 2, 1), ("done", 2, 1)]
