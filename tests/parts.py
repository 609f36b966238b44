"""Run the checks and the parts of the test suite one after the other: ``python tests/parts.py --help``.

Each part is a process of its own. What it leaves running is ended, and counts as a failure. The last line is
the sum of pytest's closing lines.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from xml.etree import ElementTree

import psutil

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "tests" / "artefacts" / "junit"

CHECKS = {
    "ruff": ["ruff", "check", "."],
    "mypy": ["mypy"],
}
# The longest tests are begun first, see tests/conftest.py; then each process takes one at a time.
NEXT = ("--maxschedchunk", "1")
ALONE = ["tests/soak/test_cost.py", "tests/soak/test_bad_input.py"]  # what is timed: nothing runs beside it
PARTS = {
    "unit": ["tests/unit", "-n", "2", "--dist", "worksteal"],
    "fault": ["tests/faults", "-n", "3", *NEXT],  # they also wait
    "slurm": ["tests/slurm", "-n", "4", *NEXT],  # each with a Slurm of its own; some wait long
    "mpi": ["tests/mpi", "-n", "2", *NEXT],
    "browser": ["tests/browser", "-n", "2", *NEXT],
    "install": ["tests/install"],
    # Most rows wait.
    "soak": ["tests/soak", *(f"--ignore={path}" for path in ALONE), "-n", "3", "--dist", "worksteal"],
    "timed": ALONE,
}
LONG = ["soak", "timed"]

# What a complete run may skip: data and devices that no checkout brings, and what one user cannot try.
MAY_SKIP = re.compile(
    r"(frames|frames of M 13|mock catalog) (is|are) not here|no real frames|\bGPU\b"
    r"|the superuser may|root reads everything|only root can"
)

NO_TESTS = 5  # pytest's exit code


@dataclass(frozen=True)
class Outcome:
    """How one part ended.

    Attributes
    ----------
    name : str
        Of the part.
    code : int
        Exit code of its process.
    seconds : float
        How long it took.
    left : tuple of str
        Command lines of the processes that it left running.
    """

    name: str
    code: int
    seconds: float
    left: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether the part counts as failed."""
        return self.code not in (0, NO_TESTS) or bool(self.left)


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    arguments = _arguments()
    _adopt_orphans()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    # A shell has what it starts in the background ignore Ctrl-C, and the tests of Ctrl-C would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("DASKPAR_SCREENSHOTS", str(REPORTS.parent / "screenshots"))
    shutil.rmtree(REPORTS, ignore_errors=True)
    REPORTS.mkdir(parents=True)
    short = [name for name in (*CHECKS, *PARTS) if name not in LONG]
    wanted = arguments.part or (LONG if arguments.soak else short)
    outcomes = []
    try:
        for name in wanted:
            outcomes.append(run_part(name, arguments.pytest))
    except KeyboardInterrupt:
        end_descendants()
        return 130
    return report(outcomes, arguments.complete)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/run.sh", description="Run the checks and the tests.")
    parts = [*CHECKS, *PARTS]
    parser.add_argument("--part", action="append", default=[], choices=parts, help="only this; repeatable")
    parser.add_argument("--soak", action="store_true", help="the long tests, instead of the others")
    parser.add_argument(
        "--complete", action="store_true", help="fail if anything was skipped that could run here"
    )
    parser.add_argument("pytest", nargs="*", help="arguments of pytest, after --")
    return parser.parse_args()


def run_part(name: str, extra: Sequence[str] = ()) -> Outcome:
    """Run one check or one part of the tests, and end what it leaves behind."""
    print(f"\n--- {name}", flush=True)
    clock = time.monotonic()
    command = command_of(name, extra)
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdin=subprocess.DEVNULL)
    code = wait_for(process)
    left = end_descendants()
    for line in left:
        print(f"left running by {name}: {line}", flush=True)
    return Outcome(name, code, time.monotonic() - clock, tuple(left))


def wait_for(process: subprocess.Popen[bytes]) -> int:
    """Wait for a process; meanwhile bury the orphans that became ours, as init would."""
    while (code := process.poll()) is None:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess, ChildProcessError):
                if child.pid != process.pid and child.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(child.pid, os.WNOHANG)
        time.sleep(0.2)
    return code


def command_of(name: str, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line of a check or part."""
    if name in CHECKS:
        return [sys.executable, "-m", *CHECKS[name]]
    soak = ["--soak"] if name in LONG else []
    xml = f"--junitxml={REPORTS / name}.xml"
    return [sys.executable, "-m", "pytest", "-q", xml, "--durations=5", *PARTS[name], *soak, *extra]


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none is lost (Linux)."""
    if sys.platform == "linux":
        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def end_descendants(patience: float = 5.0) -> list[str]:
    """End all processes below this one that do not end by themselves, and return their command lines."""
    deadline = time.monotonic() + patience
    while (found := _descendants()) and time.monotonic() < deadline:
        time.sleep(0.1)
    lines = []
    for process in found:
        try:
            lines.append(" ".join(process.cmdline()))
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(found, timeout=5)
    return lines


def _descendants() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
            else:
                found.append(process)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue
    return found


def _stop(number: int, frame: FrameType | None) -> None:
    print(f"\nstopped by {signal.Signals(number).name}", flush=True)
    end_descendants(patience=0)
    sys.exit(128 + number)


def report(outcomes: Sequence[Outcome], complete: bool) -> int:
    """Print the parts with their seconds, what was skipped and why, and the sum; return the exit code."""
    counts, skipped = read_reports()
    print("\nparts:")
    for outcome in outcomes:
        state = "FAILED" if outcome.failed else "no tests" if outcome.code == NO_TESTS else "ok"
        print(f"  {outcome.name:<8} {outcome.seconds:7.1f} s  {state}")
    for reason, names in sorted(skipped.items()):
        print(f"skipped {len(names)}: {reason}")
    failed = any(outcome.failed for outcome in outcomes)
    for reason in sorted(set(skipped) if complete else ()):
        if not MAY_SKIP.search(reason):
            print(f"skipped, but this machine could run it ({reason}): {', '.join(skipped[reason])}")
            failed = True
    tested = any(outcome.name in PARTS for outcome in outcomes)
    if tested and not counts["passed"]:
        print("no test passed")
        failed = True
    words = [f"{counts[word]} {word}" for word in counts if counts[word]]
    line = f" {', '.join(words) or 'no tests ran'} in {sum(outcome.seconds for outcome in outcomes):.2f}s "
    print(line.center(80, "="), flush=True)
    return int(failed)


def read_reports() -> tuple[dict[str, int], dict[str, list[str]]]:
    """Return how many tests passed, failed, and so on, and the names of those skipped by reason."""
    counts = dict.fromkeys(("failed", "passed", "skipped", "xfailed", "error"), 0)
    skipped: dict[str, list[str]] = {}
    for path in sorted(REPORTS.glob("*.xml")):
        for case in ElementTree.parse(path).iter("testcase"):
            word = _word(case)
            counts[word] += 1
            if word == "skipped":
                reason = case.find("skipped").get("message", "")  # type: ignore[union-attr]
                skipped.setdefault(reason, []).append(f"{case.get('classname')}.{case.get('name')}")
    return counts, skipped


def _word(case: ElementTree.Element) -> str:
    if case.find("error") is not None:
        return "error"
    if case.find("failure") is not None:
        return "failed"
    skip = case.find("skipped")
    if skip is None:
        return "passed"
    return "xfailed" if skip.get("type") == "pytest.xfail" else "skipped"


if __name__ == "__main__":
    sys.exit(main())
