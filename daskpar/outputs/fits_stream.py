"""One FITS header-data unit after another into a file, band by band, with checksums.

The sum of the data is known only at the end, and stands in the header: the header is written twice, in the
same place. Sums are those of the FITS standard 4.0, section 4.4.2.7 and appendix J: 32-bit words added in
ones' complement.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from astropy.io import fits

BLOCK = 2880
_ALL_ONES = 0xFFFFFFFF
_READ_BYTES = 16 * 1024**2
# The checksum must be legible and free of quotes: letters and digits only.
_PUNCTUATION = frozenset(b":;<=>?@[\\]^_`")


class OnesSum:
    """Running ones' complement sum of 32-bit big-endian words, over bytes in pieces of any length."""

    def __init__(self, start: int = 0) -> None:
        self._sum = start
        self._rest = b""

    def add(self, data: bytes | memoryview) -> None:
        """Add the next bytes."""
        if self._rest:
            data = self._rest + bytes(data)
        end = len(data) - len(data) % 4
        words = np.frombuffer(data[:end], dtype=">u4")
        self._sum = _fold(self._sum + int(words.sum(dtype=np.uint64)))
        self._rest = bytes(data[end:])

    @property
    def value(self) -> int:
        """The sum so far; a rest of less than four bytes counts as if zeros followed."""
        return _fold(self._sum + int.from_bytes(self._rest.ljust(4, b"\0"), "big"))


def _fold(total: int) -> int:
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def write_hdu(stream: BinaryIO, header: fits.Header, pieces: Iterable[np.ndarray[Any, Any]] = ()) -> None:
    """Append one HDU to a file.

    Parameters
    ----------
    stream : binary file
        Open for writing, seekable, at its end.
    header : astropy.io.fits.Header
        Complete but for DATASUM and CHECKSUM, which are added to it.
    pieces : iterable of ndarray
        The data as they stand in the file (big-endian, offset), in order.

    Raises
    ------
    ValueError
        If the pieces do not hold as many bytes as the header says.
    """
    header.set("DATASUM", "0", "checksum of the data")
    header.set("CHECKSUM", "0" * 16, "checksum of this HDU")
    start = stream.tell()
    stream.write(_header_bytes(header))
    data = OnesSum()
    written = 0
    for piece in pieces:
        view = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data
        stream.write(view)
        data.add(view)
        written += len(view)
    if written != data_bytes(header):
        raise ValueError(f"{header.get('EXTNAME', 'HDU')}: {written} bytes of {data_bytes(header)}")
    stream.write(bytes(-written % BLOCK))
    header["DATASUM"] = str(data.value)
    total = OnesSum(data.value)
    total.add(_header_bytes(header))
    header["CHECKSUM"] = encode(~total.value & _ALL_ONES)
    stream.seek(start)
    stream.write(_header_bytes(header))
    stream.seek(0, 2)


def sums_to_ones(path: Path, start: int, stop: int) -> bool:
    """Tell whether the bytes of an HDU add up to all ones, as those of an intact one with CHECKSUM do."""
    total = OnesSum()
    with open(path, "rb") as stream:
        stream.seek(start)
        while start < stop:
            piece = stream.read(min(_READ_BYTES, stop - start))
            if not piece:
                return False
            total.add(piece)
            start += len(piece)
    return total.value == _ALL_ONES


def _header_bytes(header: fits.Header) -> bytes:
    return bytes(header.tostring().encode("ascii"))


def data_bytes(header: fits.Header) -> int:
    """Return the size of the data that a header announces, without padding."""
    lengths = [int(header[f"NAXIS{i}"]) for i in range(1, int(header["NAXIS"]) + 1)]
    elements = int(np.prod(lengths, dtype=object)) if lengths else 0
    return abs(int(header["BITPIX"])) // 8 * (elements + int(header.get("PCOUNT", 0)))


def encode(value: int) -> str:
    """Write a 32-bit sum as the 16 characters of CHECKSUM (appendix J)."""
    text = bytearray(16)
    for place, byte in enumerate(value.to_bytes(4, "big")):
        four = [byte // 4 + ord("0")] * 4
        four[0] += byte % 4
        for one, other in ((0, 1), (2, 3)):
            while four[one] in _PUNCTUATION or four[other] in _PUNCTUATION:
                four[one] += 1
                four[other] -= 1
        text[place::4] = bytes(four)
    return (text[-1:] + text[:-1]).decode("ascii")
