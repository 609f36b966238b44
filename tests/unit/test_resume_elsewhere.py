"""Runs that go on in a batch job or as MPI ranks: when a driver is started there, and when none need be."""

import daskpar
from daskpar import submission
from daskpar.profile import MpiProfile

RECIPE = {
    "name": "mapped", "analysis": "map",
    "inputs": {"grid": {"redshift": [0.1, 0.2], "hubble": [70], "omega_matter": [0.3]}},
    "options": {"function": "daskpar.analyses.map.examples:comoving_distance"},
}  # fmt: skip


def test_a_finished_run_gets_a_driver_only_where_its_result_is_damaged(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(submission, "start_driver", started.append)
    run = daskpar.run(RECIPE, runs=tmp_path).run
    handle = submission.resume_elsewhere(run, MpiProfile())
    assert (handle.status()["state"], started) == ("done", [])
    (run.dataset / "dataset.json").write_text("{")
    submission.resume_elsewhere(run, MpiProfile())
    assert [prepared.run for prepared in started] == [run]
