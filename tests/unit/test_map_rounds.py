"""`map` as a recipe: failures are kept as rows, and going on with the run computes those alone."""

import json
import sys

import pytest

import daskpar
from daskpar.profile import LocalProfile
from daskpar.rundir import find_run

THREADS = LocalProfile(workers=1, processes=False, dashboard=False)
MODULE = """
from pathlib import Path
def work(p):
    x = p["x"]
    mark(x)
    if x % 3 == 0 and not Path(FLAG + str(x)).exists():
        raise ValueError(f"{x} is not there yet")
    return {"twice": 2 * x, "name": f"n{x}"}
"""


@pytest.fixture
def recipe(tmp_path, count, monkeypatch):
    (tmp_path / "rounds.py").write_text(count.source + f"FLAG = {str(tmp_path / 'flag')!r}\n" + MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield {
        "name": "rounds",
        "analysis": "map",
        "inputs": {"grid": {"x": list(range(7))}},
        "options": {"function": "rounds:work", "on_error": "record", "items_per_block": 2},
        "outputs": ["table.ecsv"],
    }
    sys.modules.pop("rounds", None)


def rows(result):
    """The name that each item got, and whether it failed."""
    data = result.dataset.compute(scheduler="synchronous")
    items = [json.loads(item)["x"] for item in data["item"].values.tolist()]
    return dict(
        zip(items, zip(data["name"].values.tolist(), data["error"].values != "", strict=True), strict=True)
    )


def test_going_on_runs_only_what_failed(recipe, runs, tmp_path, count):
    first = daskpar.run(recipe, THREADS, allow_code=True)
    first_hash = first.result_hash
    assert sorted(map(int, count.lines())) == list(range(7))
    assert {x: failed for x, (_, failed) in rows(first).items()} == {x: x % 3 == 0 for x in range(7)}

    (tmp_path / "flag0").touch()
    (tmp_path / "flag3").touch()
    count.clear()
    second = daskpar.run(find_run("last", runs))
    assert sorted(map(int, count.lines())) == [0, 3, 6]
    assert rows(second) == {x: (f"n{x}" if x != 6 else "", x == 6) for x in range(7)}
    assert second.result_hash != first_hash

    (tmp_path / "flag6").touch()
    count.clear()
    third = daskpar.run(find_run("last", runs))
    assert count.lines() == ["6"]
    assert rows(third) == {x: (f"n{x}", False) for x in range(7)}
    assert "twice" in third.outputs[0].read_text()

    count.clear()
    fourth = daskpar.run(find_run("last", runs))
    assert count.lines() == []
    assert fourth.result_hash == third.result_hash


def test_rounds_of_one_run_stop_when_all_is_well(recipe, runs, tmp_path, count):
    for x in (0, 3, 6):
        (tmp_path / f"flag{x}").touch()
    recipe["options"]["rounds"] = 5
    result = daskpar.run(recipe, THREADS, allow_code=True)
    assert len(count.lines()) == 7
    assert not any(failed for _, failed in rows(result).values())


def test_rounds_of_one_run_try_again(recipe, runs, count):
    recipe["options"].update(rounds=3, retries=1)
    daskpar.run(recipe, THREADS, allow_code=True)
    assert {int(x): n for x, n in count.each().items()} == {x: 6 if x % 3 == 0 else 1 for x in range(7)}


def test_a_ledger_that_is_not_kept_does_not_hinder_going_on(recipe, runs, tmp_path, count):
    recipe["keep_ledger"] = "until_done"
    first = daskpar.run(recipe, THREADS, allow_code=True)
    assert not first.run.ledger.exists()
    for x in (0, 3, 6):
        (tmp_path / f"flag{x}").touch()
    second = daskpar.run(find_run("last", runs))
    assert rows(second) == {x: (f"n{x}", False) for x in range(7)}
