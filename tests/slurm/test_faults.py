"""What goes wrong on a cluster: limits, full queues, refusals, lost nodes. Runs end or go on, and say why."""

import json
import os
import signal

import psutil
import pytest
from site_of import Site, run_of
from user_folder import UserFolder, some_done

from daskpar.rundir import RunDirectory

pytestmark = [pytest.mark.slurm, pytest.mark.fault, pytest.mark.timeout(400)]


def run_directory(site):
    return RunDirectory(run_of(site))


def driver_of(site):
    return json.loads((run_of(site) / "submission.json").read_text())["job"]


def worker_jobs(site):
    """The jobs that were submitted, by worker name."""
    return json.loads((run_of(site) / "jobs.json").read_text())


def test_the_driver_reaches_its_walltime(slurm, tmp_path):
    """It hands over before the limit, by itself; the chain ends with the bits of an uninterrupted run."""
    site = Site(slurm, tmp_path, blocks=120, seconds=1)
    site.profile(driver={"walltime": "00:01:00", "memory": "500 MB"})
    site.submit()
    first = driver_of(site)
    status = site.wait(timeout=240)
    assert status["state"] == "done"
    assert driver_of(site) != first
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) == 120  # running blocks were let end


@pytest.fixture
def blockers(slurm):
    """Jobs that leave room for a driver only, not for workers of two cores."""
    jobs = [
        slurm.run("sbatch", "--parsable", f"--nodelist={node}", f"--cpus-per-task={cpus}", "--mem=100",
                  "--time=50", "--output=/dev/null", "--wrap=sleep 600").stdout.strip()
        for node, cpus in (("n1", 1), ("n2", 2))
    ]  # fmt: skip
    yield jobs
    slurm.run("scancel", *jobs)


def workers_wait(status):
    return (status.get("queue") or {}).get("pending") == 2


def nears_its_limit(site):
    """Tell a driver that its time is over; return its job."""
    job = driver_of(site)
    site.slurm.run("scancel", "--batch", "--signal=USR1", job)
    return job


def wait_for_the_next(site, job):
    """Wait until another job than this one drives the run."""
    lease = run_directory(site).lease
    site.wait(lambda status: (lease.holder() or {}).get("job") not in (None, job))


def test_a_chain_whose_workers_never_start_ends(slurm, blockers, tmp_path):
    """Worker jobs that wait are kept from link to link; three links without a block are enough."""
    site = Site(slurm, tmp_path)
    site.profile(cores=2, driver={"walltime": "00:10:00", "memory": "500 MB"})
    site.submit()
    jobs = []
    for link in range(3):
        site.wait(workers_wait)
        jobs.append(worker_jobs(site))
        job = nears_its_limit(site)
        if link < 2:
            wait_for_the_next(site, job)
    status = site.wait()
    assert status["state"] == "failed"
    assert status["exit_code"] == 4
    assert "Resources" in status["error"] or "Priority" in status["error"], status
    assert jobs[0] == jobs[1] == jobs[2]


def test_a_driver_whose_time_ends_before_its_workers_start(slurm, blockers, tmp_path):
    """The next one takes over the jobs that wait, and ends with the bits of an uninterrupted run."""
    site = Site(slurm, tmp_path)
    site.profile(cores=2, driver={"walltime": "00:10:00", "memory": "500 MB"})
    site.submit()
    site.wait(workers_wait)
    jobs, first = worker_jobs(site), nears_its_limit(site)
    wait_for_the_next(site, first)
    site.wait(workers_wait)
    slurm.run("scancel", *blockers)
    status = site.wait()
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) == 32
    assert {job for _, job in site.computed()} <= {*jobs.values()}


def test_partitions_that_refuse(site):
    for partition in ("nowhere", "closed"):
        site.profile(partition=partition)
        said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
        assert "sbatch" in said
        assert "artition" in said
        assert "Traceback" not in said
    assert site.slurm.jobs() == []


@pytest.mark.parametrize("change", [{"partition": "nowhere"}, {"cores": 64}])
def test_worker_jobs_that_are_refused(site, change):
    site.profile(**change, driver={"partition": "main", "memory": "500 MB"})
    site.submit()
    status = site.wait()
    assert status["state"] == "failed"
    assert status["exit_code"] == 4
    assert "sbatch refused the job" in status["error"] or "Slurm says PartitionConfig" in status["error"]
    site.slurm.wait_until_empty(30)


def test_worker_jobs_that_end_at_once(site):
    site.profile(
        extra_directives=["--comment=none"],
        prologue=["source /nowhere/setup.sh", "export PATH=/nowhere"],
        python="/nowhere/python",
        driver={"mode": "here"},
    )
    said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "worker jobs in a row ended before their workers connected" in said
    assert "/nowhere" in said


def test_no_slurm_here(site):
    site.environment["PATH"] = os.path.dirname(os.sys.executable)
    said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "there is no command sbatch" in said


@pytest.mark.parametrize("state", ["down", "drain"])
def test_a_node_goes_down(slurm, tmp_path, state):
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5)
    site.profile(driver={"mode": "here"})
    site.json("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--detach")
    site.wait(some_done)
    node = slurm.run("squeue", "--noheader", "--format=%N").stdout.split()[-1]
    slurm.run("scontrol", "update", f"nodename={node}", f"state={state}", "reason=test")
    try:
        status = site.wait()
    finally:
        slurm.wake(node)
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) <= 40 + 2


def test_a_node_hangs(slurm, tmp_path):
    """A worker is gone though its job runs: the job is cancelled and replaced."""
    site = Site(slurm, tmp_path, blocks=60, seconds=0.5)
    (tmp_path / "early").mkdir()
    (tmp_path / "early" / "sitecustomize.py").write_text(
        "from daskpar.clusters import upkeep\nupkeep.SILENT = 4.0\n"
    )
    site.environment["PYTHONPATH"] = f"{tmp_path / 'early'}:{site.environment['PYTHONPATH']}"
    site.profile(driver={"mode": "here"})
    site.json("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--detach")
    site.wait(some_done)
    before = {*worker_jobs(site).values()}
    _, pid, _ = UserFolder.computed(site)[-1]
    worker = psutil.Process(int(pid))
    worker.parent().suspend()  # its nanny, which would start another
    worker.kill()
    site.wait(lambda status: {*worker_jobs(site).values()} - before)
    status = site.wait()
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) <= 60 + 1
    slurm.wait_until_empty(30)


def test_the_driver_is_requeued(slurm, tmp_path):
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5)
    site.submit()
    site.wait(some_done)
    slurm.run("scontrol", "requeue", driver_of(site))
    status = site.wait(lambda status: status["state"] == "done", timeout=180)
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) <= 40 + 4


def test_the_driver_is_preempted(slurm, tmp_path):
    """With a worker on its node, by a job of a partition that goes first; the queue starts it again."""
    site = Site(slurm, tmp_path, blocks=60, seconds=0.5)
    site.submit()
    site.wait(some_done)
    driver = driver_of(site)
    node = slurm.run("squeue", "--noheader", "--format=%N", f"--jobs={driver}").stdout.strip()
    # Slurm preempts no more than it needs: the urgent job needs the whole node, for a moment.
    urgent = slurm.run(
        "sbatch", "--parsable", "--partition=urgent", f"--nodelist={node}", "--exclusive", "--time=1",
        "--output=/dev/null", "--wait", "--wrap=true",
    )  # fmt: skip
    assert urgent.returncode == 0, urgent.stderr
    status = site.wait(lambda status: status["state"] == "done", timeout=180)
    restarts = slurm.run("scontrol", "show", "job", driver).stdout
    assert "Restarts=1" in restarts
    assert status["result_hash"] == site.local_hash()
    assert len(site.computed()) <= 60 + 4


def test_a_block_that_kills_its_worker(slurm, tmp_path):
    """It is tried four times, named, and the rest is saved."""
    site = Site(slurm, tmp_path, poison=5)
    site.profile(driver={"mode": "here"})
    said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert '{"x": 5}' in said
    assert "ended its worker 4 times" in said
    assert site.status()["blocks_done"] == 31


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_cancel_the_jobs(slurm, tmp_path, number, code):
    site = Site(slurm, tmp_path, blocks=60, seconds=0.5)
    site.profile(driver={"mode": "here"})
    following = site.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    site.wait(some_done)
    following.send_signal(number)
    assert following.wait(60) == code
    slurm.wait_until_empty(30)
    status = site.status()
    assert (status["state"], status["exit_code"]) == ("interrupted", code)
    assert not (run_of(site) / "keys").exists()
    goes_on(site, status, 60)


def goes_on(site, before, blocks):
    """Resume a run: the bits of an uninterrupted one, and at most two blocks computed again."""
    done = site.json("resume", "last", timeout=180)
    assert done["result_hash"] == site.local_hash()
    assert before["blocks_done"] >= 4
    assert len(site.computed()) <= blocks + 2


def test_the_scheduler_is_killed(slurm, tmp_path):
    """It is in the driver: who follows leaves with 4, the workers go by themselves, and the run goes on."""
    site = Site(slurm, tmp_path, blocks=60, seconds=0.5)
    site.profile(driver={"mode": "here"})
    following = site.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    status = site.wait(some_done)
    os.kill(run_directory(site).lease.holder()["pid"], signal.SIGKILL)
    assert following.wait(30) == 4
    slurm.wait_until_empty(60)
    goes_on(site, status, 60)


def test_a_second_driver_is_refused(slurm, tmp_path):
    site = Site(slurm, tmp_path, held=20)
    site.submit()
    assert "already" in site.daskpar("resume", "last", code=2)
    site.wait(some_done)
    said = site.daskpar("resume", "last", code=2)
    assert "already" in said
    holder = run_directory(site).lease.holder()
    assert f"pid {holder['pid']} on {holder['host']}" in said
    assert "another driver runs it" in site.daskpar("resume", "last", "-p", "local", code=2)
    site.let_go()
    assert site.wait()["state"] == "done"
    slurm.wait_until_empty(30)


def test_a_second_driver_is_refused_while_the_first_waits(slurm, tmp_path):
    site = Site(slurm, tmp_path)
    site.profile(extra_directives=["--begin=now+1hour"])
    site.submit()
    assert f"is pending already: job {driver_of(site)}, PENDING" in site.daskpar("resume", "last", code=2)
    site.daskpar("cancel", "last")
    assert slurm.jobs() == []


def test_worker_jobs_reach_their_walltime(slurm, tmp_path):
    site = Site(slurm, tmp_path, blocks=110, seconds=1)  # Slurm looks at limits twice a minute
    site.profile(workers=1, walltime="00:01:00")
    site.submit()
    status = site.wait(timeout=300)
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
    assert len({job for _, job in site.computed()}) >= 2
    assert len(site.computed()) <= 110 + 2  # what ran when a job ended


@pytest.mark.parametrize("mode", ["job", "here"])
def test_the_controller_is_stopped(slurm, tmp_path, mode):
    site = Site(slurm, tmp_path)
    site.profile(driver={"mode": mode, "memory": "500 MB"})
    with slurm.without_controller():
        said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4, timeout=120)
        assert "sbatch refused the job" in said
        assert "Unable to contact slurm controller" in said
        assert "Traceback" not in said
    assert slurm.jobs() == []
    assert not (run_of(site) / "keys").exists()


def test_the_controller_stops_before_the_end(slurm, tmp_path):
    """The run is done, though nobody can be asked about its jobs; these end with their workers."""
    site = Site(slurm, tmp_path, blocks=40, seconds=0.3)
    site.profile(driver={"mode": "here"})
    following = site.start("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code")
    site.wait(some_done)
    with slurm.without_controller():
        following.wait(100)
        assert site.status()["state"] == "done"
        assert "Unable to contact slurm controller" in site.driver_log()
    slurm.wait_until_empty(90)
    assert site.status()["result_hash"] == site.local_hash()
    assert not (run_of(site) / "keys").exists()


def test_no_configuration_of_slurm(site):
    site.environment["SLURM_CONF"] = "/nowhere/slurm.conf"
    said = site.daskpar("submit", "recipe.yaml", "-p", "site.yaml", "--allow-code", code=4)
    assert "Traceback" not in said
    assert "/nowhere/slurm.conf" in said


def test_the_driver_is_cancelled_by_hand(slurm, tmp_path):
    """With scancel, not with our own verb: no job stays, and the run goes on."""
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5)
    site.submit()
    site.wait(some_done)
    slurm.run("scancel", driver_of(site))
    status = site.wait()
    assert status["state"] in ("interrupted", "cancelled")
    slurm.wait_until_empty(90)
    before = len(site.computed())
    site.daskpar("resume", "last", "--follow")
    assert len(site.computed()) - before <= 40 - status["blocks_done"] + 2
    assert site.status()["result_hash"] == site.local_hash()
