"""`daskpar compare` on shipped recipes, made small, with ranks of a real mpiexec: bits, then the report."""

import json
import re

import pytest
from user_folder import ROOT

from daskpar.by_hand import PHASES
from daskpar.comparison.child import DASK_MPI
from daskpar.comparison.result import Comparison

pytestmark = [pytest.mark.mpi, pytest.mark.usefixtures("any_mpi"), pytest.mark.timeout(400)]

SMALL = {
    "image_stats": ["inputs.synthetic.shape=[1024, 256]", "inputs.synthetic.stars=100"],
    "pair_counts_box": ["inputs.synthetic.n_points=60000", "inputs.synthetic.n_clusters=1200"],
    "monte_carlo_pi": ["options.target_error=0.001"],
}


@pytest.mark.parametrize("name", SMALL)
def test_the_report_of_each_recipe(cli, tmp_path, runs, name):
    more = ["mpi4py_pool"] if name == "monte_carlo_pi" else []
    versions = ["dask", "multiprocessing", "mpi4py", *more]
    arguments = ["--versions", ",".join(versions), "--workers", "2", "--repeats", "1", "--json"]
    changes = [word for setting in SMALL[name] for word in ("--set", setting)]
    done = cli("compare", ROOT / "recipes" / f"{name}.yaml", *arguments, *changes, timeout=300)
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    agreement = {one["version"]: one for one in found["agreement"]}
    assert list(agreement) == versions
    (result,) = {one["result_hash"] for one in agreement.values()}
    assert all(one["agrees"] and one["largest_ulp"] == 0 for one in agreement.values())
    timings = {one["version"]: one for one in found["timings"]}
    assert {one["result_hash"] for one in timings.values()} == {result}
    assert all(one["seconds"]["compute"] > 0 for one in timings.values())
    seen = {tuple(phase for phase in PHASES if one["seconds"][phase] > 0) for one in timings.values()}
    assert seen == {tuple(phase for phase in PHASES if phase != "read" or name != "monte_carlo_pi")}
    assert all(one["bytes_moved"] > 0 for one in timings.values())
    assert {one: timings[one]["cores_occupied"] for one in versions} == {
        one: 3 if one == "mpi4py_pool" else 2 for one in versions
    }
    reports_say(Comparison(runs / found["name"]), versions, result)


def test_dask_as_ranks(cli, tmp_path, runs):
    """Under MPI dask takes two ranks more: one schedules, one drives."""
    (tmp_path / "site.yaml").write_text("kind: mpi\nworkers: 2\nmemory: 600 MB\n")
    arguments = ["-p", tmp_path / "site.yaml", "--versions", "dask,mpi4py", "--workers", "2"]
    changes = ["--set", "options.target_error=0.01", "--repeats", "1", "--json"]
    done = cli("compare", ROOT / "recipes" / "monte_carlo_pi.yaml", *arguments, *changes, timeout=300)
    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    hashes = {one["result_hash"] for one in (*found["agreement"], *found["timings"])}
    assert len(hashes) == 1
    assert all(one["agrees"] for one in found["agreement"])
    cores = {one["version"]: one["cores_occupied"] for one in found["timings"]}
    assert cores == {"dask": 2 + 2, "mpi4py": 2}
    assert all(one["seconds"]["compute"] > 0 for one in found["timings"])
    targets = [one["target"] for one in Comparison(runs / found["name"]).data["versions"]]
    assert targets == [DASK_MPI, "daskpar.analyses.monte_carlo.with_mpi4py:run"]


def reports_say(compared, versions, result):
    """Check the table of results and their hashes, in each form of the report."""
    page = compared.report().read_text()
    tags = re.sub(r"(?s)(<script[^>]*>).*?</script>", r"\1", page)
    assert re.search(r"<(script|link|img)[^>]+(src|href)=", tags) is None  # it needs no network
    table = page[page.index("Are the results the same?") : page.index("How long did they take?")]
    shown = re.findall(r"<tr><td>(\w+)</td><td>2</td><td>same bits</td><td>0</td><td>(\w+)</td>", table)
    assert shown == [(version, result[:16]) for version in versions]
    assert "All versions gave the same result, bit for bit." in page
    assert compared.data["mpi"] in page
    assert "MPI" in compared.data["mpi"].upper()
    for suffix, row in ((".md", "| {} |"), (".tex", "{} & ")):
        text = compared.report(compared.folder / f"table{suffix}").read_text()
        assert result in text
        lines = [line for line in text.splitlines() if "same bits" in line]
        wanted = [
            row.format(version.replace("_", r"\_") if suffix == ".tex" else version) for version in versions
        ]
        assert [line[: len(start)] for line, start in zip(lines, wanted, strict=True)] == wanted
