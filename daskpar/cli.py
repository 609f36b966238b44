"""The command line: each verb parses, calls one function, prints, and exits with the right code."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daskpar import cli_runs, cli_verify, garbage
from daskpar.cli_compare import compare
from daskpar.cli_runs import status_text
from daskpar.dashboard import verbs as watching
from daskpar.errors import DaskparError, UsageError

if TYPE_CHECKING:
    from daskpar.rundir import RunDirectory
    from daskpar.submission import Run

app = typer.Typer(
    name="daskpar",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    help="Run an analysis, written once as a dask graph, on a laptop, a Slurm cluster or under MPI.",
)

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="The recipe, a YAML file.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run: unique prefix of its name, path, or 'last'.")
]
ProfileOption = Annotated[str, typer.Option("--profile", "-p", help="The site: a profile's name or file.")]
OtherProfile = Annotated[str | None, typer.Option("--profile", "-p", help="Another site than before.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe.")
]
OutputOption = Annotated[Path | None, typer.Option("--output", metavar="DIR", help="Folder of the results.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist there.")]
RunsOption = Annotated[Path | None, typer.Option("--runs", metavar="DIR", help="Folder of the runs.")]
AllowOption = Annotated[bool, typer.Option("--allow-code", help="Let the recipe name modules of your own.")]
AsBegunOption = Annotated[
    bool, typer.Option("--as-begun", help="Go on as the run began, though recipe or code changed since.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
FollowOption = Annotated[bool, typer.Option("--follow", help="Stay until a driver that is a job has ended.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", envvar="DASKPAR_DEBUG")]


@app.command()
def init(
    analysis: Annotated[
        str, typer.Argument(metavar="[ANALYSIS]", help="What the recipe is to compute.")
    ] = "image_stats",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; - prints it.")] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a commented starter recipe."""
    from daskpar.analysis import load_analysis
    from daskpar.atomic import write_text
    from daskpar.settings.starter import starter

    found = load_analysis(analysis)
    text = starter(found, found.outputs)
    if output is not None and str(output) == "-":
        typer.echo(text, nl=False)
        return
    path = output or Path(f"{analysis}.yaml")
    write_text(path, text, overwrite)
    typer.echo(f"{path} is ready; next: daskpar run {path}")


@app.command()
def validate(
    recipe: RecipeArgument,
    profile: ProfileOption = "local",
    settings: SetOption = None,
    allow_code: AllowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a recipe and a profile, and show all faults at once."""
    from daskpar.preparation import check

    checked, warnings = check(recipe, profile, settings=settings or (), allow_code=allow_code)
    if as_json:
        typer.echo(json.dumps({"valid": True, "recipe": checked.data(), "warnings": warnings}))
        return
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{recipe} is a valid {checked.analysis} recipe")


@app.command()
def plan(
    recipe: RecipeArgument,
    profile: ProfileOption = "local",
    settings: SetOption = None,
    allow_code: AllowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a run would do: stages, blocks, bytes, memory, disk, time. Starts nothing."""
    from daskpar.planning import plan_recipe

    planned = plan_recipe(recipe, profile, settings=settings or (), allow_code=allow_code)
    typer.echo(json.dumps(planned.data()) if as_json else planned.text())


@app.command()
def run(
    what: Annotated[
        str, typer.Argument(metavar="RECIPE|RUN", help="A recipe to run, or a run to go on with.")
    ],
    profile: OtherProfile = None,
    settings: SetOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    runs: RunsOption = None,
    allow_code: AllowOption = False,
    as_begun: AsBegunOption = False,
    replay: Annotated[
        str | None,
        typer.Option("--replay", metavar="BLOCK", help="Compute one block here, to see why it fails."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a recipe in this process, with a progress bar; or go on with a run."""
    if replay is not None:
        _replay(what, replay, runs)
        return
    if _is_run(what):
        _go_on(_directory(what, runs), profile, settings, as_begun, as_json)
        return
    from daskpar.clusters import early

    early.prepare(Path(what), profile)
    from daskpar.preparation import begin

    prepared = begin(
        Path(what),
        profile or "local",
        settings=settings or (),
        allow_code=allow_code,
        runs=runs,
        output=output,
        overwrite=overwrite,
    )
    from daskpar.driver import drive

    for warning in prepared.warnings:
        typer.echo(f"warning: {warning}", err=True)
    _in_foreground(prepared.run, lambda: drive(prepared), as_json)


@app.command()
def resume(
    run: RunArgument,
    profile: OtherProfile = None,
    settings: SetOption = None,
    runs: RunsOption = None,
    as_begun: AsBegunOption = False,
    follow: FollowOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a run: stored blocks are not computed again; failed items are tried once more."""
    from daskpar.submission import resume_elsewhere

    directory = _directory(run, runs)
    handle = resume_elsewhere(directory, profile, settings=settings or (), as_begun=as_begun)
    if handle is None:
        _go_on(directory, profile, settings, as_begun, as_json)
    else:
        _follow_or_leave(handle, follow or not handle.is_job, as_json)


@app.command()
def submit(
    recipe: RecipeArgument,
    profile: ProfileOption = "local",
    settings: SetOption = None,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    runs: RunsOption = None,
    allow_code: AllowOption = False,
    follow: FollowOption = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return at once; the driver goes on.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the run directory and start the driver where the profile says; follow it unless it is a job."""
    from daskpar.submission import submit as start

    handle = start(
        recipe,
        profile,
        settings=settings or (),
        allow_code=allow_code,
        runs=runs,
        output=output,
        overwrite=overwrite,
    )
    _follow_or_leave(handle, follow or (not detach and not handle.is_job), as_json)


app.command("list")(cli_runs.list_)
for verb in (
    cli_runs.status, cli_runs.logs, cli_runs.cancel, cli_runs.clean, cli_runs.doctor,
    compare, watching.dashboard, watching.report, cli_verify.verify, cli_verify.rerun,
):  # fmt: skip
    app.command()(verb)


def _replay(what: str, block: str, runs: Path | None) -> None:
    from daskpar.preparation import reopen
    from daskpar.replay import replay
    from daskpar.submission import open_run

    partial = replay(reopen(open_run(what, runs).directory), block)
    arrays = partial.items() if hasattr(partial, "items") else [("array", partial)]
    for name, array in arrays:
        typer.echo(
            f"{name}: {array.dtype} {array.shape}" if hasattr(array, "dtype") else f"{name}: {array!r}"
        )


def _directory(run: str, runs: Path | None) -> RunDirectory:
    from daskpar.submission import open_run

    return open_run(run, runs).directory


def _go_on(
    directory: RunDirectory, profile: str | None, settings: list[str] | None, as_begun: bool, as_json: bool
) -> None:
    from daskpar.clusters import early

    if directory.read_state()["state"] != "done":
        early.prepare(directory.path / "recipe.yaml", profile or directory.path / "profile.yaml")
    from daskpar.driver import go_on

    _in_foreground(
        directory, lambda: go_on(directory, profile, settings=settings or (), as_begun=as_begun), as_json
    )


def _follow_or_leave(handle: Run, follow: bool, as_json: bool) -> None:
    """Follow a run to its end, or say how to find it again."""
    from daskpar.progress import shown
    from daskpar.stopping import Terminated, stops_raise

    if not follow:
        found = handle.status()
        told = (
            status_text(found)
            if found["state"] == "done"
            else f"{handle.name} is started; daskpar status {handle.name}"
        )
        typer.echo(json.dumps(found) if as_json else told)
        return
    _mine[:] = [] if handle.is_job else [handle.name]
    try:
        with stops_raise(in_time=False), shown(handle.directory, quiet=as_json):
            status = handle.wait()
    except (KeyboardInterrupt, Terminated) as stop:
        if handle.is_job:
            typer.echo(f"{handle.name} goes on; daskpar cancel {handle.name} ends it", err=True)
        else:
            handle.interrupt(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
        raise
    _report(handle.directory, status, as_json)


#: The run that this command drives, once there is one: it ends with the command, and can be resumed.
_mine: list[str] = []


def _is_run(what: str) -> bool:
    path = Path(what)
    return (path / "run.json").is_file() or not (path.exists() or path.suffix in (".yaml", ".yml"))


def _in_foreground(directory: RunDirectory, work: Callable[[], Any], as_json: bool) -> None:
    from daskpar.progress import shown

    _mine[:] = [directory.name]
    with shown(directory, quiet=as_json):
        work()
    _report(directory, directory.status(), as_json)


def _report(directory: RunDirectory, found: dict[str, Any], as_json: bool) -> None:
    """Print how a run ended; leave with the exit code of its end."""
    typer.echo(
        json.dumps(found) if as_json else status_text(found), err=found["state"] != "done" and not as_json
    )
    if found["state"] != "done":
        raise typer.Exit(int(found.get("exit_code") or 4))


def main() -> None:
    """Entry point of the command ``daskpar``."""
    garbage.sought_rarely()
    code = run_command(sys.argv[1:])
    garbage.sought_no_more()
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    _mine.clear()
    try:
        code = int(app(arguments, standalone_mode=False) or 0)
        return _interrupted(arguments) if code == 130 else code  # what the parser makes of Ctrl-C
    except DaskparError as error:
        _show(error, debug)
        return error.exit_code
    except KeyboardInterrupt:
        return _interrupted(arguments)
    except Exception as error:
        return _unexpected(error, debug)
    except BaseException as error:
        if type(error).__name__ == "OutOfTime":
            typer.echo("the time of this job is over; another one goes on with the run", err=True)
            return 0
        if type(error).__name__ == "Terminated":
            typer.echo(f"terminated{_kept(arguments)}", err=True)
            return 143
        raise


def _interrupted(arguments: list[str]) -> int:
    typer.echo(f"interrupted{_kept(arguments)}", err=True)
    return 130


def _kept(arguments: list[str]) -> str:
    """Say what is kept of a command that was ended from outside, if anything is."""
    if arguments[:1] == ["compare"]:
        return "; what was measured is kept: daskpar report COMPARISON"
    return f"; what was stored is kept, go on with: daskpar resume {_mine[0]}" if _mine else ""


def _unexpected(error: Exception, debug: bool) -> int:
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error of the command line parser
        error.show()
        return UsageError.exit_code
    if isinstance(error, typer.Abort):
        return _interrupted([])
    if debug:
        traceback.print_exc()
    typer.echo(f"error: {type(error).__name__}: {error}; this is a fault of daskpar: see --debug", err=True)
    return 1


def _show(error: DaskparError, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    for fault in error.faults:
        typer.echo(f"error: {fault}", err=True)
