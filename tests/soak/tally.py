"""What the long tests have tried so far, a line of JSON a try, and the table made of it.

    python tests/soak/tally.py [FOLDER]

prints the table as Markdown. Lines are only ever appended, so a soak that was interrupted goes on from there.
"""

import hashlib
import json
import os
import platform
import re
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "tests" / "artefacts" / "soak"
SEED = 20260


class Tally:
    """The tries of one row.

    Parameters
    ----------
    folder : Path
        Where the files are.
    name : str
        Of the row.
    wanted : int
        How many tries make it complete.
    """

    def __init__(self, folder, name, wanted):
        self.path, self.wanted = folder / f"{name}.jsonl", wanted

    def lines(self):
        """Return the tries; a line that was cut by a kill is none."""
        found = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            try:
                one = json.loads(line)
            except ValueError:
                continue
            found[one["number"]] = one
        return [found[number] for number in sorted(found)]

    def missing(self):
        """Return the numbers of the tries still to make."""
        tried = {line["number"] for line in self.lines()}
        return [number for number in range(self.wanted) if number not in tried]

    def add(self, number, seconds, fault="", **figures):
        """Note one try."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        line = {"number": number, "when": when, "seconds": round(seconds, 2), "code": code()}
        text = json.dumps({**line, "fault": fault, **figures})
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with open(self.path, "a") as file:
            file.write(("\n" if torn else "") + text + "\n")

    def each(self, attempt):
        """Make the tries that are missing: ``attempt(number)`` returns figures, or raises what is wrong."""
        for number in self.missing():
            clock, fault, figures = time.monotonic(), "", {}
            try:
                figures = attempt(number) or {}
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"[:2000]
                traceback.print_exc()
            self.add(number, time.monotonic() - clock, fault, **figures)
        self.check()

    def check(self):
        """Fail if a try did; those of an earlier time count, too."""
        faults = [f"{line['number']}: {line['fault']}" for line in self.lines() if line["fault"]]
        assert not faults, f"{len(faults)} of {len(self.lines())} tries: " + "\n".join(faults[:5])


def code():
    """Return a digest of the package, so that a tally tells which code it is of."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "daskpar").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def total(lines, name):
    return sum(line.get(name, 0) for line in lines)


def most(lines, name):
    return max((line.get(name, 0) for line in lines), default=0)


def slowest(lines):
    return f"slowest {most(lines, 'wall'):.1f} s, {most(lines, 'cpu'):.1f} s of it CPU time"


def good(lines):
    return sum(not line["fault"] for line in lines)


def passed_and_failed(tests):
    return f"{total(tests, 'passed')} passed, {total(tests, 'failed')} failed"


# name: (how many tries, what is tried, what to say of the tries)
ROWS = {
    "workers_killed": (
        100,
        "runs of at least 64 blocks of 0.2 s, 1 to 3 workers killed at random times",
        lambda tries: (
            f"{total(tries, 'kills')} workers killed, {good(tries)} runs finished with the same bits; "
            f"stored blocks computed again: {total(tries, 'redone')}"
        ),
    ),
    "driver_killed": (
        50,
        "drivers killed at random times, then resumed",
        lambda tries: (
            f"{good(tries)} identical outputs; {total(tries, 'stored')} records found, "
            f"computed again {total(tries, 'redone')}; "
            f"blocks that a finished run repeated: {total(tries, 'repeated')}"
        ),
    ),
    "writing_killed": (
        190,
        "processes killed while they write an output, each format in turn",
        lambda tries: (
            f"{total(tries, 'midway')} half-way; half-written files {total(tries, 'half')}, "
            f"earlier outputs lost {total(tries, 'lost')}"
        ),
    ),
    "drivers_killed_writing": (
        10,
        "whole runs killed while they write their outputs, then resumed",
        lambda tries: f"{good(tries)} complete outputs, nothing half-written",
    ),
    "full_disks": (
        20,
        "disks that are full while an output is written",
        lambda tries: (
            f"{total(tries, 'refused')} ended with exit code 5, path and bytes; half-written files "
            f"{total(tries, 'half')}, earlier outputs lost {total(tries, 'lost')}"
        ),
    ),
    "bad_files": (
        106,
        "bad input files, images and catalogs, `daskpar run`",
        lambda tries: f"{good(tries)} refused with code 3 and the file's name; {slowest(tries)}",
    ),
    "bad_recipes": (
        90,
        "bad recipes, `daskpar run`",
        lambda tries: f"{good(tries)} refused with code 2 and line:column; {slowest(tries)}",
    ),
    "start_stop": (
        50,
        "local clusters started and stopped",
        lambda tries: f"{good(tries)} left no process, handle, socket or temporary file",
    ),
    "start_stop_slurm": (
        10,
        "Slurm runs started and stopped",
        lambda tries: f"{good(tries)} left no process, job or key",
    ),
    "strangers": (
        20,
        "strangers at the scheduler's port: another certificate, or plain TCP",
        lambda tries: f"{good(tries)} refused, the slowest in {most(tries, 'refused_after'):.2f} s",
    ),
    "listeners": (
        1,
        "tests of what listens, on local, Slurm and MPI",
        passed_and_failed,
    ),
    "many_files": (
        1,
        "2000 files where a process may open 256",
        lambda tries: f"{good(tries)} runs finished; most open at once {most(tries, 'open')}",
    ),
    "large_data": (
        1,
        "data of five times the memory of all workers",
        lambda tries: (
            f"{good(tries)} runs finished; most memory {100 * most(tries, 'share'):.0f} % of a worker's"
        ),
    ),
    "costs": (
        3,
        "reference cases, five pairs in turn: ledger, checksums and TLS, beside dask alone",
        lambda tries: (
            "median ratio of wall times "
            + ", ".join(f"{line['ratio']:.2f} ({line['case']})" for line in tries if not line["fault"])
        ),
    ),
    "sleepers": (
        1,
        "run whose blocks sleep, on 64 workers, predicted from one and two workers",
        lambda tries: (
            "; ".join(
                f"{line['took']:.2f} s, predicted {line['predicted']:.2f} ± {line['error']:.2f} s"
                for line in tries
                if not line["fault"]
            )
        ),
    ),
    "fuzz": (
        60,
        "images, catalogs and recipes with random bytes changed, in 10 s",
        lambda tries: (
            f"{total(tries, 'cases')} inputs, {total(tries, 'refused')} refused, {total(tries, 'same')} read "
            f"with an independent reader's numbers; crashes, hangs, wrong numbers {len(tries) - good(tries)}"
        ),
    ),
    "fault_repeats": (
        20,
        "repetitions of the tests of faults, local",
        passed_and_failed,
    ),
    "fault_repeats_slurm": (
        3,
        "repetitions of the tests of faults on Slurm",
        passed_and_failed,
    ),
    "fault_repeats_mpi": (
        3,
        "repetitions of the tests of faults under MPI",
        passed_and_failed,
    ),
    "lowest_versions": (
        1,
        "the unit tests with the lowest versions that are allowed",
        passed_and_failed,
    ),
}


def wanted(name, scale=1.0):
    """Return how many tries make a row complete."""
    return max(1, round(scale * ROWS[name][0]))


def table(folder=FOLDER):
    """Return the table of all rows with a try, as Markdown."""
    tallies = {name: Tally(Path(folder), name, wanted(name)).lines() for name in ROWS}
    days = sorted(line["when"][:10] for lines in tallies.values() for line in lines)
    if not days:
        return f"nothing is tried yet in {folder}"
    codes = {line["code"] for lines in tallies.values() for line in lines}
    period = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    rows = []
    for name, lines in tallies.items():
        count, what, say = ROWS[name]
        tried = f"{len(lines)}" if len(lines) >= count else f"{len(lines)} of {count}"
        if lines:
            failed = len(lines) - good(lines)
            rows.append(f"| {what} | {tried} | {say(lines)}{f'; **failed: {failed}**' if failed else ''} |")
    hours = sum(line["seconds"] for lines in tallies.values() for line in lines) / 3600
    ended = f"{hours:.1f} hours of tries, code {', '.join(sorted(codes))}"
    return "\n".join(
        [f"{period}, on {machine()}:", "", "| what | tried | result |", "|---|---|---|", *rows, "", ended]
    )


def machine():
    """Return what the tries ran on."""
    cpu = re.search(r"model name\s*: (.*)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    return (
        f"{os.cpu_count()} cores of {cpu[1] if cpu else platform.machine()}, "
        f"{int(memory[1]) / 1e6 if memory else 0:.0f} GB, Python {platform.python_version()}"
    )


def _text(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


if __name__ == "__main__":
    print(table(*sys.argv[1:2]))
