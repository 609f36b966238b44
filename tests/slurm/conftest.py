"""A user's folder on the private Slurm."""

import pytest
from site_of import Site


@pytest.fixture
def site(slurm, tmp_path):
    """The folder."""
    return Site(slurm, tmp_path)
