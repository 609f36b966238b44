"""The verbs `dashboard` and `report` of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run or a comparison: prefix of its name, path, or 'last'.")
]
First = Annotated[str | None, typer.Argument(metavar="[RUN]", help="The run to show first.")]
Runs = Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any that is free.")]
Origin = Annotated[
    list[str] | None,
    typer.Option("--origin", metavar="HOST[:PORT]", help="Where browsers reach it through a proxy."),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; default: RUN/report.html.")
]


def dashboard(run: First = None, port: Port = 0, runs: Runs = None, origin: Origin = None) -> None:
    """Serve live pages of runs and comparisons on this machine's loopback interface."""
    from daskpar.dashboard.command import dashboard as show

    show(run, port, runs, origin or ())


def report(run: Run = "last", output: Output = None, runs: Runs = None) -> None:
    """Write one HTML file about a run or a comparison, which needs no network."""
    from daskpar.dashboard.command import report as write

    typer.echo(str(write(run, output, runs)))
