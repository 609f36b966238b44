"""Runs that are killed, at any place, and resumed: the same bits, and no stored block computed again.

What ran is counted from a file that the functions themselves append to, in the workers.
"""

import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, environment
from killing import (
    BLOCKS,
    ENOUGH,
    THREADS,
    Case,
    case_of,
    family,
    gone,
    held,
    removed_keys,
    stored_keys,
    the_run,
    under_way,
    undisturbed,
    wait_for,
)

from daskpar import ledger
from daskpar.lease import Lease

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

HELD = {"HOLD": "1", "PAUSE": "0"}  # for a run that is killed in the middle of its blocks


@pytest.fixture(params=["map", "plugin", "image", "staged image"])
def each(request, tmp_path, count, monkeypatch):
    if "image" in request.param:
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    return case_of(request.param, tmp_path, count)


@pytest.fixture(params=["map", "plugin"])
def case(request, tmp_path, count):
    return Case(request.param, tmp_path, count)


@pytest.fixture
def mapped(tmp_path, count):
    return Case("map", tmp_path, count)


@pytest.fixture
def calm(shared):
    """Return a function that gives the status of a case's run that nobody disturbs."""
    return lambda case: shared.once(case.kind, functools.partial(undisturbed, case.kind))


def linger(case, go):
    """Write the module of a case so that its last blocks take long, until a file is there."""
    case.write(f"n >= 40 and not os.path.exists({str(go)!r}) and time.sleep(2)")


def resumed(cli, *arguments):
    done = cli("resume", "last", "--json", *arguments, PAUSE="0")
    assert done.code == 0, done.stderr
    return json.loads(done.stdout)


# --- the driver dies


def test_a_killed_driver_is_resumed_to_the_same_bits(each, calm, cli, start, runs, count):
    expected = calm(each)
    total = expected["blocks_total"]
    process = start(*each.begin, **HELD)
    held(each, process)
    processes = family(process)
    process.kill()
    gone(processes)
    stored = len(stored_keys(runs))
    first = each.begun()
    assert ENOUGH <= stored < total
    assert len(first) > stored
    assert max(first.values()) == 1
    assert json.loads(cli("status", "--json").stdout)["state"] == "interrupted"

    after = resumed(cli)
    assert after["result_hash"] == expected["result_hash"]
    assert (after["state"], after["blocks_done"], after["blocks_total"]) == ("done", total, total)
    executions = each.begun()
    assert len(executions) == total
    assert sum(executions.values()) - total == len(first) - stored  # only what was in flight ran twice
    assert len(first) - stored <= THREADS

    before = count.lines()
    assert resumed(cli)["result_hash"] == expected["result_hash"]
    assert count.lines() == before  # a finished run executes none


@pytest.mark.parametrize("moment", [0.0, 0.3, 1.0, 2.2, 3.1, 4.5])
def test_a_driver_killed_at_any_time(mapped, start, cli, runs, moment):
    """Whenever it dies, before its first block or after its last: what is stored is used, and it finishes."""
    mapped.seconds = 0.01
    mapped.write()
    process = start(*mapped.begin)
    wait_for(lambda: process.poll() is not None or list(runs.glob("*/run.json")))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(moment)
    processes = family(process)
    process.kill()
    gone(processes)
    stored = len(stored_keys(runs))
    first = sum(mapped.begun().values())
    after = resumed(cli)
    assert after["state"] == "done"
    assert sum(mapped.begun().values()) == BLOCKS + first - stored
    assert first - stored <= THREADS


# --- a worker dies


def kill_once(folder, number):
    flag = folder / "killed"
    return (
        f"if n >= {number}:\n"
        "        try:\n"
        f"            open({str(flag)!r}, 'x').close()\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        except FileExistsError:\n"
        "            pass"
    )


def test_a_killed_worker_costs_only_the_blocks_it_was_computing(each, calm, cli, runs, tmp_path):
    expected = calm(each)
    each.write(kill_once(tmp_path, 20))
    done = cli(*each.begin)
    assert done.code == 0, done.stderr
    after = json.loads(done.stdout)
    assert after["result_hash"] == expected["result_hash"]
    assert sum(each.begun().values()) == after["blocks_total"] + 1
    assert set(each.executions("end").values()) == {1}  # no block that had ended ran again
    assert len(stored_keys(runs)) == after["blocks_total"] - len(removed_keys(runs))


def test_receipts_lost_with_a_worker_are_made_again_from_the_ledger(case, cli, runs, count, tmp_path):
    """A worker of many threads dies while blocks are stored of which nobody has heard yet."""
    case.seconds = 0.02
    (tmp_path / "site.yaml").write_text("kind: local\nworkers: 1\ncores: 8\nmemory: 1 GiB\n")
    case.write(
        f"n % 16 == 8 and not os.path.exists({str(tmp_path)!r} + f'/{{n}}') and "
        f"(open({str(tmp_path)!r} + f'/{{n}}', 'w').close(), os.kill(os.getpid(), signal.SIGKILL))"
    )
    done = cli(*case.begin)
    assert done.code == 0, done.stderr
    records = [
        record for path in runs.glob("*/ledger/segments/*.seg") for record in ledger._records(path, [])
    ]
    keys = [record.key for record in records]
    assert len(set(keys)) == BLOCKS
    assert len(keys) == BLOCKS  # none was stored twice


def test_a_poison_block_is_named_and_the_rest_is_saved(case, cli, runs, tmp_path):
    case.seconds = 0.01
    case.write("n == 40 and os.kill(os.getpid(), signal.SIGKILL)")
    done = cli(*case.begin)
    assert done.code == 4
    assert "ended its worker 4 times" in done.stderr
    assert "40" in done.stderr
    assert "Traceback" not in done.stderr
    assert case.begun()["40"] == 4  # the last time alone, as others died with it
    assert done.stderr.count("ended its worker") == 1
    assert len(stored_keys(runs)) == BLOCKS - 1
    status = json.loads(cli("status", "--json").stdout)
    assert (status["state"], status["blocks_done"]) == ("failed", BLOCKS - 1)
    case.write()
    refused = cli("resume", "last")
    assert refused.code == 2
    assert "mine.py" in refused.stderr


@pytest.mark.parametrize(
    ("hook", "error"),
    [("1 / (n - 40)", "ZeroDivisionError"), ("n == 40 and open('/none')", "FileNotFoundError")],
)
def test_a_block_that_raises_is_named_and_the_rest_is_saved(case, cli, runs, hook, error):
    case.seconds = 0.01
    case.write(hook)
    done = cli(*case.begin)
    assert done.code == 2
    assert error in done.stderr
    assert "40" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(stored_keys(runs)) == BLOCKS - 1
    assert error in cli("logs").stdout


# --- nobody is left behind


def test_workers_leave_when_their_driver_is_gone(mapped, start, runs):
    mapped.seconds = 3.0
    mapped.write()
    process = start(*mapped.begin)
    wait_for(mapped.begun)
    processes = family(process)
    assert len(processes) > THREADS
    process.kill()
    gone(processes, 60)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(("kind", "group"), [("map", False), ("plugin", True)], ids=["driver", "group"])
def test_an_interrupted_run_ends_cleanly_and_goes_on(
    tmp_path, cli, start, runs, count, number, code, kind, group
):
    case = Case(kind, tmp_path, count)
    process = start(*case.begin)
    under_way(case, process)
    processes = family(process)
    (os.killpg if group else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert f"daskpar resume {the_run(runs).name}" in stderr
    gone(processes, 10)
    status = json.loads(cli("status", "--json").stdout)
    assert status["state"] == "interrupted"
    assert not (the_run(runs) / "lease.json").exists()
    stored = len(stored_keys(runs))
    assert status["blocks_done"] <= stored
    resumed(cli)
    assert sum(case.begun().values()) - BLOCKS <= THREADS


def test_cancel_stops_a_run_that_resume_finishes(mapped, cli, start, runs, tmp_path):
    linger(mapped, tmp_path / "go")
    process = start(*mapped.begin)
    under_way(mapped, process)
    processes = family(process)
    done = cli("cancel", "last", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["state"] == "cancelled"
    assert process.wait(10) == 143
    gone(processes, 10)
    (tmp_path / "go").touch()
    resumed(cli)
    assert sum(mapped.begun().values()) - BLOCKS <= THREADS


# --- two drivers


def test_a_second_driver_is_refused_and_told_who_the_first_is(mapped, cli, start, runs, tmp_path):
    linger(mapped, tmp_path / "go")
    process = start(*mapped.begin)
    under_way(mapped, process)
    done = cli("resume", "last")
    assert done.code == 2
    assert f"pid {process.pid} on {os.uname().nodename}" in done.stderr
    (tmp_path / "go").touch()
    assert process.wait(60) == 0
    assert set(mapped.begun().values()) == {1}
    assert Lease(the_run(runs) / "lease.json").holder() is None


# --- what changed


def interrupted(case, start, runs):
    """Begin a run and kill it on the way."""
    process = start(*case.begin, **HELD)
    held(case, process)
    processes = family(process)
    process.kill()
    gone(processes)


def test_a_changed_recipe_is_refused_with_the_difference(mapped, cli, start, runs, tmp_path):
    interrupted(mapped, start, runs)
    path = tmp_path / "recipe.yaml"
    path.write_text(path.read_text().replace("items_per_block: 1", "items_per_block: 2"))
    refused = cli("resume", "last")
    assert refused.code == 2
    assert "options.items_per_block" in refused.stderr
    assert "1" in refused.stderr
    assert "2" in refused.stderr
    assert "--as-begun" in refused.stderr
    assert resumed(cli, "--as-begun")["state"] == "done"
    assert sum(mapped.begun().values()) - BLOCKS <= THREADS


def test_changed_code_is_refused_with_the_file(case, cli, start, runs, tmp_path):
    interrupted(case, start, runs)
    case.write("n / 2")
    refused = cli("resume", "last")
    assert refused.code == 2
    assert str(tmp_path / "mine.py") in refused.stderr
    assert "--as-begun" in refused.stderr
    assert resumed(cli, "--as-begun")["state"] == "done"  # with the code that the run keeps
    assert sum(case.begun().values()) - BLOCKS <= THREADS


BEHIND = """
name: behind
analysis: map
inputs: {grid: {n: [1, 2, 3]}}
options: {function: "mine:measure"}
outputs: [table.ecsv]
"""


@pytest.mark.parametrize(("file", "ours"), [("helper.py", False), ("daskpar/analyses/map/rows.py", True)])
def test_changed_code_behind_the_function_is_refused(tmp_path, cli, file, ours):
    """What the user's module imports from beside it, and daskpar: a copy of it, in the working folder."""
    shutil.copytree(ROOT / "daskpar", tmp_path / "daskpar", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "mine.py").write_text("import helper\ndef measure(p):\n    return helper.half(p['n'])\n")
    (tmp_path / "helper.py").write_text("def half(n):\n    return {'half': n / (n - 2)}\n")
    (tmp_path / "recipe.yaml").write_text(BEHIND)
    (tmp_path / "site.yaml").write_text("{kind: local, workers: 1, processes: false, dashboard: false}")
    failed = cli("run", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    assert failed.code == 2
    assert "division by zero" in failed.stderr
    with open(tmp_path / file, "a") as changed:
        changed.write("# another line\n")
    refused = cli("resume", "last")
    assert refused.code == 2
    assert f"the code behind the run changed since it began: {tmp_path / file}" in refused.stderr
    again = cli("resume", "last", "--as-begun")
    assert again.code == 2  # with the code that the run keeps, which fails as before; ours has no other copy
    assert (str(tmp_path / file) in again.stderr) == ours
    assert ("division by zero" in again.stderr) != ours


def test_a_changed_input_is_refused(tmp_path, cli, start, runs, count):
    case = Case("plugin", tmp_path, count)
    interrupted(case, start, runs)
    (tmp_path / "data.txt").write_text("other data")
    refused = cli("resume", "last")
    assert refused.code == 3
    assert "changed" in refused.stderr


def flip(record):
    """Change one bit of a record."""
    with open(record.path, "r+b") as file:
        file.seek(record.offset + record.length - 1)
        last = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([last[0] ^ 1]))


def shorten(record):
    """Take away the second half of a record; others may follow."""
    data = Path(record.path).read_bytes()
    half, end = record.offset + record.length // 2, record.offset + record.length
    Path(record.path).write_bytes(data[:half] + data[end:])


def test_a_damaged_record_is_computed_again_and_reported(mapped, calm, cli, start, runs):
    check_damage(mapped, calm, cli, start, runs, flip)
    assert "damaged" in cli("logs").stdout


@pytest.mark.parametrize("tail", [False, True], ids=["record", "tail"])
def test_a_record_that_was_cut_is_computed_again(mapped, calm, cli, start, runs, tail):
    check_damage(mapped, calm, cli, start, runs, shorten, tail)
    # A tail may be what a crash tore: nothing is wrong with a block that was never stored.
    assert ("damaged" in cli("logs").stdout) != tail


def check_damage(case, calm, cli, start, runs, damage, tail=False):
    """Damage a stored record of a killed run, the last or not; hold that what still verifies is used."""
    expected = calm(case)
    interrupted(case, start, runs)
    records = sorted(ledger.scan(the_run(runs) / "ledger")[0].values(), key=lambda r: (r.path, r.offset))
    before = sum(case.begun().values())
    followed = [one.path == other.path for one, other in itertools.pairwise(records)]
    damage(records[-1 if tail else followed.index(True)])
    good = len(stored_keys(runs))
    assert len(records) - 2 <= good < len(records)  # one that was cut may hide the beginning of the next
    assert resumed(cli)["result_hash"] == expected["result_hash"]
    assert sum(case.begun().values()) == before + BLOCKS - good


def test_a_damaged_record_of_a_run_is_written_again(mapped, calm, cli, start, runs):
    interrupted(mapped, start, runs)
    path = the_run(runs) / "run.json"
    contents = path.read_bytes()
    path.write_bytes(contents[:-10])
    assert "differs  run.json: is damaged" in cli("verify", "last").stdout
    assert resumed(cli)["result_hash"] == calm(mapped)["result_hash"]
    assert path.read_bytes() == contents
    assert "run.json was damaged" in cli("status", "last").stdout


@pytest.mark.parametrize("name", ["dataset.json", "0000.npy"])
def test_a_damaged_file_of_a_finished_run_is_made_again_without_computing(tmp_path, cli, runs, count, name):
    case = Case("map", tmp_path, count, seconds=0)
    assert cli(*case.begin).code == 0
    before, path = case.begun(), the_run(runs) / "dataset" / name
    state, contents = the_run(runs).joinpath("state.json"), path.read_bytes()
    expected = json.loads(state.read_text())["result_hash"]
    path.write_bytes(contents[:-10])
    again = cli("resume", "last")
    assert again.code == 0, again.stderr
    assert json.loads(state.read_text())["result_hash"] == expected
    assert path.stat().st_size == len(contents)
    assert case.begun() == before
    assert not [line for line in cli("verify", "last").stdout.splitlines() if line.startswith("differs")]
    assert f"{name} is damaged" in cli("status", "last").stdout


# --- a full disk


def test_a_full_disk_ends_with_its_own_code_and_nothing_is_lost(tmp_path, cli, runs, count):
    """The limit on the size of any file is the disk that fills up while workers store."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, resource\n"
        "size = int(os.environ.get('LIMIT_FILES', 0))\n"
        "if size:\n    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
    )
    case = Case("map", tmp_path, count, seconds=0.01)
    case.module = case.module.replace('"name": f"n{p[\'x\']}"', '"name": "x" * 5000')
    case.write()
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    done = cli(*case.begin, LIMIT_FILES="300000", PYTHONPATH=path)
    assert done.code == 5, done.stderr
    assert "Traceback" not in done.stderr
    assert "bytes" in done.stderr
    assert str(the_run(runs)) in done.stderr
    stored = len(stored_keys(runs))
    assert 0 < stored < BLOCKS
    before = sum(case.begun().values())
    assert resumed(cli)["state"] == "done"
    assert sum(case.begun().values()) == before + BLOCKS - stored
