"""Writing plain data as YAML that `strict_yaml` reads back exactly and other readers agree on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./+*-]*")
# Words that some YAML reader takes for something else than text.
_RESERVED = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE = re.compile(r"[\x7f-\x9f\ufeff\ufffe\uffff\u2028\u2029]")


def dump_yaml(data: Mapping[str, Any], indent: int = 0) -> str:
    """Write a mapping in block style, with lists and empty mappings on one line each.

    Parameters
    ----------
    data : mapping of str
        Mappings, lists, texts, finite or infinite numbers, NaN, booleans, None.
    indent : int
        Blanks before each line.

    Returns
    -------
    str
        Lines, each with its line break.
    """
    lines = []
    for key, value in data.items():
        head = " " * indent + scalar_text(key) + ":"
        if isinstance(value, Mapping) and value:
            lines.append(f"{head}\n{dump_yaml(value, indent + 2)}")
        else:
            lines.append(f"{head} {flow_text(value)}\n")
    return "".join(lines)


def flow_text(value: Any) -> str:
    """Write any value on one line."""
    if isinstance(value, Mapping):
        inner = (f"{scalar_text(key)}: {flow_text(item)}" for key, item in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow_text(item) for item in value) + "]"
    return scalar_text(value)


def scalar_text(value: str | int | float | bool | None) -> str:
    """Write one scalar; a text that could be taken for anything else is quoted."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
            return value
        return _UNPRINTABLE.sub(_escape, json.dumps(value, ensure_ascii=False))
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    return json.dumps(value)


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"
