"""Amounts with a unit: memory and walltime, read from text and written back as text."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from daskpar.settings.grammar import shown

_UNITS = {
    "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_LEAST_MEMORY = 2**20


def parse_memory(value: object) -> int:
    """Turn ``"16 GiB"``, ``"500 MB"`` or a number of bytes into bytes.

    Raises
    ------
    ValueError
        For anything else, and for less than 1 MiB: a bare ``16`` would be bytes here and megabytes to Slurm.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{shown(value)} is not an amount of memory; write a text such as 16 GiB or 500 MB")
    if isinstance(value, int):
        size = value
    else:
        match = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?([kKMGT]i?B|B)", value, re.ASCII)
        if not match or match[2] not in _UNITS:
            raise ValueError(
                f"{shown(value)} is not an amount of memory; write a text such as 16 GiB or 500 MB"
            )
        size = round(Decimal(match[1]) * _UNITS[match[2]])
    if not _LEAST_MEMORY <= size < 2**60:
        raise ValueError(f"{shown(value)} is {size} bytes; write at least 1 MiB, with its unit, as in 16 GiB")
    return size


def format_memory(size: int) -> str:
    """Write bytes as `parse_memory` reads them, with the largest binary unit that is exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]} {unit}"
    return f"{size} B"


def parse_walltime(value: object) -> int:
    """Turn ``01:00:00``, ``1-00:00:00``, ``30 min`` or ``2 h`` into seconds.

    Numbers are refused: YAML 1.1 reads ``30:00`` as 1800, which Slurm takes for minutes. So is the text
    ``30:00``, which is minutes to Slurm and hours to many readers.

    Raises
    ------
    ValueError
        With what to write instead.
    """
    advice = 'write "HH:MM:SS", "D-HH:MM:SS", "30 min" or "2 h"'
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} has no unit; {advice}")
    clock = re.fullmatch(r"(?:([0-9]{1,3})-)?([0-9]{1,3}):([0-5][0-9]):([0-5][0-9])", value)
    amount = re.fullmatch(r"([0-9]{1,6}) ?(s|min|h|d)", value)
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        if clock[1] and hours > 23:
            raise ValueError(f"{shown(value)} has more than 23 hours beside its days; {advice}")
        total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    elif amount:
        total = int(amount[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86400}[amount[2]]
    else:
        raise ValueError(f"{shown(value)} is not a walltime; {advice}")
    if not 0 < total <= 366 * 86400:
        raise ValueError(f"{shown(value)} is not between one second and a year; {advice}")
    return total


def format_walltime(seconds: int) -> str:
    """Write seconds as ``HH:MM:SS``, or ``D-HH:MM:SS`` from one day on, as Slurm reads them."""
    days, rest = divmod(seconds, 86400)
    text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}-{text}" if days else text


Memory = Annotated[
    int,
    BeforeValidator(parse_memory),
    PlainSerializer(format_memory, return_type=str),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^[0-9]+(\.[0-9]+)? ?([kKMGT]i?B|B)$",
            "examples": ["16 GiB"],
        }
    ),
]
"""Bytes; in a file a text with its unit."""

Walltime = Annotated[
    int,
    BeforeValidator(parse_walltime),
    PlainSerializer(format_walltime, return_type=str),
    WithJsonSchema({"type": "string", "examples": ["01:00:00", "1-00:00:00", "30 min"]}),
]
"""Seconds; in a file a text such as ``01:00:00``."""
