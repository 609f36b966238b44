"""Where the user's modules are imported from: the folder of one recipe at a time, and as its files are now.

A notebook, or a program that runs two recipes, may find a module of one name in two folders, and a file may
change between two runs. Python would go on with what it imported first.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from daskpar.errors import AnalysisError

_Stamp = tuple[int, int] | None

_NOT_THEIRS = ("__main__", "daskpar")  # though a checkout of daskpar may be the folder

_folders: set[str] = set()  # those that were put first so far
_stamps: dict[str, _Stamp] = {}  # of the file of each of their modules, when it was first seen


def put_first(folder: Path) -> None:
    """Have modules of this folder imported before all others, and forget those that are no longer right.

    Forgotten are modules of this and of earlier such folders, when one of them changed or lies in both.
    """
    path = str(folder.absolute())
    if path in sys.path:
        sys.path.remove(path)
    sys.path.insert(0, path)
    _folders.add(path)
    importlib.invalidate_caches()
    ours = {name: file for name, module in list(sys.modules.items()) if (file := _file_in(module, _folders))}
    if any(_is_stale(name, file, folder) for name, file in ours.items()):
        for name in ours:
            del sys.modules[name]
            _stamps.pop(name, None)
    else:
        _stamps.update({name: _stamp(file) for name, file in ours.items()})


def import_module(name: str) -> Any:
    """Return a module, which must be the one that the folder put first holds, if that holds it.

    Raises
    ------
    daskpar.errors.AnalysisError
        Another module of that name is in use in this process.
    """
    module = importlib.import_module(name)
    if name.partition(".")[0] in _NOT_THEIRS:
        return module
    file = _file_in(module, _folders)
    if file is not None:
        _stamps.setdefault(name, _stamp(file))
        return module
    found = (_in_folder(Path(path), name) for path in sys.path if path in _folders)
    wanted = next(filter(None, found), None)
    used = getattr(module, "__file__", None)
    if wanted is not None and used and wanted.read_bytes() != Path(used).read_bytes():  # a run keeps a copy
        raise AnalysisError(
            f"{name!r} means {wanted} here, but this process already uses {used}",
            "give the module beside the recipe a name of its own",
        )
    return module


def _file_in(module: ModuleType, folders: set[str]) -> Path | None:
    """Return the file of a module that lies in one of some folders, as modules of its name do."""
    file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
    if not file or name.partition(".")[0] in _NOT_THEIRS:
        return None
    path = Path(file)
    depth = name.count(".") + (path.name == "__init__.py")
    return path if len(path.parents) > depth and str(path.parents[depth]) in folders else None


def _is_stale(name: str, file: Path, folder: Path) -> bool:
    here = _in_folder(folder, name)
    return (here is not None and here != file) or _stamps.get(name, _stamp(file)) != _stamp(file)


def _in_folder(folder: Path, name: str) -> Path | None:
    base = folder.absolute().joinpath(*name.split("."))
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def _stamp(file: Path) -> _Stamp:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
