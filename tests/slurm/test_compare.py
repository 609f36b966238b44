"""A comparison on Slurm: every version inside one job, on one node, and nothing here."""

import pytest
from site_of import Site

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(400)]


def test_all_versions_share_one_job(slurm, tmp_path):
    """One command submits the job, follows it, and shows what it measured."""
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    site = Site(slurm, tmp_path, blocks=6, seconds=0)
    arguments = ["--versions", "dask,threads,multiprocessing,mpi4py", "--workers", "2", "--repeats", "1"]
    found = site.json("compare", "recipe.yaml", "-p", "site.yaml", "--allow-code", *arguments)
    assert found["state"] == "done"
    assert {one["version"]: one["agrees"] for one in found["agreement"]} == dict.fromkeys(
        ("dask", "threads", "multiprocessing", "mpi4py"), True
    )
    assert all(one["cores_occupied"] == 2 and one["seconds"]["total"] > 0 for one in found["timings"])
    assert all(one["peak_bytes"] > 20e6 for one in found["timings"])  # ranks are children of Slurm's daemon
    jobs = {job for _, job in site.computed()}
    assert len(jobs) == 1
    assert jobs != {"None"}
    assert found["machine"]["allocation"].startswith(f"Slurm job {jobs.pop()} on n")
    folder = site.folder / "runs" / found["name"]
    assert "Slurm job" in (folder / "report.html").read_text()
