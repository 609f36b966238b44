"""Opening input files safely, and reading bytes of them by offset, plain or gzipped."""

from __future__ import annotations

import errno
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from daskpar.errors import InputError
from daskpar.inputs.fits_header import ReadAt

#: An inflated or decompressed image above this size must not exceed `MAX_RATIO` times its file.
FREE_BYTES = 64 << 20
MAX_RATIO = 100
#: No compressed image may become larger than this, since it is decoded whole.
MAX_DECODED = 8 << 30

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_COMPRESSED = {
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
    b"\x1f\x9d": "compress (.Z)",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x89HDF": "HDF5",
}


class OpenFile(NamedTuple):
    """An open regular file: descriptor, length and modification time."""

    fd: int
    size: int
    mtime_ns: int


@contextmanager
def opened(path: str) -> Iterator[OpenFile]:
    """Open a regular file for reading; never blocks, whatever the path is.

    Raises
    ------
    InputError
        Where it does not exist, is no regular file or may not be read.
    """
    try:
        # Before the open, which would wake a device or wait for the writer of a pipe.
        _regular(os.stat(path).st_mode)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        status = os.fstat(fd)
        _regular(status.st_mode)
        yield OpenFile(fd, status.st_size, status.st_mtime_ns)
    finally:
        os.close(fd)


def _regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no regular file")
        todo = "name the files in it, as in folder/*.fits" if stat.S_ISDIR(mode) else "give a regular file"
        raise InputError(f"this is {kind}, not a file", todo)


def _refused(path: str, error: OSError) -> InputError:
    if error.errno == errno.ENOENT:
        if os.path.islink(path):
            return InputError(f"the link leads nowhere: {os.readlink(path)}", "mend or remove the link")
        return InputError("there is no such file", "was it moved since it was listed?")
    if error.errno == errno.EACCES:
        return InputError("it may not be read", "ask its owner for the permission to read")
    return InputError(f"it cannot be opened: {error.strerror}", "look at the file")


def read_exactly(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill a buffer from an offset; returns the bytes read, fewer only at the end of the file."""
    done = 0
    while done < len(buffer):
        count = os.preadv(fd, [buffer[done:]], offset + done)
        if count == 0:
            break
        done += count
    return done


def is_gzip(file: OpenFile) -> bool:
    """Whether the file is a gzip stream, by its first bytes.

    Raises
    ------
    InputError
        Where it is empty, or of another kind of compression or format that is known and not read.
    """
    magic = os.pread(file.fd, 8, 0)
    if not magic:
        raise InputError("the file is empty", "fetch it again or remove it from the list")
    for start, name in _COMPRESSED.items():
        if magic.startswith(start):
            raise InputError(f"this is a {name} file", "convert it to FITS, plain, .gz or .fz")
    return magic.startswith(b"\x1f\x8b")


@contextmanager
def reader(file: OpenFile, zipped: bool) -> Iterator[ReadAt]:
    """Give a function that reads bytes at an offset of the file, inflated where it is gzipped.

    Raises
    ------
    InputError
        When it is called: where a gzip stream is damaged or cut off, or would inflate beyond the caps.
    """
    if not zipped:
        yield _plain_reader(file)
        return
    with os.fdopen(os.dup(file.fd), "rb") as source, gzip.GzipFile(fileobj=source) as stream:
        yield _gzip_reader(file, stream)


def _plain_reader(file: OpenFile) -> ReadAt:
    def read_at(offset: int, count: int) -> bytes:
        # Offsets that malformed headers lead to may exceed what the system call takes.
        return os.pread(file.fd, count, offset) if offset < file.size else b""

    return read_at


def _gzip_reader(file: OpenFile, stream: gzip.GzipFile) -> ReadAt:
    # Offsets should only grow: going back inflates from the start.
    def read_at(offset: int, count: int) -> bytes:
        check_inflation(offset + count, file.size)
        with gzip_errors():
            stream.seek(offset)
            return stream.read(count)

    return read_at


@contextmanager
def library_errors(what: str, todo: str = "write it again") -> Iterator[None]:
    """Turn any failure of a library that reads a format into one error: a damaged file can break it anywhere.

    Errors of the file system pass unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise InputError(f"{what}: {str(error) or type(error).__name__}", todo) from error


@contextmanager
def gzip_errors() -> Iterator[None]:
    """Turn the errors of `gzip` and `zlib` into an InputError."""
    try:
        yield
    except EOFError:
        raise InputError("the gzip stream is cut off", "fetch the file again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the gzip stream is damaged: {error}", "fetch the file again") from None


def check_inflation(decoded: int, stored: int) -> None:
    """Refuse what would inflate beyond the caps.

    Raises
    ------
    InputError
        Above `MAX_DECODED` bytes, or above both `FREE_BYTES` and `MAX_RATIO` times the file.
    """
    if decoded > MAX_DECODED or decoded > max(FREE_BYTES, MAX_RATIO * stored):
        raise InputError(
            f"{stored / 1e3:,.0f} kB would inflate to {decoded / 1e6:,.0f} MB",
            f"decompress it yourself if you trust it (the limits are {MAX_RATIO} : 1 above "
            f"{FREE_BYTES >> 20} MiB, and {MAX_DECODED >> 30} GiB)",
        )
