"""The record that every output carries, and the folder for compiled kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from daskpar import provenance


def gather() -> dict[str, object]:
    inputs = [{"path": Path("a b.fits"), "size": np.int64(3), "mtime": float("nan")}]
    return provenance.provenance("name: x\n", "ab", {"k.py": "cd"}, inputs, result_hash="ef")


def test_is_strict_json_and_complete() -> None:
    made = gather()
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["recipe"] == {"text": "name: x\n", "digest": "ab"}
    assert made["inputs"] == [{"path": "a b.fits", "size": 3, "mtime": None}]
    assert made["result_hash"] == "ef"
    assert made["versions"]["numpy"] == np.__version__  # type: ignore[index]
    assert made["host"]["cores"] >= 1  # type: ignore[index]


def test_a_digest_needs_an_order_for_sets() -> None:
    assert provenance.jsonable({"b", "a"}) == ["a", "b"]
    assert provenance.jsonable((np.float32(0.5), np.arange(2))) == [0.5, [0, 1]]


def test_thread_environment_covers_every_library() -> None:
    made = provenance.thread_environment(3)
    assert set(made.values()) == {"3"}
    assert {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"} <= set(made)


def kind_under(**variables: str) -> str:
    code = "from daskpar.provenance import cpu_kind; print(cpu_kind())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_cpu_kind_follows_what_changes_bits() -> None:
    assert kind_under() == provenance.cpu_kind()
    assert kind_under(OPENBLAS_CORETYPE="Haswell") != provenance.cpu_kind()


def test_the_cache_folder_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = provenance.numba_cache_dir()
    assert folder.is_relative_to(tmp_path / "cache" / "daskpar")
    assert folder.stat().st_mode & 0o077 == 0
    assert provenance.cpu_kind() in folder.name
    assert provenance.numba_cache_dir() == folder


def test_a_cache_folder_that_others_may_write_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "cache" / "daskpar").mkdir(parents=True)
    (tmp_path / "cache" / "daskpar").chmod(0o777)
    assert provenance.numba_cache_dir().is_relative_to(tmp_path / f"daskpar-{os.getuid()}")
    (tmp_path / f"daskpar-{os.getuid()}").chmod(0o777)
    assert provenance.numba_cache_dir().parent == tmp_path


def test_importing_it_is_cheap() -> None:
    code = "import sys, daskpar.provenance; print(sorted({'numpy', 'numba', 'dask'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
