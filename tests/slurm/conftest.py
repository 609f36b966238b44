"""A user's folder on the private Slurm."""

import pytest
from site_of import Site


@pytest.fixture
def site(slurm, tmp_path):
    """The folder; the test is over when its jobs are."""
    yield Site(slurm, tmp_path)
    slurm.wait_until_empty(90)
