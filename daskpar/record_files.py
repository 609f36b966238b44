"""Where the records of a ledger go: to the segment of the process that made them, or to a file of their own.

Writing puts a record in place; what it returns, when called, waits until the record is on disk.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from daskpar.atomic import flush_file, flush_folder, replacing

SEGMENT_BYTES = 1 << 28

Place = tuple[Path, int, Callable[[], None]]
"""File and offset of a record, and what returns when it is on disk."""


def write_file(folder: Path, key: str, parts: list[Any]) -> Place:
    """Write a record to a file of its own."""
    path = folder / "files" / key[:2] / f"{key}.rec"
    path.parent.mkdir(parents=True, exist_ok=True)
    # In place before it is on disk: what a power cut leaves of it does not match its checksums.
    with replacing(path, flush=False) as temporary, open(temporary, "wb") as file:
        for part in parts:
            file.write(part)
    return path, 0, functools.partial(flush_record, path)


def flush_record(path: Path) -> None:
    """Have a file reach the disk, and its folders, which another thread may have made a moment ago."""
    flush_file(path)
    for folder in path.parents[1:3]:
        flush_folder(folder)


@dataclass
class _Segment:
    """The append-only file of this process. Threads append under a lock and share fsyncs."""

    path: Path
    descriptor: int
    appending: threading.Lock = field(default_factory=threading.Lock)
    syncing: threading.Lock = field(default_factory=threading.Lock)
    written: int = 0
    synced: int = 0

    def __post_init__(self) -> None:
        # Closed when the last thread that may still append to it has let it go.
        weakref.finalize(self, os.close, self.descriptor)

    def usable(self) -> bool:
        """Whether more may be appended: it is not full, and not removed with the ledger of a finished run."""
        try:
            return self.written <= SEGMENT_BYTES and os.fstat(self.descriptor).st_nlink > 0
        except OSError:
            return False

    def append(self, parts: list[Any]) -> tuple[int, int]:
        """Append a record; return where it begins and ends."""
        with self.appending:
            offset = self.written
            try:
                mine = _write_at(self.descriptor, b"".join(parts), offset)
            except OSError:
                os.ftruncate(self.descriptor, offset)
                raise
            self.written = mine
        return offset, mine

    def reach_disk(self, end: int) -> None:
        """Return when all up to `end` is on disk."""
        with self.syncing:
            if self.synced < end:  # otherwise another thread's fsync has covered it
                reached = self.written
                os.fdatasync(self.descriptor)
                self.synced = reached


def _write_at(descriptor: int, data: bytes, offset: int) -> int:
    """Write all of `data` at `offset`, however many calls that takes; return where it ends."""
    view = memoryview(data)
    while view:
        count: int = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
    return offset


_segments: dict[tuple[int, str], _Segment] = {}
_opening = threading.Lock()


def append(folder: Path, key: str, parts: list[Any]) -> Place:
    """Append a record to this process's segment of the ledger."""
    segment = _segment(folder)
    offset, end = segment.append(parts)
    return segment.path, offset, functools.partial(segment.reach_disk, end)


def _segment(folder: Path) -> _Segment:
    which = (os.getpid(), str(folder))  # with the pid, a forked child does not write into its parent's file
    with _opening:
        segment = _segments.get(which)
        if segment is None or not segment.usable():
            segment = _segments[which] = _open_segment(folder)
        return segment


def _open_segment(folder: Path) -> _Segment:
    path = folder / "segments" / f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:12]}.seg"
    _make_folder(path.parent)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    flush_folder(path.parent)
    return _Segment(path, descriptor)


def _make_folder(folder: Path) -> None:
    """Make a folder of the ledger, so that it is still there after a power cut."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        for parent in folder.parents[:2]:
            flush_folder(parent)


def close(folder: str | Path) -> None:
    """Close this process's segment of a ledger; the next `store` opens another."""
    with _opening:
        _segments.pop((os.getpid(), str(Path(folder))), None)
