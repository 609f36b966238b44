"""Any files as input: a frozen description of each, checked again before and after a function reads it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from daskpar.errors import Fault, InputError
from daskpar.inputs.file_access import opened
from daskpar.inputs.image_files import first_five


@dataclass(frozen=True)
class FileItem(os.PathLike[str]):
    """A file as it was when the run began.

    Attributes
    ----------
    path : str
        Absolute.
    name : str
        Relative to the root of the input, where it lies below it: what identifies it on any host.
    size, mtime_ns : int
        Its length and modification time.
    """

    path: str
    name: str
    size: int
    mtime_ns: int

    def __fspath__(self) -> str:
        return self.path

    @property
    def identity(self) -> list[str | int]:
        """What says which file it is, for keys."""
        return [self.name, self.size, self.mtime_ns]


def describe_files(paths: Sequence[str], root: str | os.PathLike[str]) -> tuple[FileItem, ...]:
    """Return the description of each file, in order.

    Raises
    ------
    daskpar.errors.InputError
        There are none, or some are missing, unreadable or no regular files; the first five are named.
    """
    if not paths:
        raise InputError("no input files are given", "write names or patterns", key="inputs.files")
    found: list[FileItem] = []
    faults: list[Fault] = []
    for path in paths:
        try:
            with opened(path) as file:
                found.append(FileItem(path, _below(path, os.path.abspath(root)), file.size, file.mtime_ns))
        except InputError as error:
            faults += [Fault(f.what, f.todo, path, "", "inputs.files") for f in error.faults]
    if faults:
        raise InputError(faults=first_five(faults))
    return tuple(found)


@contextmanager
def unchanged(items: Iterable[object]) -> Iterator[None]:
    """Hold that the files among `items` are what they were, before and after the block.

    Raises
    ------
    daskpar.errors.InputError
        One of them is not; it is named.
    """
    files = [item for item in items if isinstance(item, FileItem)]
    _check(files)
    yield
    _check(files)


def _check(files: Sequence[FileItem]) -> None:
    for item in files:
        try:
            status = os.stat(item.path)
        except OSError as error:
            raise InputError(f"cannot be read any more: {error.strerror}", path=item.path) from error
        if (status.st_size, status.st_mtime_ns) != (item.size, item.mtime_ns):
            raise InputError(
                "changed since the run began", "put the file back, or begin a new run", path=item.path
            )


def _below(path: str, root: str) -> str:
    prefix = os.path.join(root, "")
    return path[len(prefix) :] if path.startswith(prefix) else path
