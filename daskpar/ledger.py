"""The ledger: the stored partials of a run, on a disk that driver and workers share.

A *record* is one partial, a dict of arrays, with the key that says what it is and a checksum of every byte::

    magic 8 | key 20 | header length u32 | payload length u64 | digest 32 | header | payload

The header is JSON: name, dtype, shape, offset and SHA-256 of each array, and the kind of CPU where the bits
depend on it; the payload holds the arrays in C
order, little-endian. The digest seals all before it and the header, and through it the arrays, so one array
can be read and checked alone.

Records below `SMALL` bytes are appended to the *segment* of the worker process that made them, an append-only
file; larger ones are files of their own. Both are on disk (fsync) before `store` returns. Nothing is ever
changed in place: a torn tail after a crash is skipped, a damaged record is reported and computed again.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from daskpar.errors import OutputError
from daskpar.record_files import append, flush_record, write_file

MAGIC = b"daskpar1"
SMALL = 1 << 20
_FIXED = struct.Struct("<8s20sIQ")
_DIGEST = 32
_START = _FIXED.size + _DIGEST
_HEADER_LIMIT = 1 << 24

Partial = Mapping[str, NDArray[Any]]


class DamagedRecord(Exception):
    """A stored record does not match its checksums, or is cut short."""


@dataclass(frozen=True, slots=True)
class Stored(Mapping[str, NDArray[Any]]):
    """A stored partial, read array by array when asked for. Small, picklable, holds no open file.

    Attributes
    ----------
    path : str
        The file that holds the record.
    offset : int
        Where in the file it begins.
    length : int
        Its bytes.
    key, digest : str
        What it is, and the SHA-256 that seals it, in hexadecimal.
    """

    path: str
    offset: int
    length: int
    key: str
    digest: str

    def __post_init__(self) -> None:
        # Many records, few files; and a key that others hold, too.
        for name in ("path", "key"):
            object.__setattr__(self, name, sys.intern(getattr(self, name)))

    def __reduce__(self) -> tuple[Any, ...]:
        return Stored, (self.path, self.offset, self.length, self.key, self.digest)

    @contextmanager
    def _opened(self) -> Iterator[tuple[BinaryIO, bytes]]:
        # Nothing is kept of it: a driver holds the handles of 50 000 records.
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            yield file, _read_header(file, self)[0]

    @property
    def _layout(self) -> dict[str, Any]:
        with self._opened() as (_, header):
            return _layout(header)

    @property
    def cpu(self) -> str:
        """The kind of CPU that computed it, where its bits depend on that; else empty."""
        with self._opened() as (_, header):
            return str(json.loads(header)["cpu"])

    def __getitem__(self, name: str) -> NDArray[Any]:
        with self._opened() as (file, header):
            entry = _layout(header)[name]
            file.seek(self.offset + entry["offset"])
            return _read_array(file, entry, self.path, self.offset)

    def some(self, names: Iterable[str] | None = None) -> dict[str, NDArray[Any]]:
        """Return the arrays of these names that there are, or all, with one opening of the file."""
        with self._opened() as (file, header):
            layout, found = _layout(header), {}
            for name in layout if names is None else names:
                if name in layout:
                    file.seek(self.offset + layout[name]["offset"])
                    found[name] = _read_array(file, layout[name], self.path, self.offset)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __len__(self) -> int:
        return len(self._layout)

    def verify(self) -> None:
        """Read the whole record; raise `DamagedRecord` unless every checksum holds."""
        with self._opened() as (file, header):
            for entry in _layout(header).values():
                file.seek(self.offset + entry["offset"])
                _read_array(file, entry, self.path, self.offset)


def store(
    folder: str | Path,
    key: str,
    partial: Partial,
    cpu: str = "",
    waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Stored:
    """Write a partial into the ledger at `folder`, durably, and return its handle.

    Parameters
    ----------
    folder : path
        The ledger.
    key : str
        What the partial is.
    partial : mapping of str to array
        What to store.
    cpu : str
        The kind of CPU that computed it, where its bits depend on that.
    waiting : callable
        Makes the context in which this thread waits for the disk. When it is entered, the record is in place:
        whoever dies then leaves it behind, unless the machine dies, too.

    Raises
    ------
    daskpar.errors.OutputError
        When the disk is full or the folder cannot be written. Nothing half-written stays behind.
    """
    head, arrays, digest = _encode(key, partial, cpu)
    length = len(head) + sum(a.nbytes for a in arrays)
    place = append if length < SMALL else write_file
    try:
        path, offset, reach_disk = place(Path(folder), key, [head, *(_bytes(a) for a in arrays)])
        with waiting():
            reach_disk()
    except OSError as error:
        raise OutputError(
            f"cannot store a block of {length} bytes: {error.strerror or error}",
            "free some space or choose another --runs folder, then resume the run",
            path=folder,
        ) from error
    return Stored(str(path), offset, length, key, digest)


def scan(folder: str | Path) -> tuple[dict[str, Stored], list[str]]:
    """Read the whole ledger; return the records that verify, by key, and a line for each damaged one.

    The line names the file and place. A tail torn by a crash is not damage: it is skipped silently.
    """
    found: dict[str, Stored] = {}
    damage: list[str] = []
    for path in sorted(Path(folder).glob("segments/*.seg")) + sorted(Path(folder).glob("files/*/*.rec")):
        for record in _records(path, damage):
            try:
                record.verify()
                found.setdefault(record.key, record)
            except (DamagedRecord, OSError) as error:
                damage.append(f"{path.name} at byte {record.offset}: {error}")
    return found, damage


def find(folder: str | Path, key: str) -> Stored | None:
    """Look through the whole ledger for the record of one key; None if it is not there, or only damaged."""
    folder = Path(folder)
    for path in [folder / "files" / key[:2] / f"{key}.rec", *sorted(folder.glob("segments/*.seg"))]:
        try:
            for record in _records(path, []):
                if record.key == key and _verifies(record):
                    return record
        except OSError:
            continue
    return None


def reach_disk(record: Stored) -> None:
    """Return when a record that another process has written is on disk."""
    flush_record(Path(record.path))


def remove(record: Stored) -> bool:
    """Remove a record that has a file of its own, and return whether it has; small ones share theirs."""
    if not record.path.endswith(".rec"):
        return False
    Path(record.path).unlink(missing_ok=True)
    return True


def _verifies(record: Stored) -> bool:
    try:
        record.verify()
    except DamagedRecord:
        return False
    return True


def _encode(key: str, partial: Partial, cpu: str) -> tuple[bytes, list[NDArray[Any]], str]:
    arrays, header, offset = [], [], 0
    for name, value in partial.items():
        array = _storable(name, value)
        header.append([name, array.dtype.str, array.shape, offset, hashlib.sha256(_bytes(array)).hexdigest()])
        arrays.append(array)
        offset += array.nbytes
    text = json.dumps({"arrays": header, "cpu": cpu}, separators=(",", ":")).encode()
    fixed = _FIXED.pack(MAGIC, bytes.fromhex(key), len(text), offset)
    digest = hashlib.sha256(fixed + text)
    return fixed + digest.digest() + text, arrays, digest.hexdigest()


def _storable(name: str, value: Any) -> NDArray[Any]:
    array = np.asarray(value, order="C")
    if array.dtype.hasobject or array.dtype.kind not in "biufcSUmM":
        raise TypeError(f"a partial holds arrays of numbers, booleans or strings; {name!r} is {array.dtype}")
    return array.astype(array.dtype.newbyteorder("<"), copy=False)


def _bytes(array: NDArray[Any]) -> memoryview:
    # Strings and dates have no buffer of their own kind: show the same memory as bytes.
    return array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(bytearray())


def _layout(header: bytes) -> dict[str, Any]:
    """Return where in a record each array is, and what it is."""
    start = _START + len(header)
    return {
        name: {"name": name, "dtype": dtype, "shape": shape, "offset": start + offset, "sha256": digest}
        for name, dtype, shape, offset, digest in json.loads(header)["arrays"]
    }


def _read_header(file: Any, at: Stored | None = None) -> tuple[bytes, str, int, str]:
    """Read one record's header; return it with the record's key, length and digest."""
    fixed, sealed = file.read(_FIXED.size), file.read(_DIGEST)
    if len(sealed) < _DIGEST:
        raise EOFError
    magic, key, header_bytes, payload_bytes = _FIXED.unpack(fixed)
    if magic != MAGIC or header_bytes > _HEADER_LIMIT:
        raise DamagedRecord("not a record")
    text = file.read(header_bytes)
    if len(text) < header_bytes:
        raise EOFError
    if hashlib.sha256(fixed + text).digest() != sealed or (at is not None and sealed.hex() != at.digest):
        raise DamagedRecord("the header does not match its checksum")
    return text, key.hex(), _START + header_bytes + payload_bytes, sealed.hex()


def _read_array(file: Any, entry: dict[str, Any], path: str, offset: int) -> NDArray[Any]:
    array: NDArray[Any] = np.empty(entry["shape"], entry["dtype"])
    view = _bytes(array)
    got = file.readinto(view)
    if got != len(view) or hashlib.sha256(view).hexdigest() != entry["sha256"]:
        name = entry["name"]
        raise DamagedRecord(f"array {name!r} of the record at byte {offset} does not match its checksum")
    return array


def _records(path: Path, damage: list[str]) -> Iterator[Stored]:
    """Yield the records of one file by their headers, stepping over damage to the next record."""
    size, offset, name = path.stat().st_size, 0, str(path)
    with open(path, "rb") as file:
        while offset < size:
            file.seek(offset)
            try:
                _, key, length, digest = _read_header(file)
            except (DamagedRecord, EOFError) as error:
                place, offset = offset, _next_magic(file, offset + 1, size)
                if offset < size or isinstance(error, DamagedRecord):
                    damage.append(f"{path.name} at byte {place}: {str(error) or 'a length is damaged'}")
                continue  # what ends too early with nothing behind it is the tail that a crash tore
            if offset + length > size:
                return
            yield Stored(name, offset, length, key, digest)
            offset += length


def _next_magic(file: Any, start: int, size: int) -> int:
    step = 1 << 20
    for begin in range(start, size, step):
        file.seek(begin)
        at = file.read(step + len(MAGIC) - 1).find(MAGIC)
        if at >= 0:
            return int(begin + at)
    return size
