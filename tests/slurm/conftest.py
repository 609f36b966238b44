"""One private Slurm for all tests of this folder."""

import pytest
from private_slurm import missing, private_slurm


@pytest.fixture(scope="session")
def slurm():
    """A Slurm of two nodes, partitions ``main`` and ``closed``; at the end no job and no daemon is left."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with private_slurm() as running:
        yield running
