"""From what a user writes (globs, lists, ``file.fits[SCI,2]``) to an ordered list of files and HDUs."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import NamedTuple

from daskpar.errors import Fault, InputError
from daskpar.inputs.fits_file import Selector

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_SELECTED = re.compile(r"(?s)(?P<path>.+\.(?:fits?|fts|fz|gz))\[(?P<hdu>[^\[\]]+)\]", re.IGNORECASE)


class Source(NamedTuple):
    """A file, relative to the root where it lies below it, and the HDU written behind it (None: not said)."""

    path: str
    selector: Selector | None


def parse_selector(text: str | int | Sequence[str | int]) -> Selector:
    """Read an HDU as users write it: ``1``, ``"1"``, ``"SCI"``, ``"SCI,2"``, ``("SCI", 2)``.

    Raises
    ------
    InputError
        Where it is none of these.
    """
    if isinstance(text, Integral) and not isinstance(text, bool) and int(text) >= 0:
        return int(text)
    parts = [part.strip() for part in text.split(",")] if isinstance(text, str) else text
    if isinstance(parts, Sequence) and 1 <= len(parts) <= 2 and parts[0] != "":
        name, version = parts[0], parts[1] if len(parts) == 2 else None
        if version is None and str(name).isdecimal():
            return int(name)
        if isinstance(name, str) and version is None:
            return name
        if isinstance(name, str) and str(version).isdecimal():
            return name, int(str(version))
    raise InputError(f"{text!r} names no HDU", 'write a number, "NAME" or "NAME,version"', key="hdu")


def natural(text: str) -> list[int | str]:
    """Return a sort key under which ``m2`` precedes ``m10``."""
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


def expand(files: Files, root: str, repeats: bool = False) -> list[Source]:
    """List the files that a user means.

    Parameters
    ----------
    files : str, path or sequence of them
        Names and globs (``**`` too), relative to ``root``, each with an HDU behind it if wanted. A name that
        exists is taken literally even if it contains ``*`` or ``[``.
    root : str
        An absolute folder.
    repeats : bool
        Whether one HDU may be listed twice.

    Returns
    -------
    list of Source
        In the order written; within a glob in natural order (``m2`` before ``m10``).

    Raises
    ------
    InputError
        Where a name or a glob matches nothing, nothing is given, or one HDU is listed twice
        although `repeats` is False.
    """
    written = [files] if isinstance(files, str | os.PathLike) else list(files)
    sources: list[Source] = []
    faults: list[Fault] = []
    for one in written:
        try:
            sources.extend(_expand_one(one, root))
        except InputError as error:
            faults.extend(error.faults)
    if not faults and not repeats:
        faults = _repeated(sources)
    if faults:
        raise InputError(faults=first_five(faults))
    if not sources:
        raise InputError("no input files are given", "write names or globs", key="files")
    return sources


def _expand_one(written: str | os.PathLike[str], root: str) -> Iterable[Source]:
    text = os.path.expanduser(os.fspath(written))
    selector: Selector | None = None
    if "\0" in text or not text:
        raise InputError("this is no file name", "write names or globs", path=text, key="files")
    if os.path.lexists(os.path.join(root, text)):
        return [Source(_relative(text, root), None)]
    if match := _SELECTED.fullmatch(text):
        text, selector = match["path"], parse_selector(match["hdu"])
        if os.path.lexists(os.path.join(root, text)):
            return [Source(_relative(text, root), selector)]
    if isinstance(written, str) and glob.has_magic(text):
        found = glob.glob(text, root_dir=root, recursive=True)
        if found:
            return [Source(_relative(path, root), selector) for path in sorted(found, key=natural)]
        raise InputError("no file matches", f"look into {root}", path=text, key="files")
    raise InputError("there is no such file", f"look into {root}", path=text, key="files")


def _relative(path: str, root: str) -> str:
    """Return a path relative to the root where it lies below it, so that a moved root keeps its results."""
    full = os.path.normpath(os.path.join(root, path))
    below = os.path.join(root, "")
    return full[len(below) :] if full.startswith(below) else full


def _repeated(sources: Iterable[Source]) -> list[Fault]:
    counts = Counter(sources)
    todo = "list each frame once: a repeated frame counts twice in every statistic"
    return [
        Fault(f"listed {count} times", todo, path=source.path, key="files")
        for source, count in counts.items()
        if count > 1
    ]


def first_five(faults: Sequence[Fault]) -> list[Fault]:
    """Keep the first five faults and say how many more there are."""
    more = len(faults) - 5
    return [*faults[:5], *([Fault(f"and {more} more like these")] if more > 0 else [])]
