"""Every shipped recipe gives the same bits on this machine, on Slurm and under MPI."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from site_of import Site
from user_folder import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]

RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))


# Features that processors of other nodes may lack.
OLDER_CPU = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL",
    "NUMBA_CPU_NAME": "haswell",
    "OPENBLAS_CORETYPE": "Haswell",
}


@pytest.fixture
def here(shared):
    """Return a function that gives the status of a run of a recipe on this machine, made once."""
    return lambda site, name, *allowed: shared.once(
        f"recipe {name}", lambda folder: site.json("run", shipped(name), "--runs", str(folder), *allowed)
    )


def shipped(name):
    return str(ROOT / "recipes" / f"{name}.yaml")


@pytest.mark.parametrize("name", RECIPES)
def test_same_bits_everywhere(slurm, tmp_path, here, name):
    site = Site(slurm, tmp_path)
    site.profile(memory="1500 MB")
    (tmp_path / "mpi.yaml").write_text(json.dumps({"kind": "mpi", "workers": 2, "memory": "1500 MB"}))
    recipe = shipped(name)
    allowed = ["--allow-code"] if "function:" in Path(recipe).read_text() else []
    site.daskpar("submit", recipe, "-p", "site.yaml", *allowed)
    command = [
        sys.executable,
        "-m",
        "daskpar",
        "submit",
        recipe,
        "-p",
        "mpi.yaml",
        "--runs",
        "mpi",
        "--json",
        *allowed,
    ]
    with subprocess.Popen(command, cwd=tmp_path, env=site.environment, stdout=subprocess.PIPE) as mpi:
        local = here(site, name, *allowed)
        under_mpi = json.loads(mpi.communicate(timeout=300)[0])
    on_slurm = site.wait(timeout=300)
    found = {run["profile"]: (run["state"], run["result_hash"]) for run in (local, under_mpi, on_slurm)}
    assert found == dict.fromkeys(("local", "mpi", "slurm"), ("done", local["result_hash"]))


@pytest.mark.parametrize("name", RECIPES)
def test_same_bits_on_an_older_cpu(slurm, tmp_path, here, name):
    site = Site(slurm, tmp_path)
    site.profile(memory="1500 MB", driver={"mode": "here"})
    recipe = shipped(name)
    expected = here(site, name)["result_hash"]
    site.environment.update(OLDER_CPU)
    done = site.json("submit", recipe, "-p", "site.yaml")
    assert done["result_hash"] == expected
