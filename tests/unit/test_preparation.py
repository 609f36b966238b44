"""A run may replace its own results, and nobody else's."""

import pytest
import xarray as xr

from daskpar.errors import UsageError
from daskpar.outputs import write_outputs
from daskpar.preparation import begin, reopen

RECIPE = {
    "name": "levels",
    "analysis": "map",
    "inputs": {"grid": {"redshift": [0.1, 0.2]}},
    "options": {"function": "daskpar.analyses.map.examples:comoving_distance"},
    "outputs": ["levels.ecsv"],
}


def write(folder, run, values):
    dataset = xr.Dataset({"level": ("item", values)})
    made_by = {"run": run, "result_hash": str(values)}
    return write_outputs(dataset, RECIPE["outputs"], folder, overwrite=False, provenance=made_by)


def test_a_file_that_appears_meanwhile_is_not_replaced_on_resume(tmp_path):
    prepared = begin(RECIPE, runs=tmp_path / "runs", output=tmp_path / "out")
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / "levels.ecsv"
    mine.write_text("my own notes")
    with pytest.raises(UsageError, match="exists already"):
        reopen(prepared.run)
    assert mine.read_text() == "my own notes"


def test_the_result_of_another_run_is_not_replaced_on_resume(tmp_path):
    prepared = begin(RECIPE, runs=tmp_path / "runs", output=tmp_path / "out")
    write(tmp_path / "out", "another-run", [1.0])
    with pytest.raises(UsageError, match="exists already"):
        reopen(prepared.run)


def test_a_run_replaces_its_own_results(tmp_path):
    prepared = begin(RECIPE, runs=tmp_path / "runs", output=tmp_path / "out")
    write(tmp_path / "out", prepared.run.name, [1.0])
    assert not reopen(prepared.run).overwrite
    (path,) = write(tmp_path / "out", prepared.run.name, [1.0, 2.0])
    assert "2.0" in path.read_text()


def test_with_overwrite_any_file_is_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "levels.ecsv").write_text("old")
    prepared = begin(RECIPE, runs=tmp_path / "runs", output=tmp_path / "out", overwrite=True)
    assert reopen(prepared.run).overwrite
