"""The verbs ``verify`` and ``rerun`` of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from daskpar.errors import printable

if TYPE_CHECKING:
    from daskpar.verification import Finding

RunsOption = Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")]
FolderOption = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="What relative inputs refer to.")
]
AllowOption = Annotated[bool, typer.Option("--allow-code", help="Let the recipe name modules of your own.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def verify(
    what: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A run, or an output file.")],
    runs: RunsOption = None,
    folder: FolderOption = None,
    allow_code: AllowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check stored blocks, result, outputs and inputs against what was written down of them."""
    from daskpar.verification import verify as look

    _show(what, look(what, runs, folder=folder, allow_code=allow_code), as_json)


def rerun(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An output of daskpar.")],
    compare: Annotated[bool, typer.Option("--verify", help="Compare the bits with those of FILE.")] = False,
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="The site: a profile's name or file.")
    ] = "local",
    runs: RunsOption = None,
    folder: FolderOption = None,
    allow_code: AllowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make an output again, from the recipe that it carries."""
    from daskpar.progress import shown
    from daskpar.rebuilding import prepare_again, rebuild

    again = prepare_again(file, profile, folder=folder, runs=runs, allow_code=allow_code, verify=compare)
    with shown(again.prepared.run, quiet=as_json):
        findings = rebuild(again, compare)
    _show(str(file), findings, as_json, again.prepared.run.name)


def _show(what: str, findings: list[Finding], as_json: bool, run: str = "") -> None:
    """Print findings; leave with the exit code of the worst."""
    from daskpar.verification import exit_code

    code = exit_code(findings)
    if as_json:
        told = {"what": what, "ok": not code, "findings": [one.data() for one in findings]}
        typer.echo(json.dumps({**told, "run": run} if run else told))
    else:
        lines = [printable(one.text()) for one in findings]
        typer.echo("\n".join([*lines, *([f"made again in {run}"] if run else [])]))
    if code:
        raise typer.Exit(code)
