"""Verifying runs and outputs, and making outputs again: what was changed on purpose is found and named."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from astropy.io import fits
from processes import environment

import daskpar
from daskpar import outputs, record_files
from daskpar.cli import run_command
from daskpar.errors import InputError
from daskpar.outputs.values import farthest
from daskpar.provenance import cpu_kind
from daskpar.rundir import list_runs

MODULE = """
from pathlib import Path


def work(path):
    return {"n": len(Path(path).read_text()), "half": len(path) / 2}
"""
CURVE = """
import numpy as np


def angle(p):
    return {"y": float(np.arctan(p["x"]))}
"""
RECIPE = {
    "name": "small", "analysis": "map", "inputs": {"files": "data*.txt"},
    "options": {"function": "mine:work"}, "outputs": ["table.ecsv", "table.parquet", "table.fits"],
}  # fmt: skip
CARLO = {
    "name": "carlo", "analysis": "monte_carlo", "options": {"n_samples": 5000, "batch_size": 100},
    "outputs": ["pi.nc", "convergence.png"],
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two finished runs."""
    folder = tmp_path_factory.mktemp("verified")
    (folder / "mine.py").write_text(MODULE)
    (folder / "threads.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
    for i in range(3):
        (folder / f"data{i}.txt").write_text("x" * i)
    for recipe in (RECIPE, CARLO):
        path = folder / f"{recipe['name']}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        daskpar.run(path, folder / "threads.yaml", allow_code=True, runs=folder / "runs")
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.delenv("DASKPAR_RUNS", raising=False)
    return place


@pytest.fixture
def small(here):
    return next(run for run in list_runs(here / "runs") if run.name.startswith("small-"))


@pytest.fixture
def carlo(here):
    return next(run for run in list_runs(here / "runs") if run.name.startswith("carlo-"))


@contextlib.contextmanager
def changed(path, edit):
    """Change the bytes of a file, or remove it, and put it back as it was."""
    before, times = path.read_bytes(), os.stat(path)
    data = edit(before)
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def flipped(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if at >= 0 else flip_end(data, at)


def flip_end(data, at):
    at += len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.fixture
def call(capsys):
    """Return a function that runs a command with --json: (code, findings that are not ok, stderr)."""

    def one(*arguments):
        code = run_command([*map(str, arguments), "--json"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        if not captured.out:
            return code, [], captured.err
        document = json.loads(captured.out)
        assert document["ok"] == (code == 0)
        return code, [f for f in document["findings"] if f["state"] != "ok"], captured.err

    return one


def test_what_nobody_touched_verifies(call, small, carlo, capsys):
    for run in (small, carlo):
        assert call("verify", run.path) == (0, [], "")
        for output in run.read_state()["outputs"]:
            assert call("verify", output, "--allow-code") == (0, [], "")
    assert run_command(["verify", "small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    named = {line.split()[1].rstrip(":") for line in lines}
    assert named == {"recipe", "ledger", "result", "output", "inputs", "code"}


def damages(run):
    """What to change of a run, how, and the item and code of the finding."""
    (segment,) = run.ledger.glob("segments/*.seg")
    array = run.dataset / "0000.npy"
    return [
        (segment, flipped(-1), ("ledger", "block"), 5),
        (segment, lambda data: data[: len(data) // 2], "block", 5),
        (segment, lambda data: b"", "block", 5),
        (array, flipped(-1), "result", 5),
        (array, lambda data: None, "result", 5),
        (run.dataset / "dataset.json", lambda data: b"{", "result", 5),
        (
            run.path / "recipe.yaml",
            lambda data: data.replace(b"items_per_block:", b"retries: 7 #"),
            "recipe",
            5,
        ),
        (run.code / "mine.py", lambda data: data + b"\n", "code mine", 5),
        (run.path / "results" / "table.ecsv", flipped(-3), "output table.ecsv", 5),
        (run.path / "results" / "table.parquet", flipped(200), "output table.parquet", 5),
        (run.path / "results" / "table.fits", lambda data: data[:-2880], "output table.fits", 5),
        (run.path.parents[1] / "data1.txt", lambda data: b"y", "input data1.txt", 3),
        (run.path.parents[1] / "data1.txt", lambda data: None, "input", 3),
    ]


@pytest.mark.parametrize("number", range(13))
def test_what_was_changed_is_named(call, small, number):
    path, edit, item, code = damages(small)[number]
    with changed(path, edit):
        found = call("verify", small.path)
    assert found[0] == code
    differing = [f for f in found[1] if f["state"] == "differs"]
    assert differing
    assert all(f["item"].startswith(item) and f["message"] for f in differing if f["exit_code"] == code), (
        found
    )
    assert call("verify", small.path) == (0, [], "")


def test_a_record_that_is_whole_but_not_the_one_counted(call, small):
    """Whoever can write records can seal them; what was counted when they were made is in the events."""
    from daskpar import ledger

    stored = ledger.scan(small.ledger)[0]
    (segment,) = small.ledger.glob("segments/*.seg")
    key, record = next(iter(stored.items()))
    other = {name: record[name] for name in record}
    other["forged"] = next(iter(other.values()))
    with changed(segment, lambda data: b""):
        ledger.store(small.ledger, key, other)
        record_files.close(small.ledger)
        code, found, _ = call("verify", small.path)
    for path in small.ledger.glob("segments/*.seg"):
        if path != segment:
            path.unlink()
    assert code == 5
    assert "is not the record that was counted" in {f["message"] for f in found}


def test_a_cleaned_run_and_a_foreign_file(call, here, small, tmp_path):
    copy = tmp_path / "runs" / small.name
    shutil.copytree(small.path, copy)
    shutil.rmtree(copy / "ledger")
    code, found, _ = call("verify", copy)
    assert (code, [f["item"] for f in found if f["state"] == "note"]) == (0, ["ledger"])
    (tmp_path / "mine.fits").write_bytes(b"SIMPLE")
    assert call("verify", tmp_path / "mine.fits")[0] == 5
    assert call("verify", tmp_path / "nothing.fits")[0] == 3
    assert call("verify", "nothing")[0] == 2


def test_a_file_without_its_run(call, here, small, tmp_path, monkeypatch):
    file = shutil.copy(small.path / "results" / "table.fits", tmp_path / "mine.fits")
    arguments = ["verify", file, "--runs", tmp_path / "none"]
    code, found, _ = call(*arguments, "--allow-code")
    assert (code, [f["item"] for f in found]) == (0, [f"run {small.name}"])
    code, found, _ = call(*arguments)
    assert code == 0
    assert "--allow-code" in found[-1]["message"]  # the code that the file names was not run
    monkeypatch.chdir(tmp_path)
    assert call(*arguments, "--allow-code")[0] == 3  # no inputs here
    assert call(*arguments, "--allow-code", "--folder", here)[0] == 0


@pytest.mark.parametrize("name", ["table.ecsv", "table.parquet", "table.fits"])
def test_an_output_is_made_again(call, here, small, name):
    file = small.path / "results" / name
    assert call("rerun", file, "--verify", "--allow-code", "-p", "threads.yaml") == (0, [], "")


@pytest.mark.parametrize("name", ["pi.nc", "convergence.png"])
def test_an_output_of_samples_is_made_again(call, here, carlo, name):
    file = carlo.path / "results" / name
    assert call("rerun", file, "--verify", "-p", "threads.yaml") == (0, [], "")


def test_an_output_that_was_forged_with_good_checksums(call, here, small, tmp_path):
    file = shutil.copy(small.path / "results" / "table.fits", tmp_path / "table.fits")
    with fits.open(file, mode="update") as hdus:
        hdus[1].data["half"][0] += 1.0
        for hdu in hdus:
            hdu.add_checksum()
    outputs.verify_output(file)  # the file is whole
    arguments = ["rerun", file, "--verify", "--allow-code", "-p", "threads.yaml"]
    code, found, _ = call(*arguments)
    assert code == 5
    assert [f["item"] for f in found if f["state"] == "differs"] == ["output table.fits"]


def test_what_cannot_be_the_same_is_not_computed(call, here, small):
    arguments = [
        "rerun",
        small.path / "results" / "table.ecsv",
        "--verify",
        "--allow-code",
        "-p",
        "threads.yaml",
    ]
    before = len(list((here / "runs").iterdir()))
    with changed(here / "data2.txt", lambda data: b"other"):
        code, _, err = call(*arguments)
    assert code == 3
    assert "inputs" in err
    with changed(small.path / "results" / "table.ecsv", flipped(-3)):
        code, _, err = call(*arguments)
    assert code == 5
    assert "table.ecsv" in err
    assert call(*arguments[:-3], "-p", "threads.yaml")[0] == 2  # without --allow-code
    assert len(list((here / "runs").iterdir())) == before


def test_another_result_differs(call, here, small):
    """The user's function now gives something else, and the message says that the code is another."""
    with changed(here / "mine.py", lambda data: data.replace(b"/ 2", b"/ 3")):
        code, found, _ = call(
            "rerun", small.path / "results" / "table.ecsv", "--verify", "--allow-code", "-p", "threads.yaml"
        )
    assert code == 5
    assert {f["item"]: f["state"] for f in found} == {
        "code": "note", "result": "differs", "output table.ecsv": "differs"
    }  # fmt: skip


def test_an_output_from_another_kind_of_cpu(call, here, tmp_path):
    """Without the vector instructions of this one numpy's arctan gives other last bits."""
    (here / "curve.py").write_text(CURVE)
    numbers = np.linspace(-5, 5, 200).tolist()
    recipe = {"name": "curve", "analysis": "map", "inputs": {"grid": {"x": numbers}},
              "options": {"function": "curve:angle"}, "outputs": ["curve.ecsv"]}  # fmt: skip
    (here / "curve.yaml").write_text(yaml.safe_dump(recipe))
    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    words = ["run", "curve.yaml", "--allow-code", "-p", "threads.yaml", "--output", str(tmp_path / "out")]
    subprocess.run(
        [sys.executable, "-m", "daskpar", *words], cwd=here, check=True, capture_output=True,
        env=environment(NPY_DISABLE_CPU_FEATURES=" ".join(features)),
    )  # fmt: skip
    file = tmp_path / "out" / "curve.ecsv"
    assert outputs.read_provenance(file)["host"]["cpu_kind"] != cpu_kind()
    arguments = ["rerun", file, "--verify", "--allow-code", "-p", "threads.yaml"]
    code, found, _ = call(*arguments)
    assert (code, [f["message"] for f in found if "tolerance" not in f["message"]]) == (0, [])
    with changed(here / "curve.py", lambda data: data.replace(b"float(", b"1.00001 * float(")):
        code, found, _ = call(*arguments)
    assert code == 5
    assert [f["item"] for f in found if f["state"] == "differs"] == ["output curve.ecsv"]


def test_differences_by_tolerance(small, carlo, tmp_path):
    from astropy.table import Table

    for name in ("table.ecsv", "table.parquet", "table.fits"):
        assert farthest(small.path / "results" / name, small.path / "results" / name) == 0.0
    assert farthest(carlo.path / "results" / "pi.nc", carlo.path / "results" / "pi.nc") == 0.0
    table = Table.read(small.path / "results" / "table.ecsv")
    table["half"][0] *= 1 + 1e-9
    table.write(tmp_path / "other.ecsv")
    assert 0.0 < farthest(small.path / "results" / "table.ecsv", tmp_path / "other.ecsv") <= 2e-9
    with pytest.raises(InputError):
        outputs.read_provenance(tmp_path / "other.ecsv")
