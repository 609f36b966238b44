"""From the patterns of a recipe to absolute paths, in an order that no file system decides."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from daskpar.errors import InputError, RecipeError
from daskpar.settings.checking import advise
from daskpar.settings.grammar import shown

_ROOT = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(?!//)(.*)", re.DOTALL)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HDU = re.compile(r"(.*\.(?:fits?|fts|fz|gz|bz2|xz))(\[[^\[\]/]*\])", re.DOTALL | re.IGNORECASE)


def resolve_inputs(
    patterns: str | Iterable[str],
    base: str | os.PathLike[str],
    roots: Mapping[str, str | os.PathLike[str]] | None = None,
) -> list[str]:
    """Turn the paths and patterns of a recipe into absolute paths.

    Parameters
    ----------
    patterns : str or iterable of str
        Relative to `base`, or ``root:pattern``, or absolute. ``*``, ``?``, ``[...]`` and ``**`` as in `glob`;
        a name that exists as it stands is never a pattern. An HDU at the end, ``m13_*.fits[SCI,2]``, stays at
        the end of each path. ``./`` in front of a name with a colon keeps it from naming a root.
    base : path
        Folder of the recipe.
    roots : mapping of str to path
        Folders by name, from the profile.

    Returns
    -------
    list of str
        In the order of the patterns, those of one pattern in natural order (``m9`` before ``m10``); a path
        found by several patterns stands once. A plain name stands here even if there is no such file.

    Raises
    ------
    RecipeError
        For a root that the profile does not name, or that a pattern leaves.
    InputError
        For a pattern without a match.
    """
    found: dict[str, None] = {}
    alone = isinstance(patterns, str)
    for index, pattern in enumerate([patterns] if isinstance(patterns, str) else patterns):
        key = "inputs.files" if alone else f"inputs.files[{index}]"
        folder, below = _split_root(pattern, os.path.abspath(base), roots or {}, key)
        matches = _matches(folder, below)
        if not matches:
            raise InputError(f"no file matches {shown(pattern)}", f"looked in {folder}", key=key)
        found |= dict.fromkeys(matches)
    return list(found)


def _split_root(
    pattern: str, base: str, roots: Mapping[str, str | os.PathLike[str]], key: str
) -> tuple[str, str]:
    if _ADDRESS.match(pattern):
        raise RecipeError(f"{shown(pattern)} is a remote address", "copy the files to a disk", key=key)
    named = _ROOT.fullmatch(pattern)
    if not named:
        return base, os.path.expanduser(pattern)
    name, rest = named.groups()
    if name not in roots:
        todo = f"{advise(name, roots)}, or add it to roots of the profile; write ./{pattern} for a file"
        raise RecipeError(f"{shown(pattern)} names the unknown root '{name}'", todo, key=key)
    if os.path.isabs(rest) or ".." in Path(rest).parts or not rest:
        raise RecipeError(f"{shown(pattern)} leaves the root", "write a path below it", key=key)
    return os.path.abspath(roots[name]), rest


def _matches(folder: str, pattern: str) -> list[str]:
    whole = os.path.join(folder, pattern)
    with_hdu = _HDU.fullmatch(whole)
    name, hdu = with_hdu.groups() if with_hdu and not os.path.lexists(whole) else (whole, "")
    if os.path.lexists(name) or not glob.has_magic(name[len(folder) :]):
        return [os.path.normpath(name) + hdu]
    relative = os.path.relpath(name, folder) if not os.path.isabs(pattern) else name
    paths = glob.glob(relative, root_dir=folder, recursive=True)
    absolute = [os.path.normpath(os.path.join(folder, path)) for path in paths]
    return [path + hdu for path in sorted(absolute, key=natural_order)]


def natural_order(text: str) -> tuple[list[tuple[int, str]], str]:
    """Key that sorts ``m9`` before ``m10``: runs of ASCII digits compare as numbers, the rest as text."""
    parts = re.split(r"([0-9]+)", text)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)], text
