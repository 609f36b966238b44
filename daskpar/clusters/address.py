"""A cluster that others have started: connect to its scheduler over mutual TLS, and leave it running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dask
from distributed import Client

from daskpar.clusters.keys import security_of
from daskpar.errors import ClusterError

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import AddressProfile

PATIENCE = "3s"  # a scheduler that refuses us does so at once


@contextmanager
def open_address(profile: AddressProfile, place: Place) -> Iterator[Client]:
    """Connect to a running scheduler."""
    security = security_of(profile.security, Path())
    with dask.config.set({"distributed.comm.timeouts.connect": PATIENCE}):
        try:
            client = Client(profile.address, security=security, timeout=PATIENCE)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"{profile.address} cannot be reached with these keys: {error}",
                "check that it runs and trusts the certificate, and that this has not expired",
                key="address",
            ) from error
    with client:
        if not client.scheduler_info()["workers"]:
            raise ClusterError(f"{profile.address} has no workers", "start some, then daskpar resume")
        yield client
