"""Any cluster class with the interface of distributed, by its path: PBS, LSF, SGE, HTCondor and others."""

from __future__ import annotations

import importlib
import inspect
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client
from distributed.utils import silence_logging_cmgr

from daskpar.clusters.interfaces import chosen_interface
from daskpar.clusters.keys import remove_keys, security_of
from daskpar.clusters.settings import CONFIG, HTTP, PRELOAD, SCHEDULER
from daskpar.errors import ClusterError, ProfileError
from daskpar.provenance import thread_environment

if TYPE_CHECKING:
    from daskpar.clusters import Place
    from daskpar.profile import ClassProfile


@contextmanager
def open_class(profile: ClassProfile, place: Place) -> Iterator[Client]:
    """Make a cluster of the class that the profile names, scale it, and yield its client."""
    found = _class(profile.path)
    security = security_of(profile.security, place.keys)
    try:
        # No limit on waiting: the workers may be in a queue.
        config = {**CONFIG, "distributed.scheduler.no-workers-timeout": None}
        with silence_logging_cmgr(logging.CRITICAL), dask.config.set(config):
            with _made(found, profile, place, security) as cluster, Client(cluster) as client:
                _require_tls(client.scheduler.address, profile.path)
                cluster.scale(profile.workers)
                client.wait_for_workers(1)
                yield client
    finally:
        if not place.handed_over():
            remove_keys(place.keys)


def _class(path: str) -> Any:
    """Import a class; some of dask-jobqueue's modules take SIGINT for themselves, which is given back."""
    module, _, name = path.rpartition(".")
    before = signal.getsignal(signal.SIGINT)
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ProfileError(
            f"cannot import {path}: {error}", "install the package, or mend the path", key="path"
        ) from error
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
    if not inspect.isclass(found):
        raise ProfileError(
            f"{path} is no class", "name a cluster class: dask_jobqueue.PBSCluster", key="path"
        )
    return found


def _require_tls(address: str, path: str) -> None:
    """Refuse a scheduler that strangers could talk to; one without an address outside its process is none."""
    if not address.startswith(("tls://", "inproc://")):
        raise ClusterError(
            f"{path} made a scheduler without TLS, at {address}",
            "use a class that takes `security`, as those of dask-jobqueue do",
        )


def _made(found: Any, profile: ClassProfile, place: Place, security: Any) -> Any:
    if "security" in profile.options:
        raise ProfileError("the class is told of keys", "name yours at security:", key="options.security")
    if not str(profile.options.get("protocol", "tls://")).startswith(("tls", "inproc")):
        raise ProfileError("without TLS it is open to anybody", "leave this out", key="options.protocol")
    arguments = {**_defaults(found, profile, place, security), **profile.options}
    try:
        return found(**arguments)
    except (TypeError, ValueError) as error:
        raise ProfileError(
            f"{profile.path} refuses its arguments: {error}", "see its documentation", key="options"
        ) from error
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"{profile.path} did not start: {error}", "see its documentation") from error


def _defaults(found: Any, profile: ClassProfile, place: Place, security: Any) -> dict[str, Any]:
    """Return what the class is told unless the options say otherwise: TLS, and pages on loopback only."""
    if any(base.__name__ == "JobQueueCluster" for base in found.__mro__):
        interface = chosen_interface(profile.interface)
        exports = [f"export {name}={value}" for name, value in thread_environment(threads=1).items()]
        return {
            "security": security,
            "protocol": "tls://",
            "interface": interface,
            "shared_temp_directory": str(place.folder),
            "log_directory": str(place.folder / "logs"),
            "scheduler_options": {"interface": interface, **SCHEDULER},
            "worker_extra_args": ["--dashboard-address", HTTP, "--no-dashboard", "--preload", PRELOAD],
            "job_script_prologue": exports,
            "silence_logs": logging.CRITICAL,
        }
    known = inspect.signature(found).parameters
    passes_on = any(one.kind is one.VAR_KEYWORD for one in known.values())
    if "security" not in known and not passes_on:
        raise ProfileError(
            f"{profile.path} takes no security, so its scheduler would be open to anybody",
            "use a class that does, as those of dask-jobqueue do",
            key="path",
        )
    wanted = {"dashboard_address": HTTP, "worker_dashboard_address": HTTP, "interface": profile.interface,
              "silence_logs": logging.CRITICAL}  # fmt: skip
    found_here = {name: value for name, value in wanted.items() if name in known and value is not None}
    return {"security": security, **found_here}
