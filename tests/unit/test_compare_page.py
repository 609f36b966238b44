"""The page of a comparison shows what the comparison decided: what is wrong, speed-ups, efficiency."""

import json

import pytest
from test_comparison_records import DESCRIBED, rounds

from daskpar.comparison.summary import summarised
from daskpar.dashboard.compare_page import compare_figures, comparisons, read_comparison


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scaling"
    folder.mkdir()
    (folder / "timings.jsonl").write_text("")
    return folder


def shown(folder, described, timings):
    data = {**described, **summarised(described, timings)}
    (folder / "comparison.json").write_text(json.dumps(data))
    head, (figures,) = compare_figures("scaling", read_comparison(folder))
    return head, figures


def column(figures, name, what="y"):
    return list(figures.select_one({"name": name}).data[what])


def test_a_mutant_is_loud_and_has_no_curve(folder):
    head, figures = shown(folder, DESCRIBED, [*rounds("serial", [10.0] * 5), *rounds("dask", [5.0] * 5, 2)])
    assert "WRONG: bad did not give the result of serial" in head
    assert "DIFFERS" in head
    assert figures.select_one({"name": "speedup bad"}) is None
    assert column(figures, "speedup dask") == [2.0]


def test_growing_problems_agree_each_with_its_own_size(folder):
    """Hashes differ from size to size; the speed-up is that of the larger problem."""
    agreement = [
        {**one, "result_hash": f"hash {one['workers']}", "agrees": True, "differs": []}
        for one in DESCRIBED["agreement"]
    ]
    described = {**DESCRIBED, "weak": True, "agreement": agreement}
    head, figures = shown(folder, described, [*rounds("dask", [10.0] * 5), *rounds("dask", [12.5] * 5, 2)])
    assert "All versions gave the same result" in head
    assert "DIFFERS" not in head
    assert column(figures, "speedup dask") == [1.0, 1.6]
    assert column(figures, "efficiency dask") == [1.0, 0.8]


def test_start_up_is_no_part_of_speed_ups(folder):
    slow = rounds("dask", [5.0] * 5, 2)
    for one in slow:
        one.seconds["startup"], one.seconds["total"] = 40.0, 45.0
    _, figures = shown(folder, DESCRIBED, [*rounds("serial", [10.0] * 5), *slow])
    assert column(figures, "speedup dask") == [2.0]


def test_a_comparison_that_has_only_begun(folder):
    assert comparisons(folder.parent) == [folder]
    assert read_comparison(folder) is None
    assert compare_figures("scaling", None) == ("<h1>scaling</h1><p>no timings yet</p>", [])
    (folder / "comparison.json").write_text('{"state": "do')
    assert read_comparison(folder) is None
