"""The verb ``compare``: parses, calls `daskpar.compare`, writes the report, prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from daskpar.errors import UsageError


def compare(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")],
    versions: Annotated[
        str, typer.Option("--versions", help="Versions to compare, or all; the first is the reference.")
    ] = "dask,multiprocessing,mpi4py",
    workers: Annotated[str, typer.Option("--workers", help="Numbers of workers.")] = "1,2",
    repeats: Annotated[int, typer.Option("--repeats", help="Rounds, each of all versions.")] = 5,
    most_repeats: Annotated[
        int | None, typer.Option("--most-repeats", help="Go on so far, until the intervals are narrow.")
    ] = None,
    weak: Annotated[bool, typer.Option("--weak", help="The problem grows with the workers.")] = False,
    block_sizes: Annotated[
        str, typer.Option("--block-sizes", help="Also dask with blocks so large: gives the cost of a task.")
    ] = "",
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="The site: a profile's name or file.")
    ] = "local",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
    ] = None,
    runs: Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")] = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Let the recipe and versions name modules of your own.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow the batch job; it writes the report.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare dask with versions written by hand: results first, then times; writes a report."""
    from daskpar.comparison.comparing import compare as measure

    found = measure(
        recipe,
        versions.split(","),
        _whole_numbers(workers, "--workers"),
        repeats,
        profile=profile,
        most_repeats=most_repeats,
        weak=weak,
        block_sizes=_whole_numbers(block_sizes, "--block-sizes") if block_sizes else (),
        settings=settings or (),
        allow_code=allow_code,
        runs=runs,
        detach=detach,
        say=lambda line: typer.echo(line, err=True),
    )
    if detach:
        told = {"name": found.folder.name, "path": str(found.folder), "state": "pending"}
        typer.echo(json.dumps(told) if as_json else f"to come: {found.folder / 'report.html'}")
        return
    report = found.report()
    if as_json:
        typer.echo(json.dumps(found.printed()))
        return
    typer.echo("\n".join([*found.conclusion, *(one["text"] for one in found.data["advice"])]))
    typer.echo(f"wrote {report}")


def _whole_numbers(text: str, option: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{text!r} is no list of whole numbers", "write 1,2,4", key=option) from None
