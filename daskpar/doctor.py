"""What works here, from packages to workers over TLS, and what to do where something does not."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from daskpar.errors import DaskparError
from daskpar.finding import Finding
from daskpar.provenance import THREAD_VARIABLES, numba_cache_dir, versions
from daskpar.settings.cores import available_cores
from daskpar.settings.profile_lookup import load_profile
from daskpar.trial import try_profile

OPTIONAL = {"mpi4py": "MPI (pip install daskpar[mpi])", "zarr": ".zarr outputs", "h5netcdf": ".nc outputs"}


def examine(profile: str = "local") -> list[Finding]:
    """Look at this machine and try the profile for real.

    Parameters
    ----------
    profile : str
        Name or file. Workers of a local profile are started, and compute over TLS.
    """
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (
        _packages, _threads, _disk, _kernel_cache, _launchers,
    )  # fmt: skip
    found = [finding for check in checks for finding in check()]
    return found + list(_profile(profile))


def _packages() -> Iterator[Finding]:
    known = versions()
    yield Finding("good", ", ".join(f"{name} {version}" for name, version in known.items() if version))
    for module, use in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            yield Finding("note", f"{module} is not installed", f"needed for {use}")


def _threads() -> Iterator[Finding]:
    yield Finding("good", f"{available_cores()} cores may be used, of {os.cpu_count()}")
    named = {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
    for name, value in named.items():
        yield Finding("note", f"{name}={value} is set here", "workers get 1, whatever is set")


def _disk() -> Iterator[Finding]:
    from daskpar.rundir import runs_folder

    folder = runs_folder()
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        yield Finding(
            "fault", f"runs cannot be written to {folder}", "choose another with --runs or DASKPAR_RUNS"
        )
    else:
        yield Finding("good" if free > 1 << 30 else "note", f"runs go to {folder}, {free / 1e9:.1f} GB free")
    with tempfile.NamedTemporaryFile(dir=there if os.access(there, os.W_OK) else None) as file:
        start = time.perf_counter()
        file.write(b"daskpar")
        file.flush()
        os.fsync(file.fileno())
        yield Finding(
            "good",
            f"writing a record through to that disk takes {1e3 * (time.perf_counter() - start):.1f} ms",
        )


def _kernel_cache() -> Iterator[Finding]:
    folder = numba_cache_dir()
    private = Path(tempfile.gettempdir()) not in folder.parents
    yield Finding(
        "good" if private else "note",
        f"compiled kernels are kept in {folder}",
        ""
        if private
        else "the cache folder of your home cannot be written, so they are compiled anew after a reboot",
    )


def _launchers() -> Iterator[Finding]:
    for command, arguments, use in (
        ("sbatch", ["--version"], "Slurm"),
        ("mpiexec", ["--version"], "MPI"),
    ):
        path = shutil.which(command)
        if path is None:
            yield Finding(
                "note", f"{command} is not on the path", f"profiles for {use} cannot start from here"
            )
            continue
        done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=20, check=False)
        words = (done.stdout or done.stderr).strip().splitlines()
        yield Finding(
            "good" if done.returncode == 0 else "note", f"{command}: {words[0] if words else done.returncode}"
        )


def _profile(name: str) -> Iterator[Finding]:
    try:
        profile = load_profile(name)
    except DaskparError as error:
        yield Finding("fault", str(error))
        return
    yield Finding("good", f"profile {name} is of kind {profile.kind}")
    yield from try_profile(profile)
