"""Signals to a command that follows a driver, and a scheduler of others that is killed under a run."""

import functools
import json
import signal
import subprocess
import sys

import pytest
from conftest import environment
from distributed import Client
from killing import BLOCKS, THREADS, Case, family, gone, the_run, under_way, undisturbed, wait_for

from daskpar.clusters.keys import PARTS, security_of

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture
def case(tmp_path, count):
    return Case("map", tmp_path, count)


@pytest.fixture
def goes_on(case, cli, shared):
    """Return a function that resumes a run: same bits, and no more computed again than was under way."""

    def resume(*arguments):
        done = cli("resume", "last", "--json", *arguments, PAUSE="0")
        assert done.code == 0, done.stderr
        calm = shared.once(case.kind, functools.partial(undisturbed, case.kind))
        assert json.loads(done.stdout)["result_hash"] == calm["result_hash"]
        assert sum(case.begun().values()) - BLOCKS <= THREADS

    return resume


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_follows_a_driver_hands_signals_on(case, start, cli, runs, goes_on, number, code):
    following = start("submit", *case.begin[1:])
    under_way(case, following)
    processes = family(following)
    following.send_signal(number)
    _, stderr = following.communicate(timeout=60)
    assert following.returncode == code, stderr
    assert f"daskpar resume {the_run(runs).name}" in stderr
    gone(processes, 10)
    status = json.loads(cli("status", "--json").stdout)
    assert (status["state"], status["exit_code"]) == ("interrupted", code)
    goes_on()


@pytest.fixture
def cluster(tmp_path):
    """Return a function that starts a scheduler and two workers, and has site.yaml name them."""
    started = []

    def process(name, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", "--protocol", "tls", *arguments]
        command += ["--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        keys = [f"--tls-{part.replace('_', '-')}={path}" for part, path in files.items()]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started.append(subprocess.Popen([*command, *keys], cwd=tmp_path, env=environment(), **quiet))
        return started[-1]

    def begin():
        file = tmp_path / f"scheduler-{len(started)}.json"
        scheduler = process("scheduler", "--port", "0", "--scheduler-file", str(file))
        wait_for(file.exists)
        workers = process("worker", "--scheduler-file", str(file), "--nworkers", "2", "--nthreads", "1")
        address = json.loads(file.read_text())["address"]
        with Client(address, security=security) as client:
            client.wait_for_workers(2, timeout=60)
        profile = {"kind": "address", "address": address, "security": files}
        (tmp_path / "site.yaml").write_text(json.dumps(profile))
        return scheduler, workers

    security = security_of("temporary", tmp_path / "keys")
    files = {part: str(tmp_path / "keys" / f"{part}.pem") for part in PARTS}
    yield begin
    for one in started:
        for member in family(one):
            member.kill()
        one.wait()


def test_a_scheduler_of_others_is_killed(case, cluster, start, goes_on):
    scheduler, workers = cluster()
    process = start(*case.begin)
    under_way(case, process)
    processes = family(workers)
    scheduler.kill()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 4, stderr
    assert "daskpar resume" in stderr
    gone(processes, 60)
    cluster()
    goes_on("--profile", "site.yaml")
