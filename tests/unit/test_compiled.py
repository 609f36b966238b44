"""Compiled kernels: their cache, seen by all processes and stamped with all sources; what is aligned."""

import os
import subprocess
import sys
import textwrap

import numba
import numpy as np
import pytest

from daskpar.aligned import CACHE_LINE, aligned
from daskpar.compiled import aligned_stack, sources_digest

MAIN = """
import sys
import numpy as np
sys.path.insert(0, {folder!r})
from kernels import outer
print(outer.twice(np.{kind}(21)), sum(outer.twice.stats.cache_hits.values()))
"""


def kernels(folder, inner):
    package = folder / "kernels"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(
        f"from daskpar.compiled import compiled\n\n\n@compiled\ndef step(x):\n    return {inner}\n"
    )
    (package / "outer.py").write_text(
        textwrap.dedent(
            """
            from daskpar.compiled import compiled
            from .inner import step


            @compiled
            def twice(x):
                return step(x)
            """
        )
    )


def start(folder, kind="int64"):
    code = MAIN.format(folder=str(folder), kind=kind)
    variables = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=variables)


def run(folder, kind="int64"):
    value, hits = start(folder, kind).communicate()[0].split()
    return float(value), int(hits)


def test_second_process_finds_the_code_and_a_change_elsewhere_is_seen(tmp_path):
    kernels(tmp_path, "x * 2")
    assert run(tmp_path) == (42, 0)
    assert run(tmp_path) == (42, 1)
    kernels(tmp_path, "x * 3")  # outer.py, whose cached code holds the inlined step, is as it was
    assert run(tmp_path) == (63, 0)


def test_processes_that_compile_different_types_at_once_get_their_own_code(tmp_path):
    kernels(tmp_path, "x / 2")
    kinds = ["int64", "float32", "float64", "int16"]
    for process in [start(tmp_path, kind) for kind in kinds]:
        assert float(process.communicate()[0].split()[0]) == 10.5
    assert [run(tmp_path, kind) for kind in kinds] == [(10.5, 1)] * 4


def test_processes_that_start_together_compile_once(tmp_path):
    kernels(tmp_path, "x + 1")
    found = [process.communicate()[0].split() for process in [start(tmp_path) for _ in range(3)]]
    assert [float(value) for value, _ in found] == [22] * 3
    assert sorted(int(hits) for _, hits in found) == [0, 1, 1]


def test_an_index_that_cannot_be_read_is_an_empty_one(tmp_path):
    kernels(tmp_path, "x - 1")
    assert run(tmp_path) == (20, 0)
    for index in tmp_path.rglob("*.nbi"):
        index.write_bytes(index.read_bytes()[:-20])
    assert run(tmp_path) == (20, 0)


def test_digest_holds_names_and_contents(tmp_path):
    kernels(tmp_path, "x")
    before = sources_digest.__wrapped__(tmp_path)
    (tmp_path / "kernels" / "inner.py").rename(tmp_path / "kernels" / "other.py")
    assert sources_digest.__wrapped__(tmp_path) != before


def test_vectors_on_the_stack_begin_at_cache_lines():
    @numba.njit
    def add_one(x):
        aligned_stack()
        return x + 1.0

    assert add_one(1.0) == 2.0
    (code,) = add_one.inspect_llvm().values()
    assert '"stackrealign"' in code


@pytest.mark.parametrize("shape", [5, (3, 7), (2, 0)])
@pytest.mark.parametrize("dtype", [">f4", np.float64, np.bool_])
def test_arrays_begin_at_cache_lines(shape, dtype):
    array = aligned(shape, dtype, 1)
    assert array.size == 0 or array.ctypes.data % CACHE_LINE == 0
    assert array.dtype == dtype
    assert array.shape == np.empty(shape).shape
    assert np.all(array == 1)
