"""Profiles: models, grammars against hostile texts, look-up."""

from pathlib import Path

import pytest
from hostile_profiles import BASE, HOSTILE, KEYS, PLAIN, TEXT_KEYS, placed
from hypothesis import given
from hypothesis import strategies as st

from daskpar.errors import ProfileError
from daskpar.profile import KINDS, LocalProfile, MpiProfile
from daskpar.settings.amounts import format_memory, format_walltime, parse_memory, parse_walltime
from daskpar.settings.cores import available_cores
from daskpar.settings.profile_lookup import config_folders, dump_profile, load_profile, profile_names
from daskpar.settings.yaml_text import dump_yaml

CONF = Path(__file__).parents[2] / "conf"

@pytest.mark.parametrize(("kind", "path"), TEXT_KEYS, ids=str)
def test_hostile_texts_are_refused_by_every_key(kind, path, tmp_path):
    file = tmp_path / "p.yaml"
    for text in HOSTILE:
        if path[0] == "options" and text in PLAIN:
            continue
        file.write_text(dump_yaml(placed(BASE[kind], path, text)))
        with pytest.raises(ProfileError) as refusal:
            load_profile(file)
        faults = refusal.value.faults
        assert all(fault.key.split(".")[0].split("[")[0] == path[0] for fault in faults), (text, faults)
        assert all(fault.place for fault in faults)
        assert len(str(refusal.value).split("\n")) == len(faults)


@pytest.mark.parametrize("kind", BASE)
def test_hostile_names_of_keys_are_refused(kind, tmp_path):
    for text in HOSTILE:
        for data in ({text: 1}, {"roots": {text: "/data"}}, {"options": {text: 1}}):
            (tmp_path / "p.yaml").write_text(dump_yaml(BASE[kind] | data))
            with pytest.raises(ProfileError):
                load_profile(tmp_path / "p.yaml")


def test_the_table_holds_every_key_with_text():
    covered = {(kind, path[0]) for kind, path in TEXT_KEYS}
    for kind, model in KINDS.items():
        missing = set(model.model_fields) - {key for name, key in covered if name == kind} - {"kind"}
        assert missing <= ({"workers"} if kind == "class" else set()), (kind, missing)
    assert len(HOSTILE) >= 30


FULL = {
    "kind": "slurm", "workers": 8, "minimum_workers": 2, "maximum_workers": 16, "cores": 4, "processes": 2,
    "memory_per_cpu": "4 GiB", "walltime": "1-02:03:04", "partition": "short,long", "account": "phys_07",
    "qos": "normal", "constraint": ["skylake", "ib"], "reservation": "school.2026",
    "exclude": "node7,rack1-[01-05,9]", "licenses": "idl:2,matlab@site:1", "mail": "ann.b+x@example.org",
    "extra_directives": ["--gres=gpu:1", "--exclusive", "-C intel"], "interface": "ib0",
    "scheduler_interface": "bond0.100", "prologue": ["module load openmpi/5.0", "export A=b",
    "source /opt/x.sh"],
    "scratch": "/scratch/p7", "python": "/opt/env/bin/python3.11", "security": KEYS,
    "roots": {"data": "/p/m13"},
    "driver": {"mode": "here", "walltime": "2 h", "memory": "500 MB", "partition": "long"},
}  # fmt: skip


def test_every_key_of_a_slurm_profile(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(dump_yaml(FULL))
    profile = load_profile(path)
    assert profile.walltime == 93784
    assert profile.driver.walltime == 7200
    assert profile.driver.memory == 500_000_000
    assert set(FULL) | {"memory"} == set(type(profile).model_fields)
    path.write_text(dump_profile(profile))
    assert load_profile(path) == profile


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_shipped_profiles(name, tmp_path):
    profile = load_profile(name, [CONF])
    (tmp_path / "again.yaml").write_text(dump_profile(profile))
    assert load_profile(tmp_path / "again.yaml") == profile


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF.glob("*.yaml")))
def test_commented_settings_of_shipped_profiles_are_valid(name, tmp_path):
    """Each commented key, uncommented by itself, must be one its kind accepts."""
    text = (CONF / f"{name}.yaml").read_text()
    data = load_profile(name, [CONF]).model_dump(mode="json", exclude_unset=True)
    for line in (line[2:] for line in text.splitlines() if line.startswith("# ") and ": " in line):
        key, _, value = line.partition(":")
        if key not in KINDS[data["kind"]].model_fields or not value.split("#")[0].strip():
            continue
        replaced = {key, "memory"} if key == "memory_per_cpu" else {key}
        rest = {name: setting for name, setting in data.items() if name not in replaced}
        (tmp_path / "p.yaml").write_text(dump_yaml(rest) + line + "\n")
        assert load_profile(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("workers: 2\n", "1:1 kind", "is missing"),
        ("kind: slrm\n", "1:7 kind", "did you mean 'slurm'?"),
        ("kind: [local]\n", "1:7 kind", "is no kind"),
        ("kind: local\nworker: 3\n", "2:1 worker", "did you mean 'workers'?"),
        ("kind: local\npartition: a\n", "2:1 partition", "belongs to kind slurm or mpi"),
        ("kind: local\nprocesses: yes\n", "2:12 processes", "write true or false"),
        ("kind: local\nworkers: 0\n", "2:10 workers", "above 0"),
        ("kind: local\nworkers: '2'\n", "2:10 workers", "whole number"),
        ("kind: local\nmemory: 16\n", "2:9 memory", "with its unit"),
        ("kind: slurm\nmemory: 1 GiB\nwalltime: 30:00\n", "3:11 walltime", "HH:MM:SS"),
        ("kind: slurm\nmemory: 1 GiB\nwalltime: 30\n", "3:11 walltime", "no unit"),
        ("kind: slurm\n", "1:1 memory", "is missing"),
        ("kind: slurm\nmemory: 1 GiB\nmemory_per_cpu: 1 GiB\n", "3:17 memory_per_cpu", "keep one"),
        ("kind: slurm\nmemory: 1 GiB\nminimum_workers: 3\n", "3:18 minimum_workers", "at most 2"),
        ("kind: slurm\nmemory: 1 GiB\nmaximum_workers: 1\n", "3:18 maximum_workers", "at least 2"),
        ("kind: slurm\nmemory: 1 GiB\nprocesses: 3\n", "3:12 processes", "multiple of 3"),
        ("kind: slurm\nmemory: 1 GiB\nsecurity: none\n", "3:11 security", "temporary"),
        ("kind: mpi\npartition: long\n", "2:12 partition", "batch: slurm"),
        ("kind: mpi\nbatch: slurm\n", "1:1 memory", "is missing"),
        ("kind: class\npath: PBSCluster\n", "2:7 path", "module.Class"),
        ("kind: class\npath: a.B\noptions: {q: {r: [x;y]}}\n", "3:", "options.q.r"),
        ("kind: address\naddress: tcp://head:8786\n", "2:10 address", "plain tcp"),
        ("kind: address\naddress: tls://head:8786\n", "1:1 security", "is missing"),
    ],
)
def test_faults_of_profiles(text, place, words, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as refusal:
        load_profile(path)
    assert f"p.yaml:{place}" in str(refusal.value)
    assert words in str(refusal.value)
    assert refusal.value.exit_code == 2


def test_look_up_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASKPAR_CONFIG", str(tmp_path / "own"))
    assert load_profile("local") == LocalProfile()
    for folder, workers in (("own", 3), ("conf", 4)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "local.yaml").write_text(f"kind: local\nworkers: {workers}\n")
        assert load_profile("local").workers == workers
    (tmp_path / "own" / "site.yml").write_text("kind: local\nworkers: 5\n")
    assert load_profile("site").workers == 5
    assert load_profile("own/local.yaml").workers == 3
    assert load_profile(tmp_path / "own" / "local.yaml").workers == 3
    assert profile_names() == ["local", "site"]
    with pytest.raises(
        ProfileError, match=r"no profile 'sit'; did you mean 'site'\? known: local, site; looked in"
    ):
        load_profile("sit")
    with pytest.raises(ProfileError, match="no such file"):
        load_profile("./site.yaml")


def test_user_folder(monkeypatch):
    monkeypatch.delenv("DASKPAR_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", "/xdg")
    assert config_folders() == (Path("conf"), Path("/xdg/daskpar"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/own")
    assert config_folders()[1] == Path("/own/.config/daskpar")


def test_changes_are_checked_like_the_file():
    assert load_profile("local", [], {"workers": 4}).workers == 4
    assert load_profile(LocalProfile(cores=2), [], {"workers": 4}).cores == 2
    with pytest.raises(ProfileError, match="workers: 0 is not allowed"):
        load_profile("local", [], {"workers": 0})
    with pytest.raises(ProfileError, match="worker: unknown key 'worker'; did you mean 'workers'"):
        load_profile("slurm", [CONF], {"worker": 1})


def test_ranks_and_cores():
    assert MpiProfile(workers=4).ranks == 6
    assert LocalProfile().workers == available_cores() >= 1


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16 GiB", 2**34), ("16GiB", 2**34), ("1.5 GiB", 3 * 2**29), ("500 MB", 500_000_000), ("2 TB",
        2 * 10**12),
        ("2048 kB", 2_048_000), ("1048576 B", 2**20), (2**30, 2**30),
    ],
)  # fmt: skip
def test_memory(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", [
    "16", "16 G", "16 gib", "-1 GiB", "1e3 MB", 16, 16000, 0, -1, True, 1.5, None, "1 B", "٣ GiB",
    "9" * 30 + " GiB", "999999999 TiB",
])  # fmt: skip
def test_wrong_memory(text):
    with pytest.raises(ValueError, match="; write"):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("01:00:00", 3600), ("00:30:00", 1800), ("1-00:00:00", 86400), ("100:00:00", 360000),
        ("30 min", 1800), ("30min", 1800), ("2 h", 7200), ("7 d", 604800), ("90 s", 90),
    ],
)  # fmt: skip
def test_walltime(text, seconds):
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize("text", [
    "30:00", "30", 30, 1800, 1.5, True, None, "1-24:00:00", "01:60:00", "00:00:00", "-1 h", "1:2:3", "400 d",
    "2 hours", "01:00:00\n", "UNLIMITED",
])  # fmt: skip
def test_wrong_walltime(text):
    with pytest.raises(ValueError, match="; write"):
        parse_walltime(text)


@given(st.integers(1, 366 * 86400))
def test_walltimes_are_read_back(seconds):
    assert parse_walltime(format_walltime(seconds)) == seconds


@given(st.integers(2**20, 2**59))
def test_memory_is_read_back(size):
    assert parse_memory(format_memory(size)) == size
