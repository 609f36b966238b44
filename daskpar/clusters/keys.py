"""TLS for the processes of one cluster: keys made for it, in a folder that only their owner can open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distributed import Security

from daskpar.clusters.worker_jobs import PARTS

if TYPE_CHECKING:
    from daskpar.profile import KeyFiles


def security_of(setting: Literal["temporary"] | KeyFiles, folder: Path) -> Security:
    """Return the TLS of a cluster, as files that workers on other hosts can read.

    Parameters
    ----------
    setting : "temporary" or KeyFiles
        Of the profile.
    folder : Path
        On a disk that the nodes share; made with mode 0700 where keys have to be made. Keys that are there
        already are used again: workers that still wait in a queue were told of them.
    """
    if setting != "temporary":
        return _security({part: str(getattr(setting, part)) for part in PARTS})
    files = {part: str(folder / f"{part}.pem") for part in PARTS}
    if not all(map(os.path.exists, files.values())):
        _make(folder, files)
    return _security(files)


def remove_keys(folder: Path) -> None:
    """Remove the keys of a cluster that has ended."""
    shutil.rmtree(folder, ignore_errors=True)


def tls_environment(security: Security) -> dict[str, str]:
    """Return the variables that tell TLS to processes that get no `Security` object."""
    found = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}
    for role in ("scheduler", "worker", "client"):
        config = security.get_tls_config_for_role(role)
        prefix = "DASK_DISTRIBUTED__COMM__TLS__"
        found[f"{prefix}CA_FILE"] = config["ca_file"]
        found[f"{prefix}{role.upper()}__CERT"] = config["cert"]
        found[f"{prefix}{role.upper()}__KEY"] = config["key"]
    return found


def _make(folder: Path, files: dict[str, str]) -> None:
    remove_keys(folder)
    folder.mkdir(mode=0o700, parents=True)
    made = Security.temporary().get_tls_config_for_role("scheduler")
    for part, path in files.items():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(made[part])


def _security(files: dict[str, str]) -> Security:
    roles = ("scheduler", "worker", "client")
    own = {f"tls_{role}_{part}": files[part] for role in roles for part in ("cert", "key")}
    return Security(tls_ca_file=files["ca_file"], require_encryption=True, **own)
