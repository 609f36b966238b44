"""What a result was made from, with what, and where: the record that every output carries.

`provenance` gathers it as plain JSON. The CPU has a part in it: some functions round differently with and
without FMA or AVX-512, so `cpu_kind` names what may change bits, and compiled kernels are cached by it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import math
import os
import platform
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskpar import __version__
from daskpar.settings.cores import available_cores

PACKAGES = ("numpy", "numba", "dask", "distributed", "astropy", "xarray", "scipy")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
# Variables that make numpy, numba or OpenBLAS take other code than the CPU would have them take.
_CPU_VARIABLES = (
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "NUMBA_CPU_NAME",
    "NUMBA_CPU_FEATURES",
    "OPENBLAS_CORETYPE",
)


def provenance(
    recipe_text: str,
    recipe_digest: str,
    code_digests: Mapping[str, str],
    inputs: Any,
    *,
    started: str = "",
    ended: str = "",
    **more: Any,
) -> dict[str, Any]:
    """Gather what is needed to make a result again and to know that it is the same.

    Parameters
    ----------
    recipe_text : str
        The recipe, word for word.
    recipe_digest : str
        SHA-256 of the resolved recipe, in hex.
    code_digests : mapping of str to str
        A digest for each source file or module that took part.
    inputs : mapping or sequence
        The identity of each input: path relative to its root, size, digest, mtime.
    started, ended : str
        ISO 8601, UTC; empty where not known.
    **more
        Further entries, for example ``result_hash``.

    Returns
    -------
    dict
        Of JSON types only.
    """
    made = {
        "recipe": {"text": recipe_text, "digest": recipe_digest},
        "code": code_digests,
        "inputs": inputs,
        "started": started,
        "ended": ended,
        "versions": versions(),
        "host": host(),
        "threads": {name: os.environ.get(name, "") for name in THREAD_VARIABLES},
        **more,
    }
    return {key: jsonable(value) for key, value in made.items()}


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that shape a result; empty where not installed."""
    return {
        "python": platform.python_version(),
        "daskpar": __version__,
        **{package: _version(package) for package in PACKAGES},
    }


def host() -> dict[str, Any]:
    """Describe this machine: name, system, usable cores, CPU model, its features and their `cpu_kind`."""
    return {
        "name": platform.node(),
        "system": platform.platform(),
        "cores": available_cores(),
        "cpu": _cpu_model(),
        "cpu_features": list(_cpu_features()),
        "cpu_kind": cpu_kind(),
    }


def thread_environment(threads: int = 1) -> dict[str, str]:
    """Return the environment variables that hold every library of a process to `threads` threads.

    All backends and all by-hand versions set them: else a comparison compares thread counts.
    """
    return dict.fromkeys(THREAD_VARIABLES, str(threads))


def cpu_kind() -> str:
    """Return twelve hex digits that are equal where numpy, numba and BLAS compute the same bits.

    A digest of the architecture, of the SIMD features that numpy found and of the variables that override
    them. It imports numpy.
    """
    overrides = [f"{name}={os.environ.get(name, '')}" for name in _CPU_VARIABLES]
    parts = [platform.machine(), *_cpu_features(), *overrides]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


@functools.cache
def _cpu_features() -> tuple[str, ...]:
    import numpy as np

    found = np.show_config(mode="dicts")
    simd = found.get("SIMD Extensions", {}) if isinstance(found, dict) else {}
    return tuple(sorted({*simd.get("baseline", ()), *simd.get("found", ())}))


@functools.cache
def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return models[0] if models else platform.machine()


def numba_cache_dir() -> Path:
    """Return, and make, the folder for compiled kernels of these versions on this kind of CPU.

    It lies in the user's cache folder (``XDG_CACHE_HOME``, else ``~/.cache``), or in ``TMPDIR`` where that
    cannot be written. Cached kernels are code: a folder that others could write is not used.
    """
    known = versions()
    key = "-".join([*(known[name] or "none" for name in ("python", "daskpar", "numba", "numpy")), cpu_kind()])
    temporary = Path(tempfile.gettempdir()) / f"daskpar-{os.getuid()}"
    for parent in (*_user_caches(), temporary):
        folder = parent / "numba" / key
        if _private(parent) and _private(parent / "numba") and _private(folder):
            return folder
    return Path(tempfile.mkdtemp(prefix="daskpar-numba-"))


def _user_caches() -> list[Path]:
    named = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~")) / ".cache"
    return [root / "daskpar"] if root.is_absolute() else []


def _private(folder: Path) -> bool:
    """Make a folder if it is missing; true if it is ours, no link, and nobody else may write there."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = os.lstat(folder)
    except OSError:
        return False
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022
    return ours and os.access(folder, os.W_OK | os.X_OK)


def jsonable(value: Any) -> Any:
    """Return `value` as strict JSON types: NaN and infinity become None, what is unknown its ``str``."""
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | bool | int) or value is None:
        return value
    if isinstance(value, set | frozenset):
        return [jsonable(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return jsonable(value.tolist())
    return str(value)
