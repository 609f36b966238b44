"""A profile in, a dask client out: `open_client`, with one file for each kind of cluster."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.errors import ProfileError

if TYPE_CHECKING:
    from distributed import Client

    from daskpar.profile import Profile

OPENERS: dict[str, str] = {"local": "daskpar.clusters.local:open_local"}


@contextmanager
def open_client(profile: str | Path | Profile = "local", **changes: Any) -> Iterator[Client]:
    """Start the workers that a profile describes, and end them with the block.

    Parameters
    ----------
    profile : str, path or Profile
        A profile's name, its file, or the model.
    **changes
        Fields of the profile to change, for example ``workers=4``.

    Yields
    ------
    distributed.Client
        Connected; the current client of dask inside the block.

    Raises
    ------
    daskpar.errors.ProfileError
        There is no such profile, or it is wrong.
    daskpar.errors.ClusterError
        The workers did not come.
    """
    from daskpar.settings.profile_lookup import load_profile

    model = load_profile(profile, changes=changes)
    with opener(model.kind)(model) as client:
        yield client


def opener(kind: str) -> Callable[[Any], AbstractContextManager[Client]]:
    """Return the context manager for a kind of profile."""
    if kind not in OPENERS:
        raise ProfileError(
            f"profiles of kind {kind!r} cannot be opened from here",
            f"choose one of {', '.join(sorted(OPENERS))}",
            key="kind",
        )
    module, _, name = OPENERS[kind].partition(":")
    found: Callable[[Any], AbstractContextManager[Client]] = getattr(importlib.import_module(module), name)
    return found
