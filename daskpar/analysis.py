"""What an analysis is: a frozen record of functions. Only `build` is required.

    from daskpar.analysis import Analysis

    def build(inputs, options):
        ...                              # a lazy xarray.Dataset over dask
    ANALYSIS = Analysis(build=build)

A recipe names it as ``analysis: mylab.flats:ANALYSIS``. Analyses that ship are named by one word; installed
packages add theirs through the entry-point group ``daskpar.analyses``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from daskpar.errors import AnalysisError, RecipeError
from daskpar.user_modules import import_module

Bits = Literal["everywhere", "per_cpu"]

BUILT_IN: dict[str, str] = {
    "image_stats": "daskpar.analyses.image_stats:ANALYSIS",
    "map": "daskpar.analyses.map:ANALYSIS",
    "monte_carlo": "daskpar.analyses.monte_carlo:ANALYSIS",
    "pair_counts": "daskpar.analyses.pair_counts:ANALYSIS",
}


@dataclass(frozen=True)
class Where:
    """Where a run finds its input and may keep what it makes itself.

    Attributes
    ----------
    root : Path
        The folder that relative input paths refer to: the recipe's.
    resolve : callable
        ``resolve(patterns)`` gives the absolute paths or patterns that a recipe's ``files`` mean, roots
        replaced.
    scratch : Path
        A folder of the run, for generated input; kept until ``daskpar clean``.
    """

    root: Path
    resolve: Callable[[Any], list[str]]
    scratch: Path


@dataclass(frozen=True)
class Analysis:
    """An analysis as a record of functions.

    Attributes
    ----------
    build : callable
        ``build(inputs, options)`` returns the lazy result: an `xarray.Dataset` over dask, or a `Delayed` that
        gives one where the variables are not known beforehand; or it is a generator of `Stage`.
        It reads no pixel and no row, and computes nothing.
    name : str
        The name in recipes; filled in on loading for analyses given as ``module:attribute``.
    options : type of pydantic.BaseModel, optional
        Model of the recipe's ``options``; `build` gets an instance. Without it there are none, and `build`
        gets None.
    inputs : type of pydantic.BaseModel, optional
        Model of the recipe's ``inputs``; it adds its keys to ``files``, ``synthetic`` and ``grid``, or
        replaces them if it names one of these.
    open_inputs : callable, optional
        ``open_inputs(inputs, where)`` turns validated inputs into the frozen record that `build` gets,
        reading headers only; `inputs` is the validated mapping and `where` a `Where` that finds files and
        offers scratch space. Without it, `build` gets the sorted list of paths.
    identity : callable, optional
        ``identity(record)`` gives a JSON-like value that says which input it is (see the block contract).
        Without it, path, size and modification time of each file.
    more : callable, optional
        ``more(options, dataset)`` tells ``daskpar resume`` on a finished run whether there is more to do:
        options for another round, or None.
    outputs : tuple of str
        Output files that a starter recipe names.
    select : mapping of str to callable
        For an output file with that stem, the part of the result it shows.
    plot : callable, optional
        ``plot(dataset, figure)`` draws the result on a matplotlib figure for ``.png`` outputs.
    preview : callable, optional
        ``preview(partial)`` gives at most 4 kB of JSON for the receipt of a block, for watchers.
    panel : callable or str, optional
        ``panel(receipts, state)`` gives the plots of the dashboard's Science page from receipts that are new,
        keeping in `state` what it made of earlier ones; or where it is found, as ``module:function``. See
        `daskpar.dashboard.science`.
    cost : callable, optional
        ``cost(record, options)`` gives what ``daskpar plan`` shows: opens, bytes, the memory of a task,
        seconds of one core; keys end in ``_bytes`` or ``_seconds``. A ``task_memory_bytes`` above what a
        worker has is refused.
    measured : callable, optional
        ``measured(record, options)`` adds, for ``daskpar plan`` alone, what only the input itself tells; it
        may read for some seconds.
    code : callable, optional
        ``code(options)`` lists the ``module:function`` names in the options. They are the user's code:
        imported only when allowed, copied into the run, and part of what must not change.
    code_arguments : int or callable
        How many arguments those functions are called with; ``code_arguments(options)`` where it depends.
    warnings : callable, optional
        ``warnings(record, options)`` lists what is odd but allowed; shown by ``daskpar validate`` and
        ``run``.
    by_hand : mapping of str to str
        The versions without dask, as ``module:function``, by name.
    bits : {"everywhere", "per_cpu"} or callable
        Whether results are the same bits on every kind of CPU, or only on CPUs of one kind; ``bits(options)``
        where it depends. Where per CPU, records carry the kind of CPU, a run that goes on with another kind
        says so, and results agree by tolerance.
    extended : callable, optional
        ``extended(before, after)`` gives options to add when ``daskpar resume --set`` changes those of a run
        from `before` to `after`: what keeps the blocks that are stored in use.
    replay : callable, optional
        ``replay(record, options, name)`` gives a function without arguments that computes what ``daskpar run
        RUN --replay NAME`` names in the analysis' own words, such as the number of a batch; else None.
    """

    build: Callable[[Any, Any], Any]
    name: str = ""
    options: type[BaseModel] | None = None
    inputs: type[BaseModel] | None = None
    open_inputs: Callable[[Any, Any], Any] | None = None
    identity: Callable[[Any], Any] | None = None
    more: Callable[[Any, Any], Any] | None = None
    outputs: tuple[str, ...] = ()
    select: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict)
    plot: Callable[[Any, Any], None] | None = None
    preview: Callable[[Any], Any] | None = None
    panel: Callable[[Any, dict[str, Any]], Any] | str | None = None
    cost: Callable[[Any, Any], Any] | None = None
    measured: Callable[[Any, Any], Mapping[str, Any]] | None = None
    code: Callable[[Any], list[str]] | None = None
    code_arguments: int | Callable[[Any], int] = 1
    warnings: Callable[[Any, Any], list[str]] | None = None
    by_hand: Mapping[str, str] = field(default_factory=dict)
    bits: Bits | Callable[[Any], Bits] = "everywhere"
    extended: Callable[[Any, Any], Mapping[str, Any]] | None = None
    replay: Callable[[Any, Any, str], Callable[[], Any] | None] | None = None

    def bits_of(self, options: Any) -> Bits:
        """Return whether results with these options are the same bits on every kind of CPU."""
        return self.bits(options) if callable(self.bits) else self.bits


def analysis_names() -> list[str]:
    """Return the names that a recipe may use: built-in and installed analyses."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group="daskpar.analyses"))})


def load_analysis(name: str, allow_code: bool = False) -> Analysis:
    """Return the analysis that a recipe names.

    Parameters
    ----------
    name : str
        A built-in or installed name, or ``module:attribute``.
    allow_code : bool
        Whether a ``module:attribute`` may be imported. A recipe is data; the user allows its code, not the
        recipe.

    Raises
    ------
    daskpar.errors.RecipeError
        No such name, or code that was not allowed.
    daskpar.errors.AnalysisError
        It cannot be imported, or is not an `Analysis`.
    """
    where = dict(BUILT_IN)
    for point in entry_points(group="daskpar.analyses"):
        if point.name in where:
            raise AnalysisError(
                f"two analyses are named {point.name!r}: {where[point.name]} and {point.value}",
                "uninstall or rename one of them",
            )
        where[point.name] = point.value
    if name in where:
        return replace(_import(where[name]), name=name)
    if ":" not in name:
        close = difflib.get_close_matches(name, where, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose one of {', '.join(sorted(where))}"
        raise RecipeError(f"there is no analysis {name!r}", hint, key="analysis")
    if not allow_code:
        raise RecipeError(
            f"{name!r} is code that does not ship with daskpar",
            "pass --allow-code if you trust this module",
            key="analysis",
        )
    return replace(_import(name), name=name)


def _import(target: str) -> Analysis:
    value = load_code(target, "analysis")
    if not isinstance(value, Analysis):
        raise AnalysisError(
            f"{target!r} is a {type(value).__name__}, not a daskpar.analysis.Analysis",
            "make it Analysis(build=...)",
            key="analysis",
        )
    return value


def load_code(target: str, key: str = "options.function") -> Any:
    """Return what ``module:attribute`` names.

    Raises
    ------
    daskpar.errors.AnalysisError
        It cannot be imported; `key` says where the recipe named it.
    """
    module, _, attribute = target.partition(":")
    try:
        value = import_module(module)
        for part in attribute.split("."):
            value = getattr(value, part)
    except AnalysisError as error:
        fault = error.faults[0]
        raise AnalysisError(fault.what, fault.todo, key=key) from error
    except Exception as error:
        raise AnalysisError(
            f"cannot import {target!r}: {type(error).__name__}: {error}",
            "check that the module lies beside the recipe or is installed here",
            key=key,
        ) from error
    return value
