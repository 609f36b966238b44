"""What a YAML file holds, and where in the file each part of it stands, so that a fault can name its line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daskpar.errors import Fault

KeyPath = tuple[str | int, ...]
Position = tuple[int, int]


def dotted(path: KeyPath) -> str:
    """Write a key path as a reader would: ``options.combine.sigma``, ``outputs[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def key_path(text: str) -> KeyPath:
    """Read back what `dotted` writes."""
    parts = re.findall(r"\[([0-9]+)\]|([^.\[\]]+)", text)
    return tuple(int(index) if index else name for index, name in parts)


@dataclass(frozen=True)
class Document:
    """The mapping that a file holds, and where in the file each part stands.

    Parameters
    ----------
    data : dict
        Plain mappings, lists, texts, numbers, booleans and None.
    path : str
        The file, as the user wrote it; empty for data that came from no file.
    keys, values : mapping of key path to (line, column)
        Where a key is written, and where its value begins; both count from 1.
    overrides : set of key paths
        What ``--set`` replaced: faults there name the option and no line.
    """

    data: dict[str, Any]
    path: str = ""
    keys: Mapping[KeyPath, Position] = field(default_factory=dict)
    values: Mapping[KeyPath, Position] = field(default_factory=dict)
    overrides: frozenset[KeyPath] = frozenset()

    def fault(self, path: KeyPath, what: str, todo: str = "", *, on_key: bool = False) -> Fault:
        """Make the fault of one key, placed at its value, its key or the nearest written parent."""
        if any(path[: len(name)] == name for name in self.overrides):
            return Fault(what, todo, key=f"--set {dotted(path)}")
        return Fault(what, todo, self.path, self._place(path, on_key), dotted(path))

    def _place(self, path: KeyPath, on_key: bool) -> str:
        if not self.path:
            return ""
        first, second = (self.keys, self.values) if on_key else (self.values, self.keys)
        for length in range(len(path), 0, -1):
            position = first.get(path[:length]) or second.get(path[:length])
            if position:
                return f"{position[0]}:{position[1]}"
            first, second = self.keys, self.values  # a parent is shown by its key
        return "1:1"
