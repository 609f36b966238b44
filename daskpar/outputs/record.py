"""Provenance as text, in the forms that file formats can hold."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

KEY = "daskpar.provenance"
_LONG = 20_000


def to_text(provenance: Mapping[str, Any]) -> str:
    """Return provenance as one line of ASCII JSON."""
    return json.dumps(provenance, ensure_ascii=True, separators=(",", ":"))


def from_text(text: str) -> dict[str, Any]:
    """Read what `to_text` or `to_short_text` wrote.

    Raises
    ------
    ValueError
        If it is nothing of the kind.
    """
    read = json.loads(text)
    if not isinstance(read, dict):
        raise ValueError("not a JSON object")
    packed = read.get("inputs")
    if isinstance(packed, dict) and packed.keys() == {"packed", "count"}:
        read["inputs"] = json.loads(zlib.decompress(base64.b64decode(packed["packed"])))
    return read


def to_short_text(provenance: Mapping[str, Any]) -> str:
    """Return provenance as `to_text` does, with a long list of inputs compressed.

    For headers that people and slow parsers read: ten thousand inputs would be a megabyte of YAML.
    """
    inputs = to_text({"inputs": provenance.get("inputs")})[len('{"inputs":') : -1]
    if len(inputs) <= _LONG:
        return to_text(provenance)
    packed = base64.b64encode(zlib.compress(inputs.encode("ascii"), 9)).decode("ascii")
    count = len(provenance["inputs"])
    return to_text({**provenance, "inputs": {"count": count, "packed": packed}})


def to_rows(provenance: Mapping[str, Any], width: int = 120) -> list[tuple[str, str]]:
    """Return provenance as rows (key, JSON) for a table of text of limited width.

    Nested mappings become keys with slashes, long values several rows of the same key. No row ends with a
    space: FITS drops those.
    """
    rows = []
    for key, value in _flat("", provenance):
        text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
        for start in range(0, len(text), width):
            piece = text[start : start + width]
            bare = piece.rstrip(" ")
            rows.append((key, bare + "\\u0020" * (len(piece) - len(bare))))
    return rows


def from_rows(rows: list[tuple[str, str]]) -> dict[str, Any]:
    """Read what `to_rows` returned."""
    texts: dict[str, str] = {}
    for key, piece in rows:
        texts[key] = texts.get(key, "") + piece
    made: dict[str, Any] = {}
    for key, text in texts.items():
        *parents, last = [json.loads(f'"{part}"') for part in key.split("/")]
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = json.loads(text)
    return made


def _flat(prefix: str, value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """List the leaves of nested mappings; a list is a leaf, and so is an empty mapping."""
    leaves: list[tuple[str, Any]] = []
    for key, item in value.items():
        path = prefix + _escaped(key)
        leaves += _flat(path + "/", item) if isinstance(item, Mapping) and item else [(path, item)]
    return leaves


def _escaped(key: str) -> str:
    """Escape a key so that ``/`` only separates, as JSON escapes characters."""
    return json.dumps(key, ensure_ascii=True)[1:-1].replace("/", "\\u002f").replace(" ", "\\u0020")
