"""One private Slurm for all tests of this folder."""

import pytest
from private_slurm import missing, private_slurm
from site_of import Site


@pytest.fixture(scope="session")
def slurm():
    """A Slurm of two nodes, partitions ``main`` and ``closed``; at the end no job and no daemon is left."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with private_slurm() as running:
        yield running


@pytest.fixture
def site(slurm, tmp_path):
    """A user's folder on that Slurm; the test is over when its jobs are."""
    yield Site(slurm, tmp_path)
    slurm.wait_until_empty(90)
