"""The private Slurm that other tests use works as one: jobs on two nodes, a queue, and an end."""

import time

import pytest

pytestmark = pytest.mark.slurm


def test_a_job_on_two_nodes(slurm):
    done = slurm.run("srun", "--nodes=2", "--ntasks=2", "bash", "-c", "echo $SLURMD_NODENAME")
    assert sorted(done.stdout.split()) == ["n1", "n2"]


def test_a_batch_job_and_its_cancellation(slurm, tmp_path):
    wrapped = ["--wrap=echo started; sleep 600", f"--output={tmp_path}/out", f"--chdir={tmp_path}"]
    job = slurm.run("sbatch", "--parsable", *wrapped).stdout.strip()
    deadline = time.monotonic() + 30
    while not (tmp_path / "out").exists() or "started" not in (tmp_path / "out").read_text():
        assert time.monotonic() < deadline, slurm.jobs()
        time.sleep(0.1)
    assert slurm.jobs() == [f"{job} RUNNING wrap"]
    slurm.run("scancel", job)
    slurm.wait_until_empty(30)
