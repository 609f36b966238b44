"""The test runner is honest: failures, leftovers and skips that need not be show in its exit code."""

import subprocess
import sys
import time

import parts
import psutil
import pytest

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="passes"/>
<testcase classname="a" name="fails"><failure message="x"/></testcase>
<testcase classname="a" name="breaks"><error message="x"/></testcase>
<testcase classname="a" name="known"><skipped type="pytest.xfail" message="x"/></testcase>
<testcase classname="a" name="left_out"><skipped type="pytest.skip" message="{reason}"/></testcase>
</testsuite></testsuites>
"""
FINE = parts.Outcome("unit", 0, 1.5, ())


@pytest.fixture
def reports(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "REPORTS", tmp_path)
    return tmp_path


def test_the_last_line_is_the_sum(reports, capsys):
    (reports / "unit.xml").write_text(REPORT.format(reason="no GPU"))
    (reports / "fault.xml").write_text(REPORT.format(reason="no GPU"))
    assert parts.report([FINE], complete=True) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.strip("= ") == "2 failed, 2 passed, 2 skipped, 2 xfailed, 2 error in 1.50s"


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("the M 13 frames are not here; set DASKPAR_TEST_DATA", 0),
        ("the frames of M 13 are not here", 0),
        ("the mock catalog is not here", 0),
        ("no real frames in shared/data", 0),
        ("the superuser may read everything", 0),
        ("Slurm is not installed: no slurmctld", 1),
        ("could not import 'mpi4py'", 1),
    ],
)
def test_a_complete_run_skips_only_what_it_may(reports, reason, code):
    (reports / "unit.xml").write_text(REPORT.format(reason=reason))
    assert parts.report([FINE], complete=True) == code
    assert parts.report([FINE], complete=False) == 0


@pytest.mark.parametrize(("code", "left", "failed"), [
    (0, (), False), (parts.NO_TESTS, (), False), (1, (), True), (-9, (), True), (0, ("sleep 60",), True),
])  # fmt: skip
def test_what_fails_a_part(code, left, failed):
    assert parts.Outcome("slurm", code, 1.0, left).failed == failed


def test_no_test_is_a_failure(reports):
    assert parts.report([parts.Outcome("unit", parts.NO_TESTS, 1.0, ())], complete=False) == 1
    assert parts.report([parts.Outcome("ruff", 0, 1.0, ())], complete=False) == 0


def test_what_a_part_leaves_running_is_found_and_ended(monkeypatch):
    """Also a grandchild in a session of its own, whose parent has ended."""
    sleeper = "import time; time.sleep(61.25)"
    start = f"subprocess.Popen([sys.executable, '-c', {sleeper!r}], start_new_session=True)"
    child = f"import subprocess, sys; {start}"
    runner = f"""
import sys, time
sys.path.insert(0, {str(parts.ROOT / "tests")!r})
import parts
parts._adopt_orphans()
parts.command_of = lambda name, extra: [sys.executable, "-c", {child!r}]
parts.end_descendants.__defaults__ = (0.5,)
print(parts.run_part("x"))
"""
    done = subprocess.run(
        [sys.executable, "-c", runner], capture_output=True, text=True, timeout=60, check=True
    )
    assert "left running by x:" in done.stdout
    assert "61.25" in done.stdout
    deadline = time.monotonic() + 5
    while any("61.25" in " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < deadline
        time.sleep(0.1)
