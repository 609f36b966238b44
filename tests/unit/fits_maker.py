"""FITS files written card by card, so that tests can also write wrong ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

BLOCK = 2880


def card(key, value):
    """One 80-byte card; a value of bytes or a str that begins with "=" is put in as it is."""
    if isinstance(value, bytes):
        return value.ljust(80)
    if isinstance(value, bool):
        text = ("T" if value else "F").rjust(20)
    elif isinstance(value, str) and value.startswith("="):
        text = value[1:].strip()
    elif isinstance(value, str):
        text = "'" + value.replace("'", "''").ljust(8) + "'"
    else:
        text = repr(value).upper().rjust(20)
    return f"{key:<8}= {text}".ljust(80).encode("latin-1")


def header(cards):
    """A padded header from a dict or a list of pairs."""
    pairs = cards.items() if isinstance(cards, dict) else cards
    raw = b"".join(card(key, value) for key, value in pairs) + b"END".ljust(80)
    return raw.ljust(-(-len(raw) // BLOCK) * BLOCK)


def padded(data):
    return data.ljust(-(-len(data) // BLOCK) * BLOCK, b"\0")


def primary(**cards):
    """Cards of a 6 x 4 float image (NAXIS1 = 6), changed and extended by name; None removes one."""
    base = {"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 6, "NAXIS2": 4}
    base.update({key.replace("__", "-"): value for key, value in cards.items()})
    return {key: value for key, value in base.items() if value is not None}


def extension(kind="IMAGE", **cards):
    """Cards of an extension with a 6 x 4 float image."""
    base = {"XTENSION": kind, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 6, "NAXIS2": 4, "PCOUNT": 0, "GCOUNT": 1}
    base.update(cards)
    return {key: value for key, value in base.items() if value is not None}


EMPTY_PRIMARY = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}
PIXELS = np.arange(24, dtype=">f4").reshape(4, 6)


def write(path, cards=None, data=PIXELS, more=()):
    """Write a primary HDU and further (cards, data) pairs; returns the path."""
    raw = b""
    for one, pixels in [(primary() if cards is None else cards, data), *more]:
        raw += header(one)
        if pixels is not None:
            raw += padded(pixels.astype(pixels.dtype.newbyteorder(">")).tobytes())
    Path(path).write_bytes(raw)
    return Path(path)
