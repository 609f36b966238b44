"""What an unquoted word of a YAML file is: text, a number, true, false or nothing."""

from __future__ import annotations

import re
from typing import Any

_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
}


def plain_value(text: str) -> str | int | float | bool | None:
    """Give an unquoted scalar its value by the core schema of YAML 1.2 (section 10.3.2 of its specification).

    Raises
    ------
    ValueError
        For a number that would not keep its value or its look: leading zeros, too many digits, overflow.
    """
    if text in _WORDS:
        value: str | int | float | bool | None = _WORDS[text]
        return value
    if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text) and len(text) < 40:
        return int(text, 0)
    if not _FLOAT.fullmatch(text):
        return text
    if len(text) > 40:
        raise ValueError("a number of more than 40 characters; quote it if it is text")
    if _INT.fullmatch(text):
        if len(text.lstrip("+-")) > 1 and text.lstrip("+-").startswith("0"):
            raise ValueError(f"{text} begins with a zero; quote it if it is text, else drop the zero")
        return int(text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large for a float64; write .inf for infinity")
    return number
