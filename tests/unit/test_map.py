"""`map`: one function over many items gives a table, a row an item, in item order."""

import itertools
import json

import astropy.units as u
import dask
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

import daskpar
from daskpar.analyses.map import ANALYSIS, MapOptions, kernel, open_items
from daskpar.analyses.map.with_dask import BLOCKS_OF_ONE, MAXIMUM_BLOCKS, partition
from daskpar.analysis import Where
from daskpar.errors import AnalysisError, RecipeError, UsageError
from daskpar.inputs.files import FileItem


@pytest.fixture(autouse=True)
def _synchronous():
    with dask.config.set(scheduler="synchronous"):
        yield


def table(function, items, **options):
    return daskpar.map(function, items, **options).compute()


def square(x):
    return x**2


def measure(x):
    return {"flux": x / 3, "n": x, "good": x % 2 == 0, "name": f"star {x}"}


# --- what a table looks like


def test_one_value_becomes_the_column_value():
    found = table(square, [3, 1, 2])
    assert isinstance(found, Table)
    assert found.colnames == ["item", "value"]
    assert found["item"].tolist() == [3, 1, 2]
    assert found["value"].tolist() == [9, 1, 4]
    assert found["value"].dtype == np.int64


@pytest.mark.parametrize("items_per_block", [None, 1, 2, 3, 7, 100])
def test_rows_are_in_item_order_whatever_the_blocks(items_per_block):
    items = [5, 3, 9, 1, 1, 0, 7]
    found = table(measure, items, items_per_block=items_per_block)
    assert found.colnames == ["item", "flux", "n", "good", "name"]
    assert found["n"].tolist() == found["item"].tolist() == items
    assert found["flux"].tolist() == [x / 3 for x in items]
    assert found["good"].tolist() == [x % 2 == 0 for x in items]
    assert found["name"].tolist() == [f"star {x}" for x in items]


@pytest.mark.parametrize("items_per_block", [1, 2, 5])
def test_columns_are_in_the_order_in_which_they_first_appear(items_per_block):
    def some(x):
        return {name: x for name in {0: "ca", 1: "b", 2: "ab", 3: "d"}[x]}

    found = table(some, [0, 1, 2, 3], items_per_block=items_per_block)
    assert found.colnames == ["item", "c", "a", "b", "d"]


def test_what_a_row_does_not_have_is_masked():
    def some(x):
        return {"x": x, **({"even": x, "text": "e", "half": x / 2} if x % 2 == 0 else {"even": None})}

    found = table(some, range(4), items_per_block=2)
    assert not isinstance(found["x"], MaskedColumn)
    for name in ("even", "text", "half"):
        assert found[name].mask.tolist() == [False, True, False, True]
    assert found["even"].dtype.kind == "i"
    assert found["even"].compressed().tolist() == [0, 2]
    assert found["half"].compressed().tolist() == [0, 1]


def test_nan_is_a_value_and_not_masked():
    found = table(lambda x: {"a": np.nan if x else 1.0}, [0, 1])
    assert not isinstance(found["a"], MaskedColumn)
    assert np.isnan(found["a"][1])


def test_units_are_kept():
    found = table(lambda x: {"flux": x * u.Jy, "size": [x, x] * u.arcsec}, [1.0, 2.0])
    assert found["flux"].unit == u.Jy
    assert found["size"].unit == u.arcsec
    assert found["size"].shape == (2, 2)


@pytest.mark.parametrize("items_per_block", [1, 2])
@pytest.mark.parametrize("other", [1 * u.km, 1 * u.s, 1.0], ids=str)
def test_different_units_are_refused_whatever_the_blocks(other, items_per_block):
    with pytest.raises(AnalysisError, match=r"column 'd' is in 'm' for item 0 and in '.*' for item 1"):
        table(lambda x: {"d": other if x else 1 * u.m}, [0, 1], items_per_block=items_per_block)


def test_arrays_are_columns_of_more_dimensions():
    found = table(lambda x: {"image": np.full((2, 3), x, "f4"), "zero": np.float32(x)}, [1, 2, 3])
    assert found["image"].shape == (3, 2, 3)
    assert found["image"].dtype == found["zero"].dtype == np.float32
    assert found["image"][2].tolist() == [[3, 3, 3]] * 2


def test_longer_texts_of_later_rows_are_not_cut():
    for items_per_block in (1, 3):
        found = table(lambda n: {"s": "x" * n}, [0, 1, 30], items_per_block=items_per_block)
        assert found["s"].tolist() == ["", "x", "x" * 30]


def test_numbers_of_different_kinds_become_one_that_holds_them():
    for items_per_block in (1, 2):
        found = table(lambda x: {"a": 1 if x else 0.5}, [0, 1], items_per_block=items_per_block)
        assert found["a"].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("items_per_block", [1, 3])
@pytest.mark.parametrize(
    "values", [(1, "a"), (1.0, [1.0, 2.0]), ([1], [1, 2]), ("a", b"a"), (1, True, "x")], ids=str
)
def test_mixed_kinds_are_refused_and_items_named(values, items_per_block):
    items = [f"item-{i}" for i in range(len(values))]
    with pytest.raises(AnalysisError, match="column 'value'") as error:
        table(lambda item: values[int(item[-1])], items, items_per_block=items_per_block)
    assert "item-0" in str(error.value)
    assert f"item-{len(values) - 1}" in str(error.value)


@pytest.mark.parametrize("value", [object(), {1, 2}, [None, 1], [{}], [[1], [1, 2]]])
def test_what_no_table_can_hold_is_refused(value):
    with pytest.raises(AnalysisError, match="column 'value' of item"):
        table(lambda x: value, [1])


def test_no_items_give_an_empty_table():
    found = table(square, [])
    assert len(found) == 0
    assert found.colnames == ["item"]
    assert table(square, [], on_error="record").colnames == ["item", "error"]


def test_items_of_any_kind_are_shown_in_the_first_column():
    assert table(lambda p: p["a"], [{"a": 1}, {"a": 2}])["item"].tolist() == ['{"a": 1}', '{"a": 2}']
    assert table(lambda p: 0, [(1, 2), {3}])["item"].tolist() == ["[1, 2]", "{3}"]
    assert table(len, ["ab", "c"])["item"].tolist() == ["ab", "c"]


def test_a_column_of_the_user_s_may_be_named_item_or_error():
    with pytest.raises(AnalysisError, match="'item'"):
        table(lambda x: {"item": x}, [1])
    with pytest.raises(AnalysisError, match="'error'"):
        table(lambda x: {"error": x}, [1], on_error="record")
    assert table(lambda x: {"error": x}, [1])["error"].tolist() == [1]


def test_many_items_are_grouped_and_stay_in_order():
    n = 2 * BLOCKS_OF_ONE
    lazy = daskpar.map(square, range(n))
    assert len(lazy.dask) < n
    assert lazy.compute()["value"].tolist() == [x**2 for x in range(n)]


@pytest.mark.parametrize("n", [0, 1, 5, BLOCKS_OF_ONE, BLOCKS_OF_ONE + 1, 10**6, 10**7 + 3])
def test_blocks_follow_from_the_number_of_items_alone(n):
    blocks = list(partition(n, None))
    assert sum(stop - start for start, stop in blocks) == n
    assert all(one[1] == two[0] for one, two in itertools.pairwise(blocks))
    assert len(blocks) <= MAXIMUM_BLOCKS
    assert all(0 < stop - start for start, stop in blocks)


def test_too_many_blocks_are_refused_with_the_key_to_change():
    with pytest.raises(RecipeError, match=r"options\.items_per_block") as error:
        list(partition(600_000, 1))
    assert "500000" in str(error.value)


# --- failures


def sometimes(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return {"half": x // 2}


def test_the_first_failure_ends_it_and_names_the_item():
    with pytest.raises(AnalysisError, match=r"item [35] raised ValueError: [35] is odd") as error:
        table(sometimes, [2, 3, 5])
    assert "test_map.py" in str(error.value)
    assert isinstance(error.value.__cause__, ValueError)


@pytest.mark.parametrize("items_per_block", [1, 2, 4])
def test_failures_are_rows(items_per_block):
    found = table(sometimes, [0, 1, 2, 3], on_error="record", items_per_block=items_per_block)
    assert found.colnames == ["item", "half", "error"]
    assert found["half"].mask.tolist() == [False, True, False, True]
    assert [str(e).startswith("ValueError: ") for e in found["error"]] == [False, True, False, True]
    assert "3 is odd (test_map.py:" in found["error"][3]


def test_when_all_fail_there_is_still_a_row_for_each():
    found = table(sometimes, [1, 3], on_error="record")
    assert found.colnames == ["item", "error"]
    assert all("is odd" in text for text in found["error"])


def test_an_interrupt_is_no_failure_of_an_item():
    def interrupt(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table(interrupt, [1], on_error="record")


@pytest.mark.parametrize(("retries", "calls"), [(0, 1), (2, 3)])
def test_a_failed_item_is_tried_again(retries, calls):
    tried = []

    def fail(x):
        tried.append(x)
        raise OSError

    table(fail, [7], on_error="record", retries=retries)
    assert tried == [7] * calls


def test_a_retry_that_works_leaves_no_trace():
    tried = []

    def second(x):
        tried.append(x)
        if len(tried) < 2:
            raise OSError
        return x

    found = table(second, [7], on_error="record", retries=1)
    assert found["value"].tolist() == [7]
    assert found["error"].tolist() == [""]


@pytest.mark.parametrize(
    "options",
    [{"on_error": "ignore"}, {"retries": -1}, {"items_per_block": 0}],
    ids=["on_error", "retries", "size"],
)
def test_wrong_settings_are_refused_before_anything_runs(options):
    with pytest.raises(UsageError):
        daskpar.map(square, [1], **options)


def test_two_maps_of_different_functions_do_not_mix():
    maps = [daskpar.map(lambda x, k=k: x * k, [1, 2]) for k in (2, 3)]
    one, two = dask.compute(*maps)
    assert one["value"].tolist() == [2, 4]
    assert two["value"].tolist() == [3, 6]


def test_the_caller_s_list_may_change_afterwards():
    items = [1, 2]
    lazy = daskpar.map(square, items)
    items.append(3)
    assert len(lazy.compute()) == 2


# --- the merge against a table made by hand


def test_later_partials_replace_rows():
    first = kernel.partial(sometimes, [0, 1, 2], [0, 1, 2], "record")
    again = kernel.partial(lambda x: {"half": 99}, [1], [1], "record")
    columns, error = kernel.merge([first, again], [0, 1, 2])
    assert columns["half"].values.tolist() == [0, 99, 1]
    assert not columns["half"].missing.any()
    assert error.tolist() == ["", "", ""]


# --- recipes


def where(folder):
    return Where(folder, lambda patterns: [str(folder / p) for p in patterns], folder / "scratch")


def test_a_grid_is_every_combination_the_last_fastest(tmp_path):
    items = open_items({"grid": {"a": [1, 2], "b": ["x", "y"], "c": 5}}, where(tmp_path))
    assert items == tuple({"a": a, "b": b, "c": 5} for a in (1, 2) for b in "xy")


def test_files_are_described_not_read(tmp_path):
    (tmp_path / "one.txt").write_text("abc")
    (item,) = open_items({"files": ["one.txt"]}, where(tmp_path))
    assert isinstance(item, FileItem)
    assert (item.name, item.size) == ("one.txt", 3)


@pytest.mark.parametrize("inputs", [{}, {"files": ["a"], "grid": {"x": 1}}])
def test_files_or_a_grid_is_needed(inputs, tmp_path):
    with pytest.raises(RecipeError, match="files, or a grid"):
        open_items(inputs, where(tmp_path))


def test_interface_and_recipe_agree(tmp_path, monkeypatch):
    (tmp_path / "agreeing.py").write_text(
        "def f(p):\n    if p['x'] == 3:\n        raise ValueError('three')\n"
        "    return {'y': p['x'] / 7, 'name': f\"n{p['x']}\"}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import agreeing

    options = MapOptions(function="agreeing:f", on_error="record", items_per_block=2)
    items = open_items({"grid": {"x": list(range(6))}}, where(tmp_path))
    stages = ANALYSIS.build(items, options)
    dataset = next(stages).collection.compute()
    expected = table(agreeing.f, items, on_error="record")
    assert dataset.attrs["columns"] == ["y", "name"]
    assert (
        dataset["item"].values.tolist() == expected["item"].tolist() == [json.dumps(item) for item in items]
    )
    np.testing.assert_array_equal(dataset["y"].values, np.asarray(expected["y"].filled(np.nan)))
    assert dataset["name_missing"].values.tolist() == expected["name"].mask.tolist()
    assert dataset["error"].values.tolist() == expected["error"].tolist()
