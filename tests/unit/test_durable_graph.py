"""Graph surgery: which nodes run, what is stored, and what comes together again."""

import subprocess
import sys
import threading

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from conftest import environment
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, convert_legacy_graph, cull
from dask.delayed import Delayed, delayed

from daskpar import record_files
from daskpar.block import BlockWork
from daskpar.durable import Durable, durable
from daskpar.durable_graph import FEW, SMALL_BYTES, durable_graph
from daskpar.errors import AnalysisError

RAN = []


class Shared:
    def __init__(self, value):
        self.value = value


LOCK = threading.Lock()


@pytest.fixture(autouse=True)
def ran():
    """What ran, in no order."""
    RAN.clear()
    return RAN


def note(name):
    with LOCK:
        RAN.append(name)


def read(number):
    note(f"read {number}")
    return np.arange(4.0) + number


def reduce(number, values):
    note(f"reduce {number}")
    return {"sum": values.sum(), "values": values}


def scale(number, part, factor):
    note(f"scale {number}")
    return {"scaled": part["values"] * factor["sum"]}


def plain(number, values):
    note(f"plain {number}")
    return values * 2.0


def owner(record, options):
    """The `build` of no analysis."""


def blocks(n):
    return [
        durable(reduce, i, delayed(read)(i, dask_key_name=f"read-{i}"), key=["r", i], label=f"r {i}")
        for i in range(n)
    ]


def graph_of(collection, identity="x"):
    return durable_graph(collection, owner, identity)


def advance(collection, folder, stored=None, most=None):
    """Compute and store what is missing, at most `most` blocks; return all that is stored, by key."""
    graph, stored = graph_of(collection), dict(stored or {})
    todo = graph.todo(stored, BlockWork(str(folder)))
    for receipt in dask.get(todo.graph, list(todo.targets)[:most]):
        stored[receipt["key"]] = receipt["stored"]
    record_files.close(folder)
    return stored


def assembled(collection, stored):
    (value,) = dask.compute(graph_of(collection).assembly(stored), scheduler="synchronous")
    again = graph_of(collection).value(stored)
    assert type(again) is type(value)
    return value


# --- what dask's task specification must go on to be


def test_the_task_specification_is_what_the_surgery_was_written_for():
    (node,) = blocks(1)
    graph = convert_legacy_graph(dict(node.__dask_graph__()))
    task = graph[node.key]
    assert type(task) is Task
    assert isinstance(task.func, Durable)
    assert [*task.args] == [0, TaskRef("read-0")]
    assert dict(task.kwargs or {}) == {}
    assert task.dependencies == {"read-0"}
    copy = Task("other", task.func, *task.args, **(task.kwargs or {}))
    assert copy({"read-0": np.ones(2)})["sum"] == 2
    assert set(cull({**graph, "other": copy}, ["other"])) == {"other", "read-0"}
    assert all(isinstance(value, GraphNode) for value in graph.values())


def test_the_kinds_of_node_that_chunks_can_be():
    array = da.ones(4, chunks=2) + 1
    graph = convert_legacy_graph(dict(array.__dask_graph__()))
    assert all(type(node) is Task for node in graph.values())
    alias = Alias("a", "b")
    assert alias.target == "b"
    assert DataNode("d", 5).substitute({}, key="e")() == 5
    rebuild, extra = array.__dask_postpersist__()
    assert (
        rebuild({(array.name, i): np.zeros(2) for i in range(2)}, *extra).compute(scheduler="sync").sum() == 0
    )


# --- durable nodes inside a collection


def test_each_block_is_stored_once_and_the_rest_is_assembly(tmp_path, ran):
    nodes = blocks(3)
    top = delayed(_sum)(nodes)
    stored = advance(top, tmp_path)
    assert sorted(ran) == [f"{what} {i}" for what in ("read", "reduce") for i in range(3)]
    ran.clear()
    assert assembled(top, stored) == sum(4 * i + 6 for i in range(3)) == top.compute(scheduler="sync")


def _sum(parts):
    return sum(float(part["sum"]) for part in parts)


def test_assembly_runs_no_block(tmp_path, ran):
    top = delayed(_sum)(blocks(3))
    stored = advance(top, tmp_path)
    ran.clear()
    assembled(top, stored)
    assert ran == []


def test_what_only_fed_a_stored_block_never_runs(tmp_path, ran):
    top = delayed(_sum)(blocks(4))
    stored = advance(top, tmp_path, most=2)
    assert len(stored) == 2
    done = {name.split()[1] for name in ran}
    ran.clear()
    stored = advance(top, tmp_path, stored)
    assert len(stored) == 4
    assert sorted(ran) == sorted(f"{what} {i}" for what in ("read", "reduce") for i in {*"0123"} - done)
    ran.clear()
    assert advance(top, tmp_path, stored) == stored
    assert ran == []


def test_a_durable_node_may_need_another(tmp_path, ran):
    parts = blocks(3)
    top = delayed(list)([_scaled(i, part, parts[0]) for i, part in enumerate(parts)])
    graph = graph_of(top)
    assert len(graph.nodes) == 6
    stored = advance(top, tmp_path)
    assert sorted(ran) == sorted(f"{what} {i}" for what in ("read", "reduce", "scale") for i in range(3))
    direct = top.compute(scheduler="sync")
    for value, record in zip(direct, assembled(top, stored), strict=True):
        np.testing.assert_array_equal(value["scaled"], record["scaled"])


def _scaled(i, part, first):
    return durable(scale, i, part, first, key=["s", i], label=f"s {i}")


def test_what_fed_stored_blocks_only_is_not_needed_itself(tmp_path, ran):
    parts = blocks(3)
    top = delayed(list)([_scaled(i, part, parts[0]) for i, part in enumerate(parts)])
    stored = advance(top, tmp_path)
    labels = {graph_of(top).label(key): key for key in stored}
    ran.clear()
    for label in ("r 1", "r 2", "s 2"):
        del stored[labels[label]]
    graph = graph_of(top)
    assert {graph.label(key) for key in graph.needed(stored)} == {"s 2", "r 2"}
    again = advance(top, tmp_path, stored)
    assert sorted(ran) == ["read 2", "reduce 2", "scale 2"]
    assert len(assembled(top, again)) == 3
    everything = {labels[f"s {i}"]: again[labels[f"s {i}"]] for i in range(3)}
    assert graph.needed(everything) == []


def test_in_portions_a_block_that_is_stored_meanwhile_is_loaded(tmp_path, ran):
    parts = blocks(3)
    top = delayed(list)([_scaled(i, part, parts[0]) for i, part in enumerate(parts)])
    todo, stored = graph_of(top).todo({}, BlockWork(str(tmp_path))), {}
    while todo.waiting:
        tasks, targets = todo.take(1)
        assert targets
        for target, receipt in zip(targets, dask.get(tasks, targets), strict=True):
            todo.done(target, receipt["stored"])
            stored[receipt["key"]] = receipt["stored"]
    assert todo.missing == 0
    assert sorted(ran) == sorted(f"{what} {i}" for what in ("read", "reduce", "scale") for i in range(3))
    assert len(assembled(top, stored)) == 3


@pytest.mark.parametrize("count", [FEW, FEW + 1])
@pytest.mark.parametrize("what", [Shared("small"), np.zeros(SMALL_BYTES // 8 + 1)])
def test_a_few_blocks_hold_small_data_themselves(tmp_path, count, what):
    """Else all would go to the worker that holds it, and others stand idle."""
    shared = delayed(what, name="shared", traverse=False)
    top = delayed(list)([durable(_typed, shared, i, key=[i], label=f"t {i}") for i in range(count)])
    tasks, targets = graph_of(top).todo({}, BlockWork(str(tmp_path))).take(count)
    own = count == FEW and isinstance(what, Shared)
    assert set(tasks) == {*targets, *([] if own else ["shared"])}
    assert {len(tasks[target].dependencies) for target in targets} == {0 if own else 1}
    receipts = dask.get(tasks, targets)
    assert [str(receipt["stored"]["type"]) for receipt in receipts] == [type(what).__name__] * count


def test_a_few_blocks_hold_what_they_load_themselves(tmp_path):
    first = blocks(1)[0]
    top = delayed(list)([_scaled(i, first, first) for i in range(3)])
    stored = advance(first, tmp_path)
    tasks, targets = graph_of(top).todo(stored, BlockWork(str(tmp_path))).take(3)
    assert set(tasks) == set(targets)
    assert all(not tasks[target].dependencies for target in targets)


def _typed(value, number):
    return {"type": np.asarray(type(value).__name__), "number": np.asarray(number)}


def test_two_labels_for_one_block_are_one_block(tmp_path, ran):
    one = durable(reduce, 0, np.arange(3.0), key="same", label="first name")
    two = durable(reduce, 0, np.arange(3.0), key="same", label="second name")
    top = delayed(_sum)([one, two])
    stored = advance(top, tmp_path)
    assert len(stored) == 1
    assert ran == ["reduce 0"]
    assert assembled(top, stored) == 6
    assert ran == ["reduce 0"]


def test_a_dataset_over_durable_blocks(tmp_path, ran):
    dataset = xr.Dataset(
        {
            "sums": ("block", da.concatenate([_part(node, "sum", ()) for node in blocks(3)])),
            "values": (("block", "x"), da.concatenate([_part(node, "values", (4,)) for node in blocks(3)])),
        },
        {"x": [1.0, 2, 3, 4]},
        {"name": "m13"},
    )
    stored = advance(dataset, tmp_path)
    assert sorted(ran) == [f"{what} {i}" for what in ("read", "reduce") for i in range(3)]
    lazy = graph_of(dataset).assembly(stored)
    assert isinstance(lazy, xr.Dataset)
    assert dask.is_dask_collection(lazy)
    ran.clear()
    with dask.config.set(scheduler="synchronous"):
        xr.testing.assert_identical(lazy.compute(), dataset.compute())


def _part(node, name, shape):
    return da.from_delayed(delayed(lambda part: np.asarray(part[name])[None])(node), (1, *shape), float)


# --- collections without any durable node


def image():
    parts = [da.from_delayed(delayed(plain)(i, delayed(read)(i)), (4,), float) for i in range(3)]
    return da.stack(parts)


def test_without_durable_nodes_each_chunk_of_the_result_is_one(tmp_path, ran):
    dataset = xr.Dataset(
        {"a": (("y", "x"), image()), "b": ("x", da.ones(4, chunks=2)), "c": ("x", np.arange(4))}
    )
    graph = graph_of(dataset)
    assert sorted(graph.label(key) for key in graph.nodes) == ["a 0 0", "a 1 0", "a 2 0", "b 0", "b 1"]
    stored = advance(dataset, tmp_path, most=4)
    ran_before = sorted(ran)
    stored = advance(dataset, tmp_path, stored)
    assert len(stored) == 5
    assert sorted(ran) == [f"{what} {i}" for what in ("plain", "read") for i in range(3)]
    assert len(ran_before) <= len(ran)
    ran.clear()
    with dask.config.set(scheduler="synchronous"):
        lazy = graph_of(dataset).assembly(stored)
        computed = lazy.compute()
        assert ran == []
        xr.testing.assert_identical(computed, dataset.compute())


@pytest.mark.parametrize(
    "make",
    [
        lambda: da.arange(6, chunks=3)[::-1],
        lambda: da.from_array(np.arange(6.0), chunks=6),
        lambda: da.ones((4, 4), chunks=2).sum(),
        lambda: da.concatenate([da.zeros(2, chunks=2), da.ones(2, chunks=2)]),
        lambda: delayed(np.sin)(0.5),
        lambda: delayed(7.5),
        lambda: delayed(dict)(a=delayed(np.ones)(2)),
        lambda: xr.DataArray(da.arange(6, chunks=3), dims="x"),
    ],
    ids=["slice", "numpy", "number", "alias", "call", "data", "dict", "dataarray"],
)
def test_any_collection_can_be_durable(tmp_path, make):
    collection = make()
    expected = dask.compute(collection, scheduler="sync")[0]
    stored = advance(collection, tmp_path)
    assert stored
    value = assembled(collection, stored)
    if isinstance(expected, dict):
        assert list(value) == list(expected)
        value, expected = value["a"], expected["a"]
    np.testing.assert_array_equal(np.asarray(value), np.asarray(expected))
    assert advance(make(), tmp_path, stored) == stored


def test_keys_of_chunks_come_from_identity_and_place_not_from_dask_names():
    one = da.from_delayed(delayed(read)(1), (4,), float) * 2
    two = da.from_delayed(delayed(read)(1), (4,), float) * 2
    assert one.name != two.name
    assert [*graph_of(one).nodes] == [*graph_of(two).nodes]
    assert [*graph_of(one, "y").nodes] != [*graph_of(one).nodes]


def test_a_chunk_that_cannot_be_stored_is_refused_by_name(tmp_path):
    with pytest.raises(AnalysisError, match="block 'result' gave a set"):
        advance(delayed(set)([1]), tmp_path)


def test_variables_may_share_an_array(tmp_path, ran):
    shared = image()
    dataset = xr.Dataset({"a": (("y", "x"), shared), "b": (("y", "x"), shared)})
    stored = advance(dataset, tmp_path)
    assert len(stored) == 3
    assert len(ran) == 6
    assert graph_of(dataset).needed(stored) == []
    with dask.config.set(scheduler="synchronous"):
        lazy = graph_of(dataset).assembly(stored)
        xr.testing.assert_identical(lazy.compute(), dataset.compute())


@pytest.mark.parametrize("name", ["array", "", "<a>"])
def test_a_partial_may_have_any_single_name(tmp_path, name):
    top = delayed(_only)(durable(_named, name, key=name, label="x"), name)
    assert assembled(top, advance(top, tmp_path)) == 3


def _named(name):
    return {name: np.arange(3)}


def _only(part, name):
    return len(part[name])


def test_a_dataset_may_be_one_block(tmp_path):
    dataset = xr.Dataset(
        {"a": (("y", "x"), np.ones((2, 3)), {"unit": "Jy"}), "b": ((), 5)},
        {"x": [1, 2, 3], "name": ("y", ["p", "q"])},
        {"title": "m13"},
    )
    for lazy, expected in [
        (delayed(dataset), dataset),
        (delayed(dataset["a"]), dataset["a"].to_dataset()),
        (delayed(_with_dask)(dataset), dataset),
    ]:
        stored = advance(lazy, tmp_path)
        xr.testing.assert_identical(assembled(lazy, stored), expected)


def _with_dask(dataset):
    return dataset.chunk({"x": 1})


# --- laziness


BUILD = """
import sys, dask
opened = []
def watch(name, args):
    if name == "open" and "data-folder" in str(args[0]):
        opened.append(args[0])
sys.addaudithook(watch)
def refuse(*args, **kwargs):
    raise RuntimeError("something was computed")
dask.config.set(scheduler=refuse)
import daskpar
from daskpar.block import BlockWork
from daskpar.durable_graph import durable_graph
files = [f"{sys.argv[1]}/data-folder/{i}" for i in range(3)]
def length(path):
    return len(open(path).read())
table = daskpar.map(length, files)
graph = durable_graph(table, length, 1)
assert len(graph.todo({}, BlockWork("ledger")).targets) == 3
assert opened == [], opened
try:
    table.compute()
except RuntimeError as error:
    assert "something was computed" in str(error)
else:
    raise SystemExit("the scheduler was not asked")
assert table.compute(scheduler="synchronous")["value"].tolist() == [5, 5, 5]
assert len(opened) == 3, opened
print("lazy")
"""


def test_building_computes_nothing_and_opens_no_file(tmp_path):
    (tmp_path / "data-folder").mkdir()
    for i in range(3):
        (tmp_path / "data-folder" / str(i)).write_text("hello")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("lazy\n", 0), done.stderr


def test_delayed_stays_delayed(tmp_path):
    top = delayed(_sum)(blocks(2))
    assert isinstance(graph_of(top).assembly(advance(top, tmp_path)), Delayed)
