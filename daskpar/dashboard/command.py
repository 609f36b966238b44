"""What the verbs `dashboard` and `report` do, before Bokeh is needed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from daskpar.dashboard import reach
from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory, find_run, runs_folder


def dashboard(
    token: str | None, port: int = 0, runs: str | Path | None = None, origins: Sequence[str] = ()
) -> None:
    """Serve the pages until interrupted; say first where they are and how to reach them.

    Raises
    ------
    daskpar.errors.UsageError
        No such run, Bokeh is missing, or the port is in use.
    """
    folder = runs_folder(runs)
    compared = _compared(token, folder, "timings.jsonl") if token is not None else None
    run = find_run(token, folder) if token is not None and compared is None else None
    need_bokeh()
    from daskpar.dashboard.app import make_server, serve

    server = make_server(folder if compared is None else compared.parent, run, port, origins)
    path = f"/run?run={quote(run.name)}" if run is not None else "/"
    path = f"/compare?comparison={quote(compared.name)}" if compared is not None else path
    for line in reach.lines(int(server.port or port), path):
        print(line)
    found = reach.dask_dashboard(run, run.status()) if run is not None else None
    if found is not None:
        print(f"dask dashboard of this run: {found[0]}\n  from another machine: {found[1]}")
    print("Ctrl-C ends the dashboard, not the runs.")
    sys.stdout.flush()
    serve(server)


def need_bokeh() -> None:
    """Refuse where Bokeh is not installed.

    Raises
    ------
    daskpar.errors.UsageError
        With the command that installs it.
    """
    if find_spec("bokeh") is None:
        raise UsageError("Bokeh is not installed here", "pip install bokeh; runs go on without it")


def report(token: str, output: Path | None = None, runs: str | Path | None = None) -> Path:
    """Write the report of a run or comparison; return where it is.

    Raises
    ------
    daskpar.errors.UsageError
        No such run, or Bokeh is missing.
    """
    folder = runs_folder(runs)
    compared = _compared(token, folder, "comparison.json")
    if compared is not None:
        return Path(import_module("daskpar.comparison.report").write_report(compared, output))
    run: RunDirectory = find_run(token, folder)
    need_bokeh()
    from daskpar.dashboard.report import write_report

    return write_report(run, output)


def _compared(token: str, folder: Path, file: str) -> Path | None:
    """Return the folder of a comparison that a user names: by path, or by its name or a prefix of it."""
    for path in (Path(token), folder / token):
        if (path / file).is_file():
            return path.absolute()
    fitting = [path.parent for path in folder.glob(f"compare-*/{file}") if path.parent.name.startswith(token)]
    return fitting[0].absolute() if len(fitting) == 1 else None
