"""CHECKSUM and DATASUM (FITS 4.0, section 4.4.2.7 and appendix J): 32-bit ones-complement sums."""

from __future__ import annotations

import numpy as np

from daskpar.errors import InputError
from daskpar.inputs.fits_file import Hdu
from daskpar.inputs.fits_header import ReadAt

_ALL_ONES = 0xFFFFFFFF
_CHUNK = 4 << 20


def ones_complement_sum(data: bytes, total: int = 0) -> int:
    """Add big-endian 32-bit words with end-around carry; ``len(data)`` is a multiple of 4."""
    total += int(np.frombuffer(data, ">u4").sum(dtype=np.uint64))
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def verify_checksums(read_at: ReadAt, hdu: Hdu) -> bool:
    """Compare the checksums in a header with the bytes of its HDU, which are read once, in pieces.

    Returns
    -------
    bool
        False where the header holds neither CHECKSUM nor DATASUM.

    Raises
    ------
    InputError
        Where one does not agree.
    """
    header = hdu.header
    datasum, checksum = header.get("DATASUM"), header.get("CHECKSUM")
    if datasum is None and checksum is None:
        return False
    found = _sum(read_at, hdu.data_start, hdu.next_start)
    if datasum is not None and str(datasum).strip() != str(found):
        what = f"the data are damaged: their sum is {found}, the header says {datasum}"
        raise InputError(what, "fetch the file again", key="DATASUM")
    if checksum is not None and _sum(read_at, hdu.start, hdu.data_start, found) not in (0, _ALL_ONES):
        raise InputError("the HDU is damaged: its sum is not 0", "fetch the file again", key="CHECKSUM")
    return True


def _sum(read_at: ReadAt, start: int, stop: int, total: int = 0) -> int:
    while start < stop:
        data = read_at(start, min(_CHUNK, stop - start))
        if not data:
            break  # missing padding, which the scan has already warned about, counts as zeros
        start += len(data)
        total = ones_complement_sum(data + bytes(-len(data) % 4), total)
    return total
