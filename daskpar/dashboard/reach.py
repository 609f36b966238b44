"""How to reach a page that listens on the loopback interface of a machine far away."""

from __future__ import annotations

import getpass
import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

from daskpar.rundir import RunDirectory


def ssh_line(port: int, host: str, through: str | None = None) -> str:
    """Return the command that makes a port of a host's loopback the same port here, `through` another."""
    jump = f"-J {through} " if through and through.partition("@")[2] != host else ""
    target = host if jump else f"{_user()}@{host}"
    return f"ssh -N -L {port}:127.0.0.1:{port} {jump}{target}"


def this_host() -> str:
    """Return the name by which others call this machine, as far as it knows."""
    name = socket.gethostname()
    full = socket.getfqdn(name)
    return full if full.startswith(name) and "." in full and "localhost" not in full else name


def jupyter_path(port: int) -> str:
    """Return where jupyter-server-proxy shows a port, below the address of the notebook server."""
    prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX", "/").rstrip("/")
    return f"{prefix}/proxy/{port}/"


def dask_dashboard(run: RunDirectory, state: dict[str, Any]) -> tuple[str, str] | None:
    """Return the link to a live run's dask dashboard, and the ssh line that makes it work elsewhere."""
    link = state.get("dashboard")
    if state.get("state") != "running" or not isinstance(link, str):
        return None
    parts = urlsplit(link)
    if parts.scheme not in ("http", "https") or parts.port is None:
        return None
    driver = driver_host(run) or socket.gethostname()
    here = socket.gethostname()
    if driver == here:
        return link, ssh_line(parts.port, this_host())
    return link, ssh_line(parts.port, driver, f"{_user()}@{this_host()}")


def driver_host(run: RunDirectory) -> str | None:
    """Return the host that a run's driver is on."""
    try:
        return str(json.loads((run.path / "lease.json").read_text())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lines(port: int, path: str = "/") -> list[str]:
    """Return what a user is told when the pages are ready."""
    here = f"http://127.0.0.1:{port}{path}"
    return [
        here,
        f"from another machine: {ssh_line(port, this_host())}",
        f"  then open {here}",
        f"in Jupyter with jupyter-server-proxy: {jupyter_path(port)}{path.lstrip('/')}",
    ]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return str(os.getuid())
