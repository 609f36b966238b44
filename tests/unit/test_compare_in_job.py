"""A comparison as one batch job: what it asks for, what it is told, and what comes back of it."""

import json
import subprocess

import pytest

import daskpar
from daskpar.clusters import slurm_commands
from daskpar.comparison import job, launch
from daskpar.comparison.request import load_request, make_request
from daskpar.errors import ClusterError, InputError, UsageError
from daskpar.profile import ClassProfile, MpiProfile, SlurmProfile

PI = {
    "name": "pi", "analysis": "monte_carlo",
    "options": {"trial": {"kind": "pi"}, "n_samples": 41_000, "batch_size": 1000, "seed": 5},
}  # fmt: skip
SITE = SlurmProfile(
    workers=8, cores=4, processes=2, memory="8 GiB", minimum_workers=4, walltime="00:20:00", partition="main",
    interface="lo", prologue=("module load x",),
)  # fmt: skip


def request(profile=SITE, versions=("dask", "mpi4py_pool"), workers=(1, 3), **more):
    given = {"weak": False, "block_sizes": (500,), "time_limit": 60.0, "settings": (), "allow_code": False}
    return make_request(PI, profile, versions, workers, 5, None, **{**given, **more})


def test_a_job_of_one_node_with_a_task_for_each_core(tmp_path):
    script = job.script(request(), tmp_path / "compare a")
    lines = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH")]
    assert lines == [
        "--job-name=compare a", "--nodes=1", "--ntasks=4", "--cpus-per-task=1", "--mem-per-cpu=2048M",
        "--time=0-00:20:00", "--partition=main", "--no-requeue",
    ]  # fmt: skip
    assert "module load x\n" in script
    assert script.splitlines()[-1].endswith(f"-m daskpar.comparison.job '{tmp_path}/compare a'")
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_job_reads_what_was_asked_for(tmp_path):
    wanted = request()
    wanted.save(tmp_path)
    found = load_request(tmp_path)
    assert {**vars(found), "recipe": found.recipe.data()} == {**vars(wanted), "recipe": wanted.recipe.data()}
    assert found.recipe.folder == wanted.recipe.folder
    inside = job.in_allocation(found.profile)
    assert (inside.driver.mode, inside.processes, inside.cores) == ("allocation", 1, 1)
    assert (inside.memory, inside.minimum_workers) == (2 * 2**30, None)


def test_dask_is_never_measured_on_other_machines_than_the_rest(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UsageError, match="where no other version runs"):
        request(ClassProfile(path="dask_jobqueue.PBSCluster"))
    here = request(SITE.model_copy(update={"driver": SITE.driver.model_copy(update={"mode": "here"})}))
    with pytest.raises(UsageError, match=r"driver\.mode: dask's workers would be jobs"):
        job.where_we_are(here)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "2(x2),1")
    with pytest.raises(UsageError, match="has 2 cores here, and 4 are needed"):
        job.where_we_are(here)
    monkeypatch.setenv("SLURM_JOB_CPUS_PER_NODE", "4")
    assert job.where_we_are(here).profile.driver.mode == "allocation"


@pytest.fixture
def batch(monkeypatch):
    """A queue whose only job does, when it is first looked for, what the test says."""
    cancelled = []

    def use(work):
        def queue():
            done = work()
            return {} if done else {"7": slurm_commands.Job("RUNNING", "None")}

        monkeypatch.setattr(slurm_commands, "queue", queue)
        monkeypatch.setattr(slurm_commands, "sbatch", lambda script, arguments: "7")
        monkeypatch.setattr(slurm_commands, "cancel_for_good", cancelled.extend)
        monkeypatch.setattr(job, "LOOK_EVERY", 0.0)
        monkeypatch.setattr(job, "LATE", 0.0)
        return cancelled

    return use


def compare(runs, **more):
    said = []
    try:
        daskpar.compare(PI, ["threads"], [1], profile=SITE, runs=runs, say=said.append, **more)
    finally:
        (folder,) = runs.iterdir()
    return folder, said


def test_the_job_is_followed(batch, runs, monkeypatch):
    def measure(wanted, folder, say):
        say(f"so far {wanted.profile.driver.mode}")
        (folder / "comparison.json").write_text('{"state": "done"}')

    monkeypatch.setattr(job, "measure", measure)
    monkeypatch.setattr(job, "write_report", lambda folder: (folder / "report.html").touch())

    def work():
        (folder,) = runs.iterdir()
        assert job.main(str(folder)) == 0
        (folder / "logs" / "job.log").write_text("so far\nand fur")
        return True

    batch(work)
    folder, said = compare(runs)
    assert said == [f"job 7 on one node, 1 cores; what comes of it: {folder}", "so far"]
    assert (folder / "report.html").exists()


def test_why_the_job_ended_reaches_the_user(batch, runs, monkeypatch):
    def measure(wanted, folder, say):
        raise InputError("there are no frames", "look again")

    monkeypatch.setattr(job, "measure", measure)
    batch(lambda: job.main(str(next(runs.iterdir()))))
    with pytest.raises(InputError, match="there are no frames"):
        compare(runs)


def test_a_job_that_dies_is_no_comparison(batch, runs):
    def work():
        (next(runs.iterdir()) / "logs" / "job.log").write_text("slurmstepd: error: oom-kill\n")
        return True

    batch(work)
    with pytest.raises(ClusterError, match=r"job 7 ended before the comparison; its last words: .*oom-kill"):
        compare(runs)


def test_ctrl_c_cancels_the_job_and_detaching_leaves_it(batch, runs):
    def work():
        raise KeyboardInterrupt

    cancelled = batch(work)
    folder, _ = compare(runs, detach=True)
    assert json.loads((folder / "job.json").read_text()) == {"job": "7"}
    assert cancelled == []
    with pytest.raises(KeyboardInterrupt):
        job.follow(folder, "7", print)
    assert cancelled == ["7"]


def test_the_launcher_of_a_profile(monkeypatch):
    monkeypatch.delenv("DASKPAR_MPIEXEC", raising=False)
    srun = MpiProfile(launcher="srun", launcher_options=("--mpi=pmi2",))
    monkeypatch.setattr(launch.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    assert launch.profile_launcher(srun) == ("/usr/bin/srun", "--input=0", "--mpi=pmi2")
    assert launch.profile_launcher(SITE) == ()
    monkeypatch.setenv("DASKPAR_MPIEXEC", "mine -x")
    assert launch.profile_launcher(srun) == ()
