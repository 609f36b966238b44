"""The verbs that look after runs: status, logs, list, cancel, clean; and doctor, which looks after sites."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: unique prefix of its name, path, or 'last'.")
]
RunsOption = Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def status(
    run: RunArgument = "last",
    runs: RunsOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show the progress until the run ends.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how far a run is."""
    from daskpar.submission import open_run

    handle = open_run(run, runs)
    if watch:
        from daskpar.progress import shown

        with shown(handle.directory, quiet=as_json):
            handle.wait()
    found = handle.status()
    typer.echo(json.dumps(found) if as_json else status_text(found))


def logs(
    run: RunArgument = "last",
    runs: RunsOption = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
) -> None:
    """Print the logs of driver and workers, and what failed."""
    from daskpar.rundir import ENDED
    from daskpar.submission import open_run, read_logs

    handle = open_run(run, runs)
    offsets: dict[str, int] = {}
    while True:
        ended = handle.status()["state"] in ENDED
        for name, text in read_logs(handle.directory, offsets):
            typer.echo("".join(f"{name}: {line}\n" for line in text.splitlines()), nl=False)
        if ended or not follow:
            break
        time.sleep(0.5)
    for event, _ in handle.directory.events():
        if event["event"] in ("failed", "damaged", "warning"):
            typer.echo(f"{event['time']} {event['event']} {event.get('label', '')}: {event['message']}")


def list_(runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the runs, with state, progress and size."""
    from daskpar.rundir import folder_bytes
    from daskpar.submission import all_runs

    found = [{**run.status(), "bytes": folder_bytes(run.directory.path)} for run in all_runs(runs)]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for run in found:
        done = f"{run['blocks_done']}/{run['blocks_total']}"
        typer.echo(f"{run['name']:<48} {run['state']:<12} {done:>13} blocks {run['bytes'] / 1e6:>10.1f} MB")
    if not found:
        typer.echo("no runs yet")


def cancel(run: RunArgument, runs: RunsOption = None, as_json: JsonOption = False) -> None:
    """Stop a run; what it has stored is kept."""
    from daskpar.submission import open_run

    found = open_run(run, runs).cancel()
    typer.echo(json.dumps(found) if as_json else status_text(found))


def clean(
    run: RunArgument,
    runs: RunsOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove the run with its results.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove the stored blocks and scratch files of a finished run; its results stay."""
    from daskpar.submission import clean as remove
    from daskpar.submission import open_run

    directory = open_run(run, runs).directory
    freed = remove(directory, everything)
    typer.echo(
        json.dumps({"name": directory.name, "bytes_freed": freed})
        if as_json
        else f"{freed / 1e6:.1f} MB freed"
    )


def doctor(
    profile: Annotated[
        str, typer.Option("--profile", "-p", help="The site: a profile's name or file.")
    ] = "local",
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Write a profile to start from, and no more."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that exists there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what works here, and what to do about what does not; workers of the profile are tried for real."""
    from daskpar.doctor import examine

    if write is not None:
        from daskpar.atomic import write_text
        from daskpar.trial import starting_profile

        write_text(write, starting_profile(), overwrite)
        typer.echo(f"{write} is ready; next: daskpar doctor -p {write}")
        return
    findings = examine(profile)
    if as_json:
        typer.echo(json.dumps([finding.data() for finding in findings]))
    else:
        for finding in findings:
            typer.echo(finding.text())
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(1)


def status_text(found: dict[str, Any]) -> str:
    """Return a status as lines for people."""
    lines = [f"{found['name']}: {found['state']}, {found['blocks_done']} of {found['blocks_total']} blocks"]
    queue = found.get("queue") or {}
    if queue.get("job"):
        lines.append(f"the driver is job {queue['job']}: {queue['state']}, {queue['reason']}")
    elif queue.get("pending"):
        lines.append(
            f"{queue['pending']} worker jobs wait in the queue: {queue['reason'] or 'no reason given'}"
        )
    if found.get("error"):
        lines.append(f"error: {found['error']}")
    lines += [f"warning: {warning}" for warning in found.get("warnings", ())]
    if found["state"] in ("interrupted", "failed", "cancelled"):
        lines.append(f"nothing stored is lost; go on with: daskpar resume {found['name']}")
    if found.get("dashboard") and found["state"] == "running":
        lines.append(f"dashboard: {found['dashboard']}")
    lines += [f"wrote {path}" for path in found.get("outputs", ())]
    if found["state"] == "done":
        lines.append(f"result hash {found['result_hash']}")
    return "\n".join(lines)
