"""The contract of versions written by hand: for any number of workers, the bits of the dask version."""

import subprocess
import sys
import time

import numpy as np
import pytest
from by_hand_problems import (
    MANY_BLOCKS,
    PROBLEMS,
    dask_result,
    hash_of,
    many_blocks_here,
    prepared,
    write_package,
    write_small,
)
from conftest import environment

import daskpar
from daskpar.analysis import BUILT_IN, load_analysis, load_code
from daskpar.by_hand import PHASES, Job
from daskpar.comparison.launch import Launcher, Version
from daskpar.comparison.versions import chosen_versions, code_lines, lines_of_code
from daskpar.dataset_store import result_hash
from daskpar.errors import ClusterError, UsageError
from daskpar.inputs.reading_time import NOTED_IN, seconds_read
from daskpar.preparation import prepare_nothing

HERE = ("serial", "threads", "asyncio")  # run in the process of the test
SPAWNED = ("multiprocessing", "prange", "processes")


@pytest.fixture(autouse=True)
def _many_blocks(monkeypatch):
    many_blocks_here(monkeypatch)


@pytest.mark.parametrize("name", PROBLEMS)
def test_in_one_process(name, tmp_path, monkeypatch):
    problem = prepared(name, tmp_path)
    wanted = result_hash(dask_result(problem))
    reads = name in ("bootstrap", "pair_counts", "correlation", "image_stats", "float images")
    tried = 0
    for version, target in problem.analysis.by_hand.items():
        for workers in (1, 3) if version in HERE else ():
            job, noted = Job(problem.record, problem.options, workers), tmp_path / f"{version}-{workers}"
            noted.mkdir()
            with monkeypatch.context() as probed:
                probed.setenv(NOTED_IN, str(noted))
                found = load_code(target)(job)
            assert hash_of(found) == wanted, (version, workers)
            seconds = job.clock.stop()
            assert set(seconds) == {*PHASES, "total"}
            assert {phase for phase in PHASES if seconds[phase] > 0} == {"startup", "compute", "gather"}
            assert (seconds_read(noted) > 0) == reads
            assert "bytes_moved" not in job.notes
            tried += 1
    assert tried >= 4


@pytest.mark.parametrize("name", ["map", "bootstrap", "correlation", "pair_counts", "image_stats"])
def test_in_fresh_processes(name, tmp_path):
    problem = prepared(name, tmp_path / "scratch")
    wanted = result_hash(dask_result(problem))
    given = {"record": problem.record, "options": problem.options, "setup": None}
    launcher = Launcher(given, (str(tmp_path),), time_limit=120)
    for how in sorted(set(SPAWNED) & set(problem.analysis.by_hand)):
        (tmp_path / how).mkdir()
        launcher = Launcher(given, (str(tmp_path / how),), time_limit=120)
        target = write_small(tmp_path / how, problem.recipe.analysis, how)
        found = launcher.measure(Version(how, target), 3, tmp_path / how / "result", watch=True)
        assert found.result_hash == wanted, how
        assert found.notes["dask_loaded"] is False
        assert found.peak_bytes > 20e6
        assert found.seconds["total"] == pytest.approx(sum(found.seconds[phase] for phase in PHASES))
        threads = {**found.notes["threads"]}
        assert threads.pop("NUMBA_NUM_THREADS") == ("3" if how == "prange" else "1")
        assert set(threads.values()) == {"1"}
        # What a user's function reads is not seen; synthetic points are read as others are.
        assert (found.seconds["read"] > 0) == (name != "map"), how
        assert all(found.seconds[phase] > 0 for phase in PHASES if phase != "read"), how
        assert (found.notes.get("bytes_moved", 0) > 0) == (how != "prange")


PHASES_SEEN = {"map": {"startup", "compute", "gather", "write"}, "bootstrap": set(PHASES)}


@pytest.mark.parametrize("name", PHASES_SEEN)
def test_phases_are_the_same_in_all_versions(name, tmp_path, runs):
    """By dask and by hand the same probes see something; together they are all the time there was.

    Of images and pairs, see tests/mpi/test_compare.py.
    """
    recipe = {"name": "small", **PROBLEMS[name]}
    began = time.monotonic()
    found = daskpar.compare(
        recipe, ["dask", "serial", "threads", "multiprocessing"], [2], repeats=1, time_limit=120
    )
    took = time.monotonic() - began
    seen = {
        one.version: {phase for phase in PHASES if one.seconds[phase] > 0}
        for one in found.timings
        if not one.warmup
    }
    assert seen == dict.fromkeys(("dask", "serial", "threads", "multiprocessing"), PHASES_SEEN[name])
    held = {one["name"]: one["threads"]["NUMBA_NUM_THREADS"] for one in found.data["versions"]}
    assert held == dict.fromkeys(seen, "1")
    totals = [one.seconds["total"] for one in found.timings]
    assert totals == [pytest.approx(sum(one.seconds[phase] for phase in PHASES)) for one in found.timings]
    assert sum(totals) < took
    moved = {one.version: one.bytes_moved for one in found.timings}
    assert (moved["serial"], moved["threads"]) == (None, None)
    assert min(moved["dask"], moved["multiprocessing"]) > 0


SLOW_TO_END = """
import atexit, time
from daskpar.by_hand import Job
def run(job):
    atexit.register(time.sleep, 0.5)
    job.clock.phase("compute")
    return {"x": ((), 1.0)}
"""


def test_the_total_includes_how_processes_end(tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_TO_END)
    launcher = Launcher({"record": (), "options": None, "setup": None}, (str(tmp_path),), time_limit=60)
    found = launcher.measure(Version("slow", "slow:run"), 1, tmp_path / "result")
    assert found.seconds["startup"] > 0.5
    assert found.seconds["total"] == pytest.approx(sum(found.seconds[phase] for phase in PHASES))


TWO_AT_ONCE = """
import threading
from daskpar.analyses.image_stats import with_prange as real
together, met, compute = threading.Barrier(2), set(), real._compute
def meeting(k):
    if threading.get_native_id() not in met:
        together.wait(30)  # one thread alone would wait in vain
        met.add(threading.get_native_id())
    compute(k)
real._compute = meeting
run = real.run
"""


def test_prange_has_a_thread_for_each_worker(tmp_path):
    problem = prepared("image_stats", tmp_path / "scratch")
    write_package(tmp_path, "two", with_prange=MANY_BLOCKS + TWO_AT_ONCE)
    given = {"record": problem.record, "options": problem.options, "setup": None}
    launcher = Launcher(given, (str(tmp_path),), time_limit=120)
    found = launcher.measure(Version("prange", "two.with_prange:run"), 2, tmp_path / "result")
    assert found.notes["numba_threads"] == 2
    assert found.result_hash == result_hash(dask_result(problem))


AT_ONCE = """
import asyncio
inside, most = 0, 0
async def call(item):
    global inside, most
    inside += 1
    most = max(most, inside)
    await asyncio.sleep(0)
    inside -= 1
    return {"number": item["number"]}
"""


def test_asyncio_awaits_many_at_once_and_not_all(tmp_path, monkeypatch):
    """More than there are workers, and no more than a server bears."""
    from daskpar.analyses.map.with_asyncio import AT_ONCE as LIMIT

    (tmp_path / "calls.py").write_text(AT_ONCE)
    monkeypatch.syspath_prepend(tmp_path)
    recipe = {
        "name": "calls", "analysis": "map", "inputs": {"grid": {"number": list(range(3 * LIMIT))}},
        "options": {"function": "calls:call"},
    }  # fmt: skip
    problem = prepare_nothing(recipe, "local", tmp_path / "scratch", allow_code=True)
    found = load_code(problem.analysis.by_hand["asyncio"])(Job(problem.record, problem.options, 1))
    assert found["number"][1].tolist() == list(range(3 * LIMIT))
    assert sys.modules["calls"].most == LIMIT


def test_bytes_of_arrays_are_counted_wherever_they_lie():
    job = Job(None, None)
    job.moved({"a": np.zeros(3), "b": [np.zeros(2, "i2"), ("text", None)]})
    job.moved(np.zeros(1), times=2)
    assert job.notes["bytes_moved"] == 24 + 4 + 16


@pytest.mark.parametrize("analysis", sorted(BUILT_IN))
def test_every_analysis_has_these_versions(analysis):
    versions = load_analysis(analysis).by_hand
    assert {"serial", "threads", "multiprocessing", "mpi4py"} <= set(versions)


def test_by_hand_versions_load_no_dask():
    targets = [
        target.partition(":")[0]
        for analysis in BUILT_IN
        for target in load_analysis(analysis).by_hand.values()
        if "mpi4py" not in target
    ]
    code = f"import sys, importlib; [importlib.import_module(m) for m in {targets}]; "
    code += "print('dask' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_a_version_that_fails_says_why_and_leaves_nothing(tmp_path):
    launcher = Launcher({"record": (), "options": None, "setup": None}, time_limit=1.5)
    with pytest.raises(ClusterError, match=r"nothing failed with exit code 1: .*No module named"):
        launcher.measure(Version("nothing", "no_such_module:run"), 1, tmp_path / "a")
    (tmp_path / "endless.py").write_text("import threading\ndef run(job): threading.Event().wait()")
    slow = Launcher(launcher.given, (str(tmp_path),), time_limit=1.5)
    with pytest.raises(ClusterError, match=r"endless took more than 1\.5 s"):
        slow.measure(Version("endless", "endless:run"), 1, tmp_path / "b")


def test_versions_are_chosen_by_name():
    analysis = load_analysis("map")
    names = [one.name for one in chosen_versions(analysis, ["all"])]
    assert names[:3] == ["dask", "dask_threads", "serial"]
    elsewhere = [one.name for one in chosen_versions(analysis, ["all"], kind="mpi")]
    assert elsewhere == ["dask", *names[2:]]
    with pytest.raises(UsageError, match="did you mean 'threads'"):
        chosen_versions(analysis, ["thread"])
    with pytest.raises(UsageError, match="--allow-code"):
        chosen_versions(analysis, ["mine=my:run"])
    with pytest.raises(UsageError, match="name each version once"):
        chosen_versions(analysis, ["dask", "dask"])
    assert chosen_versions(analysis, ["mine=my:run"], True) == [Version("mine", "my:run")]


def test_lines_of_code_are_those_that_do_something():
    text = '"""Doc\n\nstring."""\n\nx = [\n    1,\n]  # why\n\n\ndef f():\n    """Doc."""\n    return x\n'
    assert code_lines(text) == {5, 6, 7, 10, 12}
    analysis = load_analysis("map")
    lines = {one.name: lines_of_code(one, analysis) for one in chosen_versions(analysis, ["all"])}
    assert all(5 < number < 400 for number in lines.values())
    assert lines["serial"] < lines["multiprocessing"] < lines["dask"]


MUTANTS = """
import numpy as np
from daskpar.analyses.pair_counts import with_serial
from daskpar.by_hand import Job

def one_pair_too_many(job):
    original = with_serial.count_block
    def count(question, plan, one, two, block):
        found = original(question, plan, one, two, block)
        return {**found, "npairs": found["npairs"] + (block == 0) * np.eye(1, 8, dtype=np.int64)[0]}
    with_serial.count_block = count
    return with_serial.run(job)

def last_bit(job):
    found = dict(with_serial.run(job))
    dims, array = found["separation_mean"]
    array = array.copy()
    array[-1] = np.nextafter(array[-1], np.inf)
    return {**found, "separation_mean": (dims, array)}
"""


def test_mutants_are_caught_and_get_no_time(tmp_path, runs):
    """A pair too many, and a float that is off by its last bit."""
    from daskpar.recipe import Recipe

    (tmp_path / "mutants.py").write_text(MUTANTS)
    path = tmp_path / "pairs.yaml"
    path.write_text(Recipe.from_data({"name": "pairs", **PROBLEMS["pair_counts"]}).dump())
    found = daskpar.compare(
        path,
        ["serial", "threads", "more=mutants:one_pair_too_many", "bit=mutants:last_bit"],
        [1],
        repeats=1,
        allow_code=True,
        time_limit=120,
    )
    said = {one["version"]: one for one in found.data["agreement"]}
    assert [said[name]["agrees"] for name in ("serial", "threads", "more", "bit")] == [
        True,
        True,
        False,
        False,
    ]
    assert "npairs (1 of 8 values)" in said["more"]["differs"]
    assert said["bit"]["differs"] == ["separation_mean (1 of 8 values)"]
    assert said["bit"]["largest_ulp"] == 1.0
    assert all(one.seconds is None for one in found.timings if one.version in ("more", "bit"))
    assert {one.version for one in found.timings if not one.warmup} == {"serial", "threads"}
    table = found.table
    assert list(table["result"][np.isnan(table["seconds"])]) == ["DIFFERS", "DIFFERS"]
    assert "WRONG: bit, more" in found.report().read_text()
    assert found.plot() is not None
    assert found.fits == []
    assert sorted(one.name for one in found.folder.iterdir()) == [
        "comparison.json",
        "logs",
        "report.html",
        "timings.jsonl",
    ]
