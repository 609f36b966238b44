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


def same(found, expected):
    """Equal bits, apart from which NaN, and native byte order."""
    assert found.dtype.isnative
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


def frames(folder, count=3, **cards):
    for i in range(count):
        write(folder / f"f{i}.fits", primary(**cards), PIXELS + 100 * i)
    return folder


#: (stored dtype, scaling keywords)
FORMS = [
    ("u1", {}),
    ("u1", {"BZERO": -128}),
    ("u1", {"BSCALE": 0.5, "BZERO": 3.25}),
    ("u1", {"BLANK": 7}),
    (">i2", {}),
    (">i2", {"BZERO": 32768, "BSCALE": 1}),
    (">i2", {"BZERO": 32768.0, "BSCALE": 1.0}),
    (">i2", {"BSCALE": 0.1, "BZERO": 1000.3}),
    (">i2", {"BLANK": -32768}),
    (">i2", {"BLANK": 7, "BSCALE": 3.7}),
    (">i2", {"BSCALE": 2}),
    (">i2", {"BZERO": 32768, "BSCALE": 2}),
    (">i4", {}),
    (">i4", {"BZERO": 2147483648}),
    (">i4", {"BZERO": 32768}),
    (">i4", {"BSCALE": 1e-3, "BLANK": -2147483648}),
    (">i8", {}),
    (">i8", {"BZERO": 9223372036854775808}),
    (">i8", {"BSCALE": 1e-3, "BZERO": 0.1}),
    (">f4", {}),
    (">f4", {"BSCALE": 0.1, "BZERO": 1000.3}),
    (">f8", {}),
    (">f8", {"BSCALE": 0.1, "BZERO": 1000.3}),
]


def random_pixels(code, rng, shape=(37, 29)):
    dtype = np.dtype(code)
    if dtype.kind == "f":
        pixels = rng.normal(1000, 300, shape).astype(dtype)
        pixels[3, 4], pixels[5, 6], pixels[7, 8] = np.nan, np.inf, -0.0
        return pixels
    info = np.iinfo(dtype)
    pixels = rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
    pixels[0, :3] = info.min, info.max, 7
    return pixels.astype(dtype)


def wcs_keys(i=0, shift=0.0):
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0 + 1e-9 * i, "CRVAL2": 40.0,
        "CRPIX1": 3.0 + shift, "CRPIX2": 2.0, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
    }  # fmt: skip


def write_mef(folder):
    """Empty primary, SCI 1, DQ 1, SCI 2, DQ 2, a table, ERR."""
    table = extension("BINTABLE", BITPIX=8, NAXIS1=4, NAXIS2=2, TFIELDS=1, TFORM1="1J", EXTNAME="CAT")
    dq = np.arange(24, dtype=">i2").reshape(4, 6)
    more = [
        (extension(EXTNAME="SCI", EXTVER=1, BUNIT="adu"), PIXELS),
        (extension(EXTNAME="DQ", EXTVER=1, BITPIX=16), dq),
        (extension(EXTNAME="sci", EXTVER=2), PIXELS + 1),
        (extension(EXTNAME="DQ", EXTVER=2, BITPIX=16), dq[::-1]),
        (table, np.zeros(2, ">i4")),
        (extension(EXTNAME="ERR"), np.sqrt(PIXELS)),
    ]
    head = {**EMPTY_PRIMARY, "EXPTIME": 12.5, "FILTER": "r'", "DATE-OBS": "2020-02-29", "BUNIT": "no"}
    return write(folder / "mef.fits", head, None, more)
