"""Reading a recipe or a profile from disk: bounded, never blocking, with errors that name the file."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches
from pathlib import Path

from daskpar.errors import DaskparError, RecipeError
from daskpar.settings.document import Document
from daskpar.settings.strict_yaml import parse_yaml

MAX_BYTES = 1_000_000


def read_yaml(path: str | os.PathLike[str], error: type[DaskparError] = RecipeError) -> Document:
    """Read a file of strict YAML whose root is a mapping.

    Parameters
    ----------
    path : path
        A regular file of at most 1 MB; its size is known before anything is read, and a FIFO is never
        waited for.
    error : type of DaskparError
        What to raise.

    Raises
    ------
    RecipeError or the given type
        With every fault that can be known, each at its line and column.
    """
    return parse_yaml(_read_text(Path(path), error), str(path), error)


def _read_text(path: Path, error: type[DaskparError]) -> str:
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise error("there is no such file", _neighbour(path), path=path) from None
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else str(problem)
        raise error(
            f"cannot be read ({reason})", "check the path and its permissions", path=path
        ) from problem
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise error(f"is {kind}", "name a YAML file", path=path)
        if status.st_size > MAX_BYTES:
            size = f"is {status.st_size / 1e6:.1f} MB, above the limit of {MAX_BYTES / 1e6:g} MB"
            raise error(
                size, "use patterns such as data/*.fits instead of long lists", path=path, place="1:1"
            )
        with os.fdopen(os.dup(handle), "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise error(f"cannot be read ({problem.strerror})", "check the file", path=path) from problem
    finally:
        os.close(handle)
    return _decode(raw, path, error)


def _neighbour(path: Path) -> str:
    if path.is_symlink():
        return "a link to nothing stands there"
    try:
        names = [name for name in os.listdir(path.parent) if name.endswith((".yaml", ".yml"))][:1000]
    except OSError:
        return f"there is no folder {path.parent} either"
    close = get_close_matches(path.name, names, n=1)
    if close:
        return f"did you mean '{path.with_name(close[0])}'?"
    return "check the path"


def _decode(raw: bytes, path: Path, error: type[DaskparError]) -> str:
    if raw.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        todo = "save it as UTF-8 without byte-order mark"
        raise error("begins with a byte-order mark", todo, path=path, place="1:1")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        before = raw[: problem.start]
        line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
        column = len(before[start:].decode("utf-8")) + 1
        what = f"is not UTF-8 text (byte 0x{raw[problem.start]:02x})"
        raise error(what, "save it as UTF-8", path=path, place=f"{line}:{column}") from None
