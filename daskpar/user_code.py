"""The code behind a run: the user's is imported only when allowed, checked, and copied into the run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskpar.analysis import Analysis, load_code
from daskpar.atomic import write_bytes
from daskpar.durable import code_files
from daskpar.errors import AnalysisError, RecipeError
from daskpar.rundir import RunDirectory


def code_of(analysis: Analysis, options: Any) -> dict[str, Path]:
    """Return the source files behind a run: those of the analysis, and of functions that its options name."""
    found = dict(code_files(analysis.build))
    for target in _named_code(analysis, options):
        found.update(code_files(load_code(target)))
    return found


def _named_code(analysis: Analysis, options: Any) -> list[str]:
    return analysis.code(options) if analysis.code is not None else []


def refuse_code(analysis: Analysis, options: Any, allow_code: bool) -> None:
    """Refuse functions that the options name if they were not allowed, or cannot be called as they will be.

    Raises
    ------
    daskpar.errors.RecipeError
        They do not ship with daskpar, and the user has not allowed them.
    daskpar.errors.AnalysisError
        They cannot be imported, or called with what they will be called with.
    """
    wanted = analysis.code_arguments
    for target in _named_code(analysis, options):
        if not allow_code and not target.startswith("daskpar."):
            raise RecipeError(
                f"{target!r} is code that does not ship with daskpar",
                "pass --allow-code if you trust this module",
                key="options.function",
            )
        function = load_code(target)
        if not callable(function):
            raise AnalysisError(f"{target!r} is not a function", "name a function", key="options.function")
        check_signature(function, wanted(options) if callable(wanted) else wanted, target, "options.function")


def copy_code(run: RunDirectory, code: Mapping[str, Path]) -> None:
    """Copy the user's modules into the run, from where driver and workers import them."""
    for name, file in code.items():
        if name.partition(".")[0] == "daskpar":
            continue
        parts = name.split(".") if file.name != "__init__.py" else [*name.split("."), "__init__"]
        target = run.code.joinpath(*parts).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, file.read_bytes())


def check_signature(function: Any, arguments: int, target: str, key: str) -> None:
    """Refuse a function that cannot be called with so many arguments."""
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError as error:
        raise AnalysisError(
            f"{target!r} is called with {arguments} argument(s): {error}", "change its signature", key=key
        ) from error
    except ValueError:
        return  # compiled code that does not say what it takes
