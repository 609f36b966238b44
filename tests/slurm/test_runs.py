"""Runs on a real Slurm: submit, leave, come back; the bits of a local run; ends in good order."""

import contextlib
import json
import os
import sys
from collections import Counter

import psutil
import pytest
from listeners import dask_shows_its_pages, strangers_are_refused, tls_ports
from site_of import Site, run_of
from user_folder import ROOT, some_done

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]


def test_submit_leave_and_return(site):
    status = site.submit()
    assert status["state"] == "pending"
    status = site.wait()
    assert status["state"] == "done", status
    assert status["result_hash"] == site.local_hash()
    shares = Counter(job for _, job in site.computed())
    assert sum(shares.values()) == 32
    assert len(shares) == 2
    assert min(shares.values()) >= 8, shares
    run = site.folder / "runs" / status["name"]
    site.slurm.wait_until_empty(90)  # it is done when its outputs are written, before its cluster is closed
    assert not (run / "keys").exists()
    assert (run / "results" / "table.ecsv").exists()


@pytest.mark.fault
@pytest.mark.parametrize("interface", ["lo", "other"])
def test_listeners(slurm, tmp_path, interface):
    """A port of TLS for each process, on the named interface; pages on loopback; nothing else."""
    site = Site(slurm, tmp_path, blocks=100, seconds=0.5)
    name = interface if interface == "lo" else second_interface()
    allowed = "127.0.0.1" if name == "lo" else address_of(name)
    site.profile(interface=name)
    site.submit()
    site.wait(lambda status: some_done(status) and status["workers"] == 2)
    ports = tls_ports(processes_of(tmp_path), run_of(site) / "keys", allowed)
    assert len(ports) == 1 + 2 * 2  # the driver with the scheduler; two workers, each with its nanny
    scheduler = json.loads((run_of(site) / "scheduler.json").read_text())["address"]
    assert scheduler in {f"tls://{host}:{port}" for host, port in ports.values()}
    for place in ports.values():
        strangers_are_refused(place, tmp_path)
    dask_shows_its_pages(site.json("status", "last")["dashboard"])
    site.daskpar("cancel", "last")


def processes_of(folder):
    """Return the processes of runs in a folder; other tests have theirs beside them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            around = [process, *process.parents()]
            if any(str(folder) in " ".join([one.cwd(), *one.cmdline()]) for one in around):
                found.append(process)
    return found


def second_interface():
    for name, stats in psutil.net_if_stats().items():
        if name != "lo" and stats.isup and address_of(name):
            return name
    pytest.skip("there is one interface only")


def address_of(name):
    found = psutil.net_if_addrs().get(name, [])
    return next((one.address for one in found if one.family.name == "AF_INET"), None)


@pytest.mark.fault
def test_cancel_leaves_no_job(slurm, tmp_path):
    site = Site(slurm, tmp_path, blocks=32, seconds=0.5)
    site.submit()
    site.wait(some_done)
    status = site.json("cancel", "last")
    assert status["state"] == "cancelled"
    assert slurm.jobs() == []
    assert not (run_of(site) / "keys").exists()
    before = len(site.computed())
    # The same run goes on where the user likes: here on this machine.
    done = site.json("resume", "last", "-p", "local", timeout=300)
    assert done["state"] == "done"
    assert done["result_hash"] == site.local_hash()
    assert len(site.computed()) - before <= 32 - status["blocks_done"]


def test_cancel_before_the_driver_starts(slurm, tmp_path):
    site = Site(slurm, tmp_path)
    site.profile(extra_directives=["--begin=now+1hour"])
    status = site.submit()
    assert site.status()["queue"]["reason"] == "BeginTime"
    assert site.json("cancel", status["name"])["state"] == "cancelled"
    assert slurm.jobs() == []


def test_a_run_begun_here_finishes_on_slurm(site):
    site.json("submit", "recipe.yaml", "--allow-code", "--detach")
    site.wait(some_done)
    stored = site.json("cancel", "last")["blocks_done"]
    assert 4 <= stored < 32
    assert site.json("resume", "last", "-p", "site.yaml")["state"] == "pending"
    status = site.wait(lambda status: status["state"] == "done")
    assert 32 <= len(site.computed()) <= 32 + 2  # what ran when it was cancelled may be run again
    assert status["result_hash"] == site.local_hash()


@pytest.mark.fault
def test_a_worker_job_that_is_cancelled_is_replaced(slurm, tmp_path):
    site = Site(slurm, tmp_path, blocks=40, seconds=1)
    site.submit()
    site.wait(some_done)
    jobs = json.loads((run_of(site) / "jobs.json").read_text())
    slurm.run("scancel", next(iter(jobs.values())))
    status = site.wait()
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
    computed = site.computed()
    assert len({job for _, job in computed}) == 3
    assert len(computed) <= 40 + 1  # what the lost job had in hand


@pytest.mark.fault
def test_a_killed_worker_process(slurm, tmp_path):
    """Several workers a job, as for whole nodes: the nanny replaces one, the job stays."""
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5)
    site.profile(processes=2, memory="300 MB")
    site.submit()
    site.wait(some_done)
    worker = next(
        process
        for process in processes_of(tmp_path)
        if "multiprocessing.spawn" in " ".join(process.cmdline()) and process.environ().get("SLURM_JOB_ID")
    )
    worker.kill()
    status = site.wait()
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
    assert len({job for _, job in site.computed()}) == 1
    assert len(site.computed()) <= 41


@pytest.mark.fault
def test_the_driver_killed_and_resumed(slurm, tmp_path):
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5)
    site.submit()
    site.wait(some_done)
    job = json.loads((run_of(site) / "submission.json").read_text())["job"]
    slurm.run("scancel", "--signal=KILL", "--full", job)
    status = site.wait()
    assert status["state"] == "interrupted"
    before = len(site.computed())
    site.daskpar("resume", "last")
    status = site.wait(lambda status: status["state"] == "done")
    assert len(site.computed()) - before <= 40 - before + 2
    assert status["result_hash"] == site.local_hash()


def test_as_many_workers_as_there_is_work_for(slurm, tmp_path):
    """Up to the maximum while blocks wait; those without work are let go before the end."""
    site = Site(slurm, tmp_path, blocks=40, seconds=0.5, held=39)
    site.profile(workers=1, minimum_workers=1, maximum_workers=3)
    site.submit()
    site.wait(lambda status: (status.get("queue") or {}).get("running") == 3)
    site.wait(lambda status: (status.get("queue") or {}).get("running") == 1)
    site.let_go()
    status = site.wait()
    assert status["state"] == "done"
    assert len({job for _, job in site.computed()}) >= 2
    assert len(site.computed()) == 40


def test_all_in_one_allocation(site):
    site.profile(driver={"mode": "allocation"}, memory="500 MB")
    site.submit()
    status = site.wait()
    assert status["state"] == "done"
    assert len({job for _, job in site.computed()}) == 1
    assert status["result_hash"] == site.local_hash()


@pytest.mark.parametrize("launcher", [["mpiexec"], ["srun", "--mpi=pmi2"]])
def test_mpi_ranks_in_one_job(site, launcher):
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    site.environment["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), site.environment["PATH"]])
    mpi = {"kind": "mpi", "batch": "slurm", "launcher": launcher[0], "launcher_options": launcher[1:]}
    site.profile(**mpi, driver=None)
    assert site.submit()["state"] == "pending"
    status = site.wait()
    assert status["state"] == "done"
    assert len({job for _, job in site.computed()}) == 1
    assert status["result_hash"] == site.local_hash()


def test_a_class_of_dask_jobqueue(site):
    """What a site without a profile kind of its own would use."""
    options = {"cores": 1, "memory": "600MB", "processes": 1, "walltime": "00:10:00", "queue": "main"}
    keep = {"kind": "class", "path": "dask_jobqueue.SLURMCluster", "workers": 2, "interface": "lo"}
    (site.folder / "site.yaml").write_text(json.dumps({**keep, "options": options}))
    status = site.submit()
    assert status["state"] == "done"
    assert len({job for _, job in site.computed()}) == 2
    assert status["result_hash"] == site.local_hash()


def test_doctor_tries_a_job(site):
    found = site.json("doctor", "-p", "site.yaml")
    assert [one["what"] for one in found if one["state"] == "fault"] == []
    assert any("workers on" in one["what"] and "computed after" in one["what"] for one in found)
    assert any("ssh -N -L" in one["what"] for one in found)
    site.daskpar("doctor", "--write", "mine.yaml")
    assert "partition: main" in (site.folder / "mine.yaml").read_text()
    site.daskpar("validate", str(ROOT / "recipes" / "map.yaml"), "-p", "./mine.yaml")


def test_a_driver_in_the_foreground(site):
    site.profile(driver={"mode": "here"})
    status = site.submit()
    assert status["state"] == "done"
    assert status["result_hash"] == site.local_hash()
