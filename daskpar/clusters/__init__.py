"""A profile in, a dask client out: `open_client`, with one file for each kind of cluster."""

from __future__ import annotations

import functools
import importlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.errors import ProfileError
from daskpar.lease import STALE, Lease

if TYPE_CHECKING:
    from distributed import Client

    from daskpar.profile import Profile

LEASE = "lease.json"
OPENERS: dict[str, str] = {
    "local": "daskpar.clusters.local:open_local",
    "slurm": "daskpar.clusters.slurm:open_slurm",
    "mpi": "daskpar.clusters.mpi:open_mpi",
    "class": "daskpar.clusters.any_class:open_class",
    "address": "daskpar.clusters.address:open_address",
}


def _nothing(**what: Any) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Place:
    """Where a cluster may keep its files, and whom it tells how it stands.

    Attributes
    ----------
    folder : Path
        Private, on a disk that all nodes see: the run directory.
    tell : callable
        ``tell(workers=..., queue=...)`` is called as the cluster changes.
    handed_over : callable
        Whether another driver goes on with this cluster's waiting jobs.
    """

    folder: Path
    tell: Callable[..., None] = _nothing
    handed_over: Callable[[], bool] = bool

    @property
    def name(self) -> str:
        """The name of jobs: the run's."""
        return self.folder.name

    @property
    def keys(self) -> Path:
        """The folder of the keys that scheduler and workers present to each other."""
        return self.folder / "keys"


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
    with _own_place(model.kind) as place, opener(model.kind)(model, place) as client:
        yield client


@contextmanager
def _own_place(kind: str) -> Iterator[Place]:
    """Make a folder for a cluster without a run, in the home that nodes share; none where none is needed."""
    if kind in ("local", "address"):
        yield Place(Path())
        return
    parent = Path.home() / ".cache" / "daskpar" / "clusters"
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix="daskpar-", dir=parent))
    try:
        with Lease(folder / LEASE).hold():
            yield Place(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove the folders, and so the keys, of clusters whose process was killed before it could do so."""
    for folder in parent.iterdir():
        lease = Lease(folder / LEASE)
        with suppress(OSError):  # another process may be quicker
            fresh = lease.holder() is None and time.time() - folder.stat().st_mtime < STALE
            if not fresh and not lease.is_held():
                shutil.rmtree(folder, ignore_errors=True)


def opener(kind: str) -> Callable[[Any, Place], AbstractContextManager[Client]]:
    """Return the context manager for a kind of profile."""
    if kind not in OPENERS:
        raise ProfileError(
            f"profiles of kind {kind!r} cannot be opened from here",
            f"choose one of {', '.join(sorted(OPENERS))}",
            key="kind",
        )
    module, _, name = OPENERS[kind].partition(":")
    return functools.partial(_opened, getattr(importlib.import_module(module), name))


@contextmanager
def _opened(
    found: Callable[[Any, Place], AbstractContextManager[Client]], profile: Any, place: Place
) -> Iterator[Client]:
    """Open a cluster; what ended the block is raised, even if closing the cluster fails, too.

    Where workers die until a run gives up, a nanny may just be starting one again, and distributed trips
    over its own assertions; or Slurm does not answer. That would hide why.
    """
    reason: BaseException | None = None
    try:
        with found(profile, place) as client:
            try:
                yield client
            except BaseException as error:
                reason = error
                raise
    except Exception as error:
        if reason is None:
            raise
        told = _told(error, reason)
        raise told from told.__cause__


def _told(error: BaseException, reason: BaseException) -> BaseException:
    """Return what an opener made of the reason, to say more about it, or the reason itself."""
    one: BaseException | None = error
    while one is not None and one.__cause__ is not reason:
        one = one.__context__
    return one or reason
