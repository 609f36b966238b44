"""Strict YAML: the few parts of YAML 1.2 that settings need, with the position of every key and value.

Text goes through the event parser of ruamel.yaml and no further: nothing in a file can make an object.
Scalars follow the core schema of YAML 1.2: ``yes``, ``off`` and ``30:00`` are texts. Anchors, aliases, tags,
merge keys, directives, several documents, duplicate keys and tabs in the indentation are refused, because
each has surprised somebody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
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
from daskpar.settings.document import Document, KeyPath, Position
from daskpar.settings.yaml_scalars import plain_value

# The parser needs about a second for each million characters, and more for many short words: together these
# bounds keep the refusal of any file below a second.
MAX_LINES = 20_000
MAX_WORDS = 60_000
MAX_NODES = 12_000  # a list of ten thousand files
MAX_DEPTH = 24
MAX_KEY = 200
MAX_FAULTS = 50


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
    early = [*_text_faults(text)] or [*_too_many_entries(text)]
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
_ENTRY = re.compile(r"^ *-(?= )|:(?=\s)", re.MULTILINE)
_TOO_MANY = f"more than {MAX_NODES} entries"
_MANY_BRACKETS = re.compile(rf"(?:[\[{{]\s*){{{MAX_DEPTH + 1}}}")
_TOO_DEEP = (f"nested more than {MAX_DEPTH} deep", "check the brackets and the indentation")
_TAB_INDENT = re.compile(r"^ *\t(?=[^\n]*\S)", re.MULTILINE)


def _text_faults(text: str) -> Iterator[RawFault]:
    """Find what can be seen before parsing; the parser's own words for these are poor."""
    if text.count("\n") > MAX_LINES:
        yield (MAX_LINES + 1, 1), f"has more than {MAX_LINES} lines", "use patterns such as data/*.fits"
        return
    if len(text.split()) > MAX_WORDS:
        yield (1, 1), f"has more than {MAX_WORDS} words", "use patterns such as data/*.fits"
        return
    if text.count(",") > MAX_NODES:
        yield (1, 1), f"has more than {MAX_NODES} commas", "use patterns such as data/*.fits"
        return
    for match in _FORBIDDEN.finditer(text):
        what = f"holds the control character {match[0]!a}"
        yield _position(text, match.start()), what, "remove it"
        return
    if deep := _MANY_BRACKETS.search(text):
        # The scanner looks 1024 characters ahead for the end of a key, in quadratic time in such a row.
        yield _position(text, deep.start()), *_TOO_DEEP
        return
    for match in islice(_TAB_INDENT.finditer(text), MAX_FAULTS):
        yield _position(text, match.end() - 1), "a tab in the indentation", "indent with spaces"


def _too_many_entries(text: str) -> Iterator[RawFault]:
    """Find that there is more than the parser would get through in a second."""
    entries = 0
    for match in _ENTRY.finditer(text):
        entries += 1 if match[0].endswith("-") else 2  # a key and its value
        if entries > MAX_NODES:
            yield _position(text, match.end() - 1), _TOO_MANY, "use patterns such as data/*.fits"
            return


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
            self.refuse(_where(event), _TOO_MANY, "use patterns such as data/*.fits")
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
            self.refuse(where, *_TOO_DEEP)
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
        elif len(str(value)) > MAX_KEY:
            self.refuse(where, f"a key of more than {MAX_KEY} characters", "shorten it")
            return "?"
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


def _where(event: Any) -> Position:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _kind(data: object) -> str:
    return {list: "a list", str: "text", bool: "true or false"}.get(type(data), "a number")


# The parser's words, and ours; the first sign that fits wins.
_ADVICE = (
    (
        "'<document start>'",
        "this does not belong to the mapping before it",
        "align the keys, and close quotes",
    ),
    ("scanning a directive", "a line begins with %", "remove it, or quote the text"),
    ("scanning an anchor", "a text begins with &", "quote it"),
    ("mapping keys are not allowed", "a key where none may stand", "begin a new line, or remove the '?'"),
    ("sequence entries are not allowed", "'- ' stands where no list can begin", "begin a new line, or quote"),
    ("'<stream end>'", "a quote or bracket is not closed", "close it"),
    ("expected the node content", "a value is missing", "check the brackets and commas"),
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
