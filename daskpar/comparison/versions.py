"""Which versions of an analysis there are, and how long each is."""

from __future__ import annotations

import ast
import difflib
import importlib.util
import io
import tokenize
from collections.abc import Sequence
from pathlib import Path

from daskpar.analysis import Analysis
from daskpar.comparison.child import DASK, DASK_MPI, DASK_THREADS
from daskpar.comparison.launch import Version
from daskpar.errors import AnalysisError, UsageError


def chosen_versions(
    analysis: Analysis, names: Sequence[str], allow_code: bool = False, kind: str = "local"
) -> list[Version]:
    """Return the versions that names mean.

    Parameters
    ----------
    analysis : Analysis
    names : sequence of str
        ``dask``, whose workers are processes; ``dask_threads``, threads of one worker, on a local profile;
        keys of `Analysis.by_hand`; ``all``; or ``name=module:function`` for one of the user's own.
    allow_code : bool
        Whether the last is allowed.
    kind : str
        Of the profile: where it is ``mpi``, dask runs as ranks, too.

    Raises
    ------
    daskpar.errors.UsageError
        There is no such version, one is named twice, or code was not allowed.
    """
    known = {"dask": DASK_MPI if kind == "mpi" else DASK}
    known |= {"dask_threads": DASK_THREADS} if kind == "local" else {}
    known |= analysis.by_hand
    wanted = list(known) if list(names) == ["all"] else list(names)
    found = []
    for name in wanted:
        own, _, target = name.partition("=")
        if target and not allow_code:
            raise UsageError(f"{target!r} is code of your own", "pass --allow-code", key="--versions")
        if not target and name not in known:
            close = difflib.get_close_matches(name, known, 1)
            todo = f"did you mean {close[0]!r}?" if close else f"choose among {', '.join(known)}"
            if not analysis.by_hand:
                todo = "none is written by hand yet: --versions dask,mine=module:function --allow-code"
            raise UsageError(f"{analysis.name} has no version {name!r}", todo, key="--versions")
        found.append(Version(own, target or known[name]))
    if not found or len({version.name for version in found}) < len(found):
        todo = "leave out repetitions"
        raise UsageError("name each version once, and at least one", todo, key="--versions")
    return found


def lines_of_code(version: Version, analysis: Analysis) -> int:
    """Count the lines of a version that hold code: no blank ones, comments or docstrings.

    Of the dask version, its ``with_dask`` module or folder. Kernels and what all versions share do not count.
    """
    module = version.target.partition(":")[0]
    if version.launcher == "dask":
        module = f"{analysis.build.__module__}.with_dask"
    try:
        spec = importlib.util.find_spec(module)
    except ImportError as error:
        raise AnalysisError(f"cannot import {module!r}: {error}", "check its name") from error
    if spec is None or spec.origin is None:
        if version.launcher != "dask":
            raise AnalysisError(f"there is no module {module!r}", "check its name", key="--versions")
        return 0  # a plug-in may keep its builder anywhere
    path = Path(spec.origin)
    files = path.parent.glob("*.py") if path.name == "__init__.py" else [path]
    return sum(len(code_lines(file.read_text())) for file in files)


def code_lines(text: str) -> set[int]:
    """Return the numbers of the lines of a source that hold code."""
    skipped = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENCODING, tokenize.ENDMARKER,
    }  # fmt: skip
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            found |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str):  # a docstring
            found -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return found
