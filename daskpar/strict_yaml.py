"""Strict YAML: the few parts of YAML 1.2 that settings need, with the position of every key and value.

Text goes through the event parser of ruamel.yaml and no further: nothing in a file can make an object.
Scalars follow the core schema of YAML 1.2: ``yes``, ``off`` and ``30:00`` are texts. Anchors, aliases, tags,
merge keys, directives, several documents, duplicate keys and tabs in the indentation are refused, because
each has surprised somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from daskpar.errors import DaskparError, Fault, RecipeError

MAX_LINES = 20_000
MAX_NODES = 20_000
MAX_DEPTH = 24
MAX_FAULTS = 50

KeyPath = tuple[str | int, ...]
Position = tuple[int, int]


def dotted(path: KeyPath) -> str:
    """Write a key path as a reader would: ``options.combine.sigma``, ``outputs[1]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


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


def parse_yaml(text: str, path: str = "", error: type[DaskparError] = RecipeError) -> Document:
    """Parse strict YAML whose root is a mapping.

    Parameters
    ----------
    text : str
        The whole document.
    path : str
        Names the source in messages.
    error : type of DaskparError
        What to raise.

    Raises
    ------
    RecipeError or the given type
        With every fault found before the first that ends parsing.
    """
    early = [*_text_faults(text)]
    if early:
        raise error(faults=_located(early, path))
    composer = _Composer(text)
    data = composer.compose()
    if not composer.faults and not isinstance(data, dict):
        composer.refuse((1, 1), f"holds {_kind(data)}, not keys with values", "write one 'key: value' a line")
    if composer.faults:
        raise error(faults=_located(composer.faults, path))
    return Document(data, path, composer.keys, composer.values)


RawFault = tuple[Position, str, str]


def _located(faults: list[RawFault], path: str) -> list[Fault]:
    shown = [
        Fault(what, todo, path, f"{line}:{column}") for (line, column), what, todo in faults[:MAX_FAULTS]
    ]
    more = len(faults) - len(shown)
    return [*shown, Fault(f"and {more} more faults", "mend these first", path)] if more > 0 else shown


_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TAB_INDENT = re.compile(r"^ *\t", re.MULTILINE)


def _text_faults(text: str) -> Iterator[RawFault]:
    """Find what can be seen before parsing; the parser's own words for these are poor."""
    if text.count("\n") > MAX_LINES:
        yield (MAX_LINES + 1, 1), f"has more than {MAX_LINES} lines", "use patterns such as data/*.fits"
        return
    for match in _FORBIDDEN.finditer(text):
        what = f"holds the control character {match[0]!a}"
        yield _position(text, match.start()), what, "remove it"
        return
    for match in _TAB_INDENT.finditer(text):
        if text[match.end() :].split("\n", 1)[0].strip():
            yield _position(text, match.end() - 1), "a tab in the indentation", "indent with spaces"


def _position(text: str, index: int) -> Position:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


class _Stop(Exception):
    """Ends a parse that cannot go on."""


class _Composer:
    """Builds plain data from parser events, collecting faults and positions as it goes."""

    def __init__(self, text: str) -> None:
        self.faults: list[RawFault] = []
        self.keys: dict[KeyPath, Position] = {}
        self.values: dict[KeyPath, Position] = {}
        self.nodes = 0
        self.events: Iterator[Any] = YAML(typ="safe", pure=True).parse(text)

    def refuse(self, position: Position, what: str, todo: str) -> None:
        self.faults.append((position, what, todo))

    def compose(self) -> Any:
        """Read the one document; on a fault that ends parsing, what was found stands in `faults`."""
        data: Any = None
        documents = 0
        try:
            for event in self.events:
                if isinstance(event, DocumentStartEvent):
                    documents += 1
                    self._document(event, documents)
                    data = self._node(self._next(), ())
        except _Stop:
            return None
        except MarkedYAMLError as problem:
            self.refuse(*_syntax(problem))
            return None
        if not self.faults and data is None:
            self.refuse((1, 1), "is empty", "write one 'key: value' a line")
        return data

    def _document(self, event: Any, count: int) -> None:
        if count > 1:
            self.refuse(
                _where(event), "a second document begins here", "keep one document a file; remove '---'"
            )
            raise _Stop
        if event.version or event.tags:
            self.refuse((1, 1), "YAML directives (%...) are not used here", "remove the line")

    def _next(self) -> Any:
        event = next(self.events)
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.refuse(_where(event), f"more than {MAX_NODES} entries", "use patterns such as data/*.fits")
            raise _Stop
        return event

    def _node(self, event: Any, path: KeyPath) -> Any:
        where = _where(event)
        self.values[path] = where
        if isinstance(event, AliasEvent):
            self.refuse(where, f"the alias *{event.anchor} is not allowed", "write the value out")
            return None
        if event.anchor:
            self.refuse(
                where, f"the anchor &{event.anchor} is not allowed", "write each value where it is used"
            )
        if event.tag:
            self.refuse(
                where, f"the tag {event.tag} is not allowed", "remove it; quote a value to make it text"
            )
        if isinstance(event, ScalarEvent):
            return self._scalar(event, where)
        if len(path) >= MAX_DEPTH:
            self.refuse(where, f"nested more than {MAX_DEPTH} deep", "check the brackets and the indentation")
            raise _Stop
        return self._mapping(path) if isinstance(event, MappingStartEvent) else self._sequence(path)

    def _sequence(self, path: KeyPath) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._node(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            where = _where(event)
            name = self._key(event, path, where)
            first = self.keys.get((*path, name))
            if first and name in items:
                what = f"the key '{name}' stands here again (first in line {first[0]})"
                self.refuse(where, what, "keep one of the two")
            value = self._node(self._next(), (*path, name))
            if value is None:  # an empty value is best shown by its key
                self.values.pop((*path, name), None)
            if name not in items:
                items[name] = value
                self.keys[*path, name] = where
        return items

    def _key(self, event: Any, path: KeyPath, where: Position) -> str:
        if isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self.refuse(where, "a key must be text, not a list or a mapping", "write 'key: value'")
            self._node(event, (*path, "?"))
            return "?"
        value = self._node(event, (*path, "?"))
        self.values.pop((*path, "?"), None)
        if isinstance(event, ScalarEvent) and event.value == "<<" and not event.style:
            self.refuse(where, "merge keys (<<) are not allowed", "write the keys out")
        elif isinstance(event, ScalarEvent) and not isinstance(value, str):
            self.refuse(where, f"the key {event.value or '(empty)'} is not text", "quote it")
        return str(value)

    def _scalar(self, event: Any, where: Position) -> Any:
        text: str = event.value
        try:
            if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
                raise ValueError("a NUL or half a surrogate pair in a text; remove the escape")
            return text if event.style else plain_value(text)
        except ValueError as problem:
            what, _, todo = str(problem).partition("; ")
            self.refuse(where, what, todo)
            return None


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


def _where(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _kind(data: object) -> str:
    return {list: "a list", str: "text", bool: "true or false"}.get(type(data), "a number")


_ADVICE = (
    ("found character '\\t'", "a tab where none may stand", "use spaces"),
    (
        "mapping values are not allowed",
        "': ' stands where none may",
        "quote the text, align the keys, 'key: value'",
    ),
    ("expected <block end>", "the indentation or a bracket does not fit", "align the keys of one mapping"),
    (
        "could not find expected ':'",
        "a line without ': '",
        "write 'key: value', with a space after the colon",
    ),
    ("found unexpected end of stream", "a quote or bracket is not closed", "close it"),
    ("expected ',' or", "a bracket is not closed, or a comma is missing", "check the brackets and commas"),
    ("found undefined alias", "an alias (*...) is not allowed", "write the value out, or quote the text"),
    ("while scanning an alias", "a text begins with *", "quote it"),
    ("cannot start any token", "a text begins with a character that YAML reserves", "quote it"),
    ("unknown escape character", "an unknown escape in double quotes", "use single quotes, or write \\\\"),
)


def _syntax(problem: MarkedYAMLError) -> RawFault:
    marks = [problem.problem_mark, problem.context_mark]
    if re.search("simple key|quoted scalar|flow", str(problem.context)):
        marks.reverse()  # what is not closed is best shown where it begins
    mark = marks[0] or marks[1]
    where = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    words = f"{problem.context or ''} {problem.problem or ''}".strip()
    for sign, what, todo in _ADVICE:
        if sign in words:
            return where, what, todo
    return where, f"is not YAML ({words})", "check brackets, quotes and indentation"
