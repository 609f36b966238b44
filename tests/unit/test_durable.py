"""Durable nodes: ordinary delayed nodes, whose keys say what they are and nothing else."""

import functools
import importlib
import json
import subprocess
import sys

import dask
import numpy as np
import pytest
from conftest import environment
from dask.delayed import Delayed, delayed

from daskpar.durable import Durable, block_key, code_digest, code_files, digest_of, durable

CASE = {"band": [0, 64], "sigma": 3.0, "mask": None, "name": "M 13 ☃", "deep": {"a": [True, 1, -0.5]}}


def total(*values, scale=1):
    return {"sum": np.sum(values) * scale}


def other(*values):
    return {"sum": np.sum(values)}


def node_of(value):
    (found,) = [
        t.func for t in dict(value.__dask_graph__()).values() if isinstance(getattr(t, "func", None), Durable)
    ]
    return found


def test_without_a_run_it_is_an_ordinary_delayed_node():
    node = durable(total, 1, 2, 3, key=CASE, label="sum of three")
    assert isinstance(node, Delayed)
    assert node.compute(scheduler="synchronous") == {"sum": 6}
    above = delayed(lambda part: part["sum"] + 1)(node)
    assert above.compute(scheduler="synchronous") == 7


def test_delayed_arguments_are_dependencies_also_inside_lists():
    one = durable(other, 1, key=1, label="one")
    node = durable(functools.partial(_all, 10), [one, one], key=2, label="both")
    assert node.compute(scheduler="synchronous") == {"sum": 12}


def _all(start, parts):
    return {"sum": start + sum(part["sum"] for part in parts)}


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("combine rows 0:64", "combine"),
        ("", "block"),
        ("a/b\nc d", "a_b_c"),
        ("é" * 99, "é" * 32),
        (" x", "block"),
    ],
)
def test_the_name_holds_a_word_of_the_label_and_the_key(label, word):
    node = durable(total, 1, key=CASE, label=label)
    assert node.key == f"durable-{word}-{block_key(total, CASE)}"
    assert (node_of(node).key, node_of(node).label) == (block_key(total, CASE), label)


def test_the_key_is_that_of_function_and_description_alone():
    base = durable(total, 1, key=CASE, label="a").key
    turned = {**dict(reversed(CASE.items())), "band": (0, np.int64(64)), "sigma": np.float64(3)}
    assert durable(total, 1, key=turned, label="a").key == base
    assert durable(total, 2, key=CASE, label="a").key == base  # arguments are the caller's to describe
    assert durable(other, 1, key=CASE, label="a").key != base
    assert durable(total, 1, key={**CASE, "sigma": 3.0000000000000004}, label="a").key != base
    keys = [0, 0.0, False, None, "0", [0], {"0": 0}, [], {}, [[]], "", -0.0]
    assert len({digest_of(key) for key in keys}) == len(keys)


@pytest.mark.parametrize("key", [object(), {1, 2}, b"x", np.arange(3), {"a": [object()]}])
def test_what_is_not_json_is_no_key(key):
    with pytest.raises(TypeError, match="a durable key may hold"):
        durable(total, 1, key=key, label="a")


KEYS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import mylab.flats
from daskpar.durable import block_key
case = json.loads(sys.argv[2])
print(*(block_key(f, case) for f in (mylab.flats.measure, mylab.flats.Scale(3), mylab.flats.TWICE)))
"""


def project(folder, measure="import numpy as np\nfrom . import tools\n"):
    """Write a small package of a user's and return its folder."""
    package = folder / "mylab"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("VERSION = 1\n")
    (package / "tools.py").write_text("from mylab.deep import LIMIT\n")
    (package / "deep.py").write_text("LIMIT = 3\n")
    (package / "unused.py").write_text("LIMIT = 4\n")
    (package / "flats.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from mylab import unused\n" + measure + "def measure(path):\n    return 1\n"
        "class Scale:\n"
        "    def __init__(self, factor):\n        self.factor = factor\n"
        "    def __call__(self, x):\n        return x * self.factor\n"
        "TWICE = lambda x: 2 * x\n"
    )
    return folder


def keys_in_a_process(folder, **variables):
    done = subprocess.run(
        [sys.executable, "-c", KEYS, str(folder), json.dumps(CASE)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_keys_are_the_same_in_every_process_and_place(tmp_path):
    first = keys_in_a_process(project(tmp_path / "a"), PYTHONHASHSEED="1")
    again = keys_in_a_process(tmp_path / "a", PYTHONHASHSEED="2")
    assert first == again
    assert keys_in_a_process(project(tmp_path / "elsewhere" / "b"))[0] == first[0]


@pytest.mark.parametrize("file", ["flats.py", "tools.py", "deep.py", "__init__.py"])
def test_the_key_changes_with_any_source_behind_the_function(tmp_path, file):
    before = keys_in_a_process(project(tmp_path))
    path = tmp_path / "mylab" / file
    path.write_text(path.read_text() + "# a comment\n")
    after = keys_in_a_process(tmp_path)
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_the_key_does_not_change_with_what_is_not_imported(tmp_path):
    before = keys_in_a_process(project(tmp_path))
    (tmp_path / "mylab" / "unused.py").write_text("LIMIT = 5\n")
    assert keys_in_a_process(tmp_path) == before


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Return a function that imports a module from a new folder; all are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(name):
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield load
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_single_module_belongs_to_the_folder_it_lies_in(tmp_path, modules):
    (tmp_path / "beside_a.py").write_text(
        "import beside_b, numpy, json\nfrom os import path\ndef f(x): return x\n"
    )
    (tmp_path / "beside_b.py").write_text("import beside_c\n")
    (tmp_path / "beside_c.py").write_text("import beside_a\n")
    files = code_files(modules("beside_a").f)
    assert files == {name: tmp_path / f"{name}.py" for name in ("beside_a", "beside_b", "beside_c")}


def test_a_package_is_known_by_its_parents_too(tmp_path, modules):
    project(tmp_path)
    names = ["mylab", "mylab.deep", "mylab.flats", "mylab.tools"]
    assert list(code_files(modules("mylab.flats").measure)) == names


def test_a_package_that_nothing_imports_still_counts(tmp_path, modules):
    project(tmp_path, "")
    assert list(code_files(modules("mylab.flats").measure)) == ["mylab", "mylab.flats"]


def test_imports_inside_functions_count_and_relative_ones(tmp_path, modules):
    project(tmp_path, "def late():\n    from .deep import LIMIT\n    from ..mylab import unused\n")
    assert {"mylab.deep", "mylab.unused"} <= set(code_files(modules("mylab.flats").measure))


def test_functions_of_the_standard_library_and_of_c_have_no_project():
    assert list(code_files(json.dumps)) in (
        ["json"],
        ["json", "json.decoder", "json.encoder", "json.scanner"],
    )
    assert code_files(len) == {}
    assert code_digest(len) != code_digest(sum)


def test_lambdas_closures_and_objects_are_known_by_what_they_hold():
    functions = [lambda x: x, lambda x: 2 * x, *map(_times, (1, 2)), _Scale(1), _Scale(2), _Scale(1).times]
    functions += [
        _Scale(2).times,
        functools.partial(total, scale=2),
        functools.partial(total, scale=3),
        total,
    ]
    assert len({code_digest(function) for function in functions}) == len(functions)
    assert code_digest(_times(2)) == code_digest(_times(2))
    assert code_digest(_Scale(2)) == code_digest(_Scale(2))


def _times(factor):
    return lambda x: factor * x


class _Scale:
    def __init__(self, factor):
        self.factor = [factor]

    def __eq__(self, other):
        return True  # unhashable, and equal to all

    def __call__(self, x):
        return self.factor[0] * x

    times = __call__


def test_two_closures_do_not_share_a_node():
    nodes = [durable(_times(factor), 10, key="same", label="x") for factor in (2, 3)]
    assert dask.compute(*nodes, scheduler="synchronous") == (20, 30)


NOTEBOOK = """
from daskpar.durable import block_key
factor = 2
exec(compile("def f(x):\\n    return x * factor * {number}\\n", "<cell 1>", "exec"))
print(block_key(f, 1))
"""


def test_a_function_typed_into_a_notebook_is_known_by_its_code():
    def key(number):
        code = NOTEBOOK.replace("{number}", str(number))
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout

    assert key(1) == key(1)
    assert key(1) != key(2)


def test_a_script_and_its_import_make_the_same_keys(tmp_path):
    (tmp_path / "script.py").write_text(
        "from daskpar.durable import block_key\n"
        "def f(x):\n    return x\n"
        "if __name__ == '__main__':\n    import script\n"
        "    print(block_key(f, 1) == block_key(script.f, 1))\n"
    )
    command = [sys.executable, "script.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_durable_is_a_leaf():
    code = "import sys, daskpar.durable; print([m for m in sys.modules if m[:8] in ('daskpar.', 'distribu')])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    loaded = done.stdout
    assert "daskpar.durable" in loaded
    assert "daskpar.l" not in loaded
    assert "distributed" not in loaded
