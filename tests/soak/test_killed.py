"""Runs whose workers or driver are killed at random times: the same bits, and nothing stored twice."""

import contextlib
import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest
from killing import ENOUGH, family, gone, stored_keys, wait_for
from watched import KINDS, Watched, computing, redone

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3 * 3600)]

BETWEEN = 1.5  # seconds between two kills, at most


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a function that gives the recipe of a try; each is made once."""
    folder, made = tmp_path_factory.mktemp("killed"), {}

    def of(number):
        kind = KINDS[number % len(KINDS)]
        if kind not in made:
            made[kind] = Watched(kind, folder / kind)
        made[kind].count.clear()
        return made[kind]

    return of


def kill_workers(one, process, random, wanted):
    """SIGKILL workers that compute a block while others are stored; return how many counted."""
    counted = 0
    while counted < wanted:
        time.sleep(random.uniform(0, BETWEEN))
        busy = wait_for(lambda: process.poll() is not None or ready(one))
        if busy is True:
            return counted
        victim = int(random.choice(sorted(set(busy.values()))))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
            counted += victim in computing(one.noted()).values()  # it had not stored its block meanwhile
    return counted


def ready(one):
    noted = one.noted()
    return sum(what == "stored" for what, _, _ in noted) >= ENOUGH and {
        block: pid for block, pid in computing(noted).items() if psutil.pid_exists(pid)
    }


def test_workers_killed(tally, watched, random):
    def attempt(number):
        one, rng = watched(number), random(number)
        runs, wanted = f"runs{number}", int(rng.integers(1, 4))
        process = one.start(runs)
        try:
            kills = kill_workers(one, process, rng, wanted)
            status = one.finished(process)
        finally:
            end(process)
        again = redone(one.noted())
        assert kills >= 1, "nothing was killed in time"
        assert status["result_hash"] == one.expected["result_hash"]
        assert one.contents(runs) == one.outputs
        assert again == [], f"stored blocks were computed again: {again}"
        shutil.rmtree(one.folder / runs)
        return {"kills": kills, "redone": len(again), "blocks": status["blocks_total"]}

    tally("workers_killed").each(attempt)


def test_driver_killed(tally, watched, random):
    def attempt(number):
        one, rng = watched(number), random(1000 + number)
        runs = f"runs{number}"
        process = one.start(runs)
        wait_for(lambda: process.poll() is not None or list(one.folder.glob(f"{runs}/*/run.json")))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0, one.seconds))
        end(process)
        found, before = stored_keys(one.folder / runs), len(one.noted())
        status = one.finished(one.start(runs, "resume", "last", "--json"))
        noted = one.noted()
        again = {block for what, block, _ in noted[before:] if what == "begin"} & found
        assert status["result_hash"] == one.expected["result_hash"]
        assert one.contents(runs) == one.outputs
        assert not again, f"stored blocks were computed again: {again}"
        assert not redone(noted)
        status = one.finished(one.start(runs, "resume", "last", "--json"))
        repeated = len(one.noted()) - len(noted)
        assert status["result_hash"] == one.expected["result_hash"]
        assert repeated == 0
        shutil.rmtree(one.folder / runs)
        return {"stored": len(found), "redone": len(again), "repeated": repeated}

    tally("driver_killed").each(attempt)


def end(process):
    """Kill a driver, if it runs still, and wait until it and its workers are gone."""
    processes = family(process)
    process.kill()
    process.wait()
    gone(processes)
