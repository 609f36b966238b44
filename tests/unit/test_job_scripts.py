"""Batch scripts come from pure functions; nothing of a profile becomes code; plan shows what is sent."""

import json
import os
import stat
import subprocess

import pytest
from hostile_profiles import BASE, HOSTILE, PLAIN, TEXT_KEYS, placed

from daskpar.clusters import interfaces, slurm_commands
from daskpar.clusters.job_script import clock, megabytes
from daskpar.clusters.keys import remove_keys, security_of
from daskpar.clusters.worker_jobs import driver_script, mpi_command, mpi_script, worker_script
from daskpar.errors import ClusterError, ProfileError
from daskpar.launching import job_script, scripts
from daskpar.profile import KINDS, MpiProfile, SlurmProfile
from daskpar.settings.profile_lookup import load_profile
from daskpar.submission import submit

KEYS = {part: f"/run/keys/{part}.pem" for part in ("ca_file", "cert", "key")}
PROFILE = {"kind": "slurm", "workers": 4, "cores": 2, "memory": "3 GiB", "interface": "lo"}
RECIPE = {
    "name": "mapped", "analysis": "map", "inputs": {"grid": {"x": [1, 2]}},
    "options": {"function": "daskpar.analyses.map.examples:comoving_distance"},
}  # fmt: skip


def directives(script):
    return [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]


def test_a_worker_job(tmp_path):
    profile = SlurmProfile(
        workers=4, processes=2, cores=2, memory="3 GiB", partition="main", account="p7",
        constraint=("a", "b"),
        exclude="n[1-2]", licenses="idl:2", extra_directives=("--gres=gpu:1",), prologue=("module load x",),
        mail="ann@example.org",
    )  # fmt: skip
    script = worker_script(profile, "m13-0", tmp_path / "a b", KEYS, "ib0")
    assert directives(script) == [
        "--job-name=m13-0", "--nodes=1", "--ntasks=1", "--cpus-per-task=4", "--mem=6144M",
        "--time=0-01:00:00", "--partition=main", "--account=p7", "--constraint=a&b", "--exclude=n[1-2]",
        "--licenses=idl:2", "--gres=gpu:1", "--no-requeue",
    ]  # fmt: skip
    assert "module load x\n" in script
    assert "export OMP_NUM_THREADS=1\n" in script
    assert "export SRUN_CPUS_PER_TASK=4\n" in script
    command = script.splitlines()[-1]
    assert f"--scheduler-file '{tmp_path}/a b/scheduler.json'" in command
    assert "--nworkers 2" in command
    assert "--dashboard-address 127.0.0.1:0 --no-dashboard " in command
    assert "--interface ib0 --protocol tls" in command
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_a_driver_job():
    profile = SlurmProfile(
        workers=4, cores=2, memory_per_cpu="2 GiB", mail="ann@example.org", driver={"partition": "long"}
    )
    script = driver_script(profile, "m13", ["-m", "daskpar", "run", "/runs/m13"], "7-00:00:00")
    assert directives(script) == [
        "--job-name=m13", "--nodes=1", "--ntasks=1", "--cpus-per-task=1", "--mem-per-cpu=2048M",
        "--time=7-00:00:00", "--partition=long", "--mail-user=ann@example.org", "--mail-type=END,FAIL",
        "--requeue",
    ]  # fmt: skip


def test_an_allocation_has_a_task_a_worker():
    profile = SlurmProfile(
        workers=4, cores=2, memory="3 GiB", driver={"mode": "allocation", "walltime": "02:00:00"}
    )
    found = directives(driver_script(profile, "m13", ["-m", "daskpar", "run", "/runs/m13"], None))
    assert {"--ntasks=4", "--cpus-per-task=2", "--mem-per-cpu=1536M", "--time=0-02:00:00"} <= set(found)


def test_an_mpi_job_has_two_more_ranks():
    profile = MpiProfile(
        batch="slurm", launcher="srun", launcher_options=("--mpi=pmi2",), workers=30, memory="2 GiB"
    )
    command = mpi_command(profile, ["-m", "daskpar.ranks", "/runs/m13"])
    assert command[:4] == ["srun", "--ntasks", "32", "--mpi=pmi2"]
    assert "--ntasks=32" in directives(mpi_script(profile, "m13", command))


@pytest.mark.parametrize(("kind", "path"), TEXT_KEYS, ids=str)
def test_no_value_becomes_code(tmp_path, monkeypatch, recording_sbatch, kind, path):
    monkeypatch.chdir(tmp_path)
    for text in HOSTILE:
        if path[0] == "options" and text in PLAIN:
            continue
        (tmp_path / "site.yaml").write_text(json.dumps(placed(BASE[kind], path, text)))
        with pytest.raises(ProfileError) as caught:
            submit(RECIPE, tmp_path / "site.yaml", runs=tmp_path / "runs")
        assert str(path[0]) in str(caught.value), text
    assert not recording_sbatch.exists()
    assert sorted(os.listdir(tmp_path)) == ["bin", "site.yaml"]


@pytest.mark.parametrize("kind", ["slurm", "mpi"])
def test_the_name_of_a_folder_is_only_a_name(tmp_path, monkeypatch, recording_sbatch, kind):
    """What no grammar restrains, where runs are, reaches the command of a job as it is."""
    monkeypatch.chdir(tmp_path)
    noted = tmp_path / "noted"
    python = tmp_path / "bin" / ("python" if kind == "slurm" else "mpiexec")
    python.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >{noted}\n')
    python.chmod(0o755)
    site = {**BASE[kind], "interface": "lo", "workers": 2, "python": str(python)}
    for number, text in enumerate(HOSTILE):
        run = submit(RECIPE, load_profile(KINDS[kind](**site)), runs=tmp_path / f"{number}{text}")
        words, _, script = recording_sbatch.read_bytes().decode().partition("#!/bin/bash\n")
        assert f"--output={str(run.directory.logs).replace('%', '%%')}/driver.log\n" in words
        subprocess.run(["bash", "-c", script], check=True, capture_output=True)
        assert str(run.directory.path) in noted.read_bytes().decode().split("\0"), text
    assert not (tmp_path / "x").exists()


@pytest.fixture
def recording_sbatch(tmp_path, monkeypatch):
    """A command that notes its arguments and the script, and answers with a job's id."""
    record = tmp_path / "recorded"
    folder = tmp_path / "bin"
    folder.mkdir()
    text = f'#!/bin/sh\nprintf "%s\\n" "$@" >{record}\ncat >>{record}\necho 123\n'
    (folder / "sbatch").write_text(text)
    (folder / "sinfo").write_text("#!/bin/sh\necho 'main*|1-00:00:00'\n")
    (folder / "squeue").write_text("#!/bin/sh\necho '123|PENDING|Priority'\n")
    for name in ("sbatch", "sinfo", "squeue"):
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), os.environ["PATH"]]))
    return record


def test_plan_shows_what_submit_sends(tmp_path, recording_sbatch):
    profile = load_profile(SlurmProfile(workers=4, cores=2, memory="3 GiB", interface="lo"))
    run = submit(RECIPE, profile, runs=tmp_path / "runs")
    sent = recording_sbatch.read_text()
    assert sent.startswith(
        f"--parsable\n--output={run.directory.logs}/driver.log\n--open-mode=append\n#!/bin/bash"
    )
    path = str(run.directory.path)
    assert sent.endswith(job_script(profile, run.name, path))
    assert job_script(profile, run.name, path) in scripts(profile, run.name, path)
    status = run.status()
    assert (status["state"], status["queue"]["reason"]) == ("pending", "Priority")


def test_our_jobs_do_not_inherit_a_job(monkeypatch, tmp_path):
    for name in ("SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK", "PMI_RANK"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    found = slurm_commands.clean_environment()
    assert {name for name in found if name.startswith(("SLURM", "SBATCH", "SRUN", "PMI"))} == {"SLURM_CONF"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("59", 59),
        ("1:00", 60),
        ("2:00:01", 7201),
        ("1-00:00:00", 86400),
        ("UNLIMITED", None),
        ("INVALID", None),
    ],
)
def test_durations(text, seconds):
    assert slurm_commands.parse_duration(text) == seconds


def test_amounts():
    assert clock(90061) == "1-01:01:01"
    assert megabytes(2**20 + 1) == "2M"


def test_no_command(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="no command sbatch"):
        slurm_commands.sbatch("#!/bin/sh\n")


def test_a_silent_command_has_said_something(monkeypatch, tmp_path):
    """As sbatch does while it tries to reach the controller again and again."""
    (tmp_path / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: no controller' >&2\nexec sleep 60\n")
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_commands, "PATIENCE", 1.0)
    with pytest.raises(ClusterError, match="did not answer within 1 s: no controller"):
        slurm_commands.sbatch("#!/bin/sh\n")


def test_a_silent_controller_is_waited_for_once(monkeypatch, tmp_path):
    """The partition's limit is asked for before the job is submitted, with less patience."""
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_commands, "LESS_PATIENCE", 0.1)
    assert slurm_commands.partition_limit("main") is None


def test_interfaces(monkeypatch):
    monkeypatch.setattr(interfaces, "interfaces", lambda: {"lo": True, "eth0": False, "ib0": False})
    with pytest.raises(ProfileError, match="several interfaces are up: eth0, ib0"):
        interfaces.chosen_interface(None)
    assert interfaces.chosen_interface("ib0") == "ib0"
    with pytest.raises(ProfileError, match="choose one of eth0, ib0, lo"):
        interfaces.chosen_interface("ib1")
    monkeypatch.setattr(interfaces, "interfaces", lambda: {"lo": True, "eth0": False})
    assert interfaces.chosen_interface(None) == "eth0"
    monkeypatch.setattr(interfaces, "interfaces", lambda: {"lo": True})
    assert interfaces.chosen_interface(None) == "lo"


def test_keys_are_private_and_kept_until_removed(tmp_path):
    folder = tmp_path / "keys"
    security_of("temporary", folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {path: path.read_bytes() for path in folder.iterdir()}
    assert len(files) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    security_of("temporary", folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == files
    remove_keys(folder)
    assert not folder.exists()
