"""Runs on a real Slurm: submit, leave, come back; the bits of a local run; ends in good order."""

from collections import Counter

import pytest
from site_of import Site

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(300)]


@pytest.fixture
def site(slurm, tmp_path):
    yield Site(slurm, tmp_path)
    slurm.wait_until_empty(90)


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
    assert not (run / "keys").exists()
    assert (run / "results" / "table.ecsv").exists()
