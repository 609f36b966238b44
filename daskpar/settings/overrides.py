"""``--set key.path=value``: settings from the command line, under the same rules as those in the file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from daskpar.errors import Fault, RecipeError
from daskpar.settings.document import Document
from daskpar.settings.strict_yaml import parse_yaml


def override(document: Document, assignments: Iterable[str]) -> tuple[Document, list[Fault]]:
    """Apply ``--set key.path=value`` in the order given, without touching the document it came from.

    Returns
    -------
    document, faults
        The changed document, and the assignments that could not be applied.
    """
    faults: list[Fault] = []
    for assignment in assignments:
        key, sign, text = assignment.partition("=")
        path = tuple(key.strip().split("."))
        name = f"--set {key.strip()}"
        if not sign or not all(path):
            todo = "write --set options.key=value"
            faults.append(Fault(f"'{assignment}' is not of the form key=value", todo, key="--set"))
            continue
        try:
            data = _assigned(document.data, path, parse_value(text))
        except ValueError as problem:
            what, _, todo = str(problem).partition("; ")
            faults.append(Fault(what, todo, key=name))
            continue
        document = replace(document, data=data, overrides=document.overrides | {path})
    return document, faults


def _assigned(data: Any, path: tuple[str, ...], value: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ValueError(f"stands below a value that is no mapping; '{path[0]}' cannot be set in it")
    below = _assigned(data.get(path[0], {}), path[1:], value) if len(path) > 1 else value
    return {**data, path[0]: below}


_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*\"""")


def parse_value(text: str) -> Any:
    """Parse one value under the same rules, as it may follow ``key:`` on one line; for ``--set``.

    Raises
    ------
    ValueError
        With the words of the first fault.
    """
    if "\n" in text or not text.strip():
        raise ValueError("has no value on its line; write null for none")
    if re.search(r"(^|\s)#", _QUOTED.sub("", text)):
        raise ValueError("holds a comment sign (#); put the text in double quotes")
    try:
        # The line break keeps a comment sign or an open bracket from swallowing the end.
        return parse_yaml(f"value: {text}\n").data["value"]
    except RecipeError as refusal:
        first = refusal.faults[0]
        raise ValueError(f"{first.what}; {first.todo}") from None
    except KeyError:
        raise ValueError("is not one value; quote it") from None
