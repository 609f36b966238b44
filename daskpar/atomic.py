"""Files and folders that are absent, or old, or complete, and never anything between.

A writer fills a temporary file in the folder of its target. When that has reached the disk, one rename puts
it in place, and the folder is flushed too: a rename alone can leave an empty file after a power cut.
Errors and signals remove the temporary file. After SIGKILL nobody can; but its name carries host and process
id, so that `sweep` knows it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from daskpar.errors import OutputError, UsageError

_TEMPORARY = re.compile(r"\.daskpar-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.tmp")
_ASIDE = re.compile(r"\.(?P<name>.+)\.daskpar-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{8}\.old", re.DOTALL)
_EXCHANGE = 2  # RENAME_EXCHANGE of linux/fs.h
_CURRENT_FOLDER = -100  # AT_FDCWD of fcntl.h
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


@contextlib.contextmanager
def replacing(
    path: str | os.PathLike[str],
    overwrite: bool = True,
    *,
    size: int | None = None,
    mode: int = 0o666,
    flush: bool = True,
) -> Iterator[Path]:
    """Yield a temporary file that takes the place of `path` when the block ends well.

    Parameters
    ----------
    path : path
        The file to make or replace. A link is replaced, not followed. Its folder must exist.
    overwrite : bool
        If false, a file that exists, also one that appears meanwhile, is left as it is.
    size : int, optional
        Bytes that will be written, where known: only used in messages.
    mode : int
        Permissions before the umask; never wider than those of the file that is replaced.
    flush : bool
        Return when file and name are on disk. Else the caller has to call `flush_file`: until then a power
        cut can leave an incomplete file.

    Yields
    ------
    Path
        An empty file beside `path`, to be opened and filled.

    Raises
    ------
    OutputError
        The disk is full, the folder is gone or may not be written; `path` is as it was.
    UsageError
        `path` exists and `overwrite` is false.
    """
    path = Path(path)
    temporary = path.parent / _temporary_name()
    with output_errors(path, temporary, size), _sigterm_raises():
        _refuse_existing(path, overwrite)
        try:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _permissions(path, mode)))
            yield temporary
            if flush:
                _flush(temporary)
            _place_file(temporary, path, overwrite)
            if flush:
                flush_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str], overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary folder that takes the place of the folder `path` when the block ends well.

    As `replacing`; every file below is flushed. An earlier folder is exchanged in one step where the file
    system can; elsewhere (NFS) it is renamed aside first, and `sweep` puts it back if the process is killed
    between.
    """
    path = Path(path)
    temporary = path.parent / _temporary_name()
    with output_errors(path, temporary), _sigterm_raises():
        _refuse_existing(path, overwrite)
        try:
            temporary.mkdir()
            yield temporary
            _flush_tree(temporary)
            _place_folder(temporary, path, overwrite)
            flush_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(
    path: str | os.PathLike[str], data: bytes, overwrite: bool = True, *, mode: int = 0o666
) -> None:
    """Write a small file as `replacing` does."""
    with replacing(path, overwrite, size=len(data), mode=mode) as temporary, open(temporary, "wb") as stream:
        stream.write(data)


def write_text(path: str | os.PathLike[str], text: str, overwrite: bool = True, *, mode: int = 0o666) -> None:
    """Write a small UTF-8 file as `replacing` does; line ends are written as they are."""
    write_bytes(path, text.encode("utf-8", "surrogateescape"), overwrite, mode=mode)


def sweep(folder: str | os.PathLike[str]) -> list[Path]:
    """Remove what processes of this host that no longer run have left in a folder.

    A folder that had been set aside when its process was killed, with nothing in its place yet, is put back.

    Returns
    -------
    list of Path
        What was removed or put back, sorted.
    """
    swept = []
    for entry in sorted(Path(folder).iterdir()):
        match = _TEMPORARY.fullmatch(entry.name) or _ASIDE.fullmatch(entry.name)
        if match is None or match["host"] != _host() or _runs(int(match["pid"])):
            continue
        name = match.groupdict().get("name")
        if name is not None and not os.path.lexists(entry.with_name(name)):
            os.rename(entry, entry.with_name(name))
        else:
            _remove(entry)
        swept.append(entry)
    return swept


@contextlib.contextmanager
def output_errors(
    path: str | os.PathLike[str], temporary: Path | None = None, size: int | None = None
) -> Iterator[None]:
    """Turn operating system errors of writing `path` into an `OutputError` that names path and bytes.

    An error that names some other file passes unchanged: it belongs to something that was read meanwhile.
    """
    path = Path(path)
    try:
        yield
    except OSError as error:
        ours = [place for place in (path, temporary, path.parent) if place is not None]
        if not _concerns(error, ours):
            raise
        done = _bytes_of(temporary) if temporary is not None else 0
        amount = f"{size} bytes" if size is not None else f"more than {done} bytes"
        reason = error.strerror or str(error) or type(error).__name__
        raise OutputError(
            f"cannot write {amount}: {reason}{_free(path.parent)}", _advice(error), path=path
        ) from error


def _concerns(error: OSError, ours: list[Path]) -> bool:
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return True
    named = Path(os.path.abspath(os.fsdecode(error.filename)))
    places = [Path(os.path.abspath(place)) for place in ours]
    return named in places or any(place in named.parents for place in places[:-1])


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT | errno.EFBIG:
            return "make room or choose another folder; earlier files are intact"
        case errno.ENOENT | errno.ENOTDIR:
            return "make the folder first"
        case _:
            return "check that the folder is there and may be written; earlier files are intact"


def _free(folder: Path) -> str:
    try:
        status = os.statvfs(folder)
    except OSError:
        return ""
    return f" ({status.f_bavail * status.f_frsize} bytes free)"


def _bytes_of(path: Path) -> int:
    sizes = [os.lstat(path).st_size] if path.is_file() else []
    sizes += [os.lstat(os.path.join(top, name)).st_size for top, _, names in os.walk(path) for name in names]
    return sum(sizes)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(path):
        raise UsageError("exists already", "pass --overwrite or choose another folder", path=path)


def _permissions(path: Path, mode: int) -> int:
    try:
        earlier = os.lstat(path).st_mode
    except OSError:
        return mode
    return mode & stat.S_IMODE(earlier) if stat.S_ISREG(earlier) else mode


def _place_file(temporary: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(temporary, path)
        return
    try:
        os.link(temporary, path)  # fails where a file has appeared meanwhile, which a rename would destroy
    except FileExistsError:
        _refuse_existing(path, overwrite)
    except OSError:  # a file system without hard links
        _refuse_existing(path, overwrite)
        os.replace(temporary, path)


def _place_folder(temporary: Path, path: Path, overwrite: bool) -> None:
    _refuse_existing(path, overwrite)
    if not os.path.lexists(path):
        os.rename(temporary, path)
    elif _exchange(temporary, path):
        _remove(temporary)
    else:
        aside = path.parent / f".{path.name}{_temporary_name().removesuffix('.tmp')}.old"
        os.rename(path, aside)
        try:
            os.rename(temporary, path)
        except BaseException:
            os.rename(aside, path)
            raise
        _remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Let two names change places in one step; false where kernel or file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return int(rename(_CURRENT_FOLDER, names[0], _CURRENT_FOLDER, names[1], _EXCHANGE)) == 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_file(path: Path) -> None:
    """Have a file and its name reach the disk."""
    _flush(path)
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    try:
        _flush(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:  # some file systems cannot flush a folder, and need not
            raise


def _flush_tree(folder: Path) -> None:
    for top, _, names in os.walk(folder, topdown=False):
        for name in names:
            _flush(Path(top, name))
        flush_folder(Path(top))


def _temporary_name() -> str:
    return f".daskpar-{_host()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


@functools.cache
def _host() -> str:
    """Eight hex digits for the host and its process table: within them, a process id means one process."""
    try:
        table = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        table = 0
    return hashlib.sha256(f"{socket.gethostname()} {table}".encode()).hexdigest()[:8]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """While a file is written, let SIGTERM raise instead of ending the process without a word.

    Only where nobody else handles it; handlers can be set in the main thread alone.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def leave(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
