"""Checking plain data against a pydantic model, and saying what is wrong in plain words.

Data are checked as JSON in strict mode: a list may become a tuple and a whole number a float, but no text
ever becomes a number, and ``"yes"`` never becomes true.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from daskpar.errors import DaskparError, Fault
from daskpar.settings.document import Document, KeyPath
from daskpar.settings.grammar import shown
from daskpar.settings.strict_yaml import MAX_FAULTS

Model = TypeVar("Model", bound=BaseModel)


def check(
    model: type[Model], data: object, document: Document, prefix: KeyPath = ()
) -> tuple[Model | None, list[Fault]]:
    """Check one part of a document against a model.

    Parameters
    ----------
    model : type of BaseModel
        What the part must be.
    data : object
        The part: plain mappings, lists, texts, numbers, booleans, None.
    document : Document
        Places the faults.
    prefix : key path
        Where in the document the part stands.

    Returns
    -------
    instance, faults
        The instance, or None with at least one fault.
    """
    try:
        return model.model_validate_json(json.dumps(data), strict=True), []
    except ValidationError as problem:
        return None, _faults(model, data, problem, document, prefix)
    except DaskparError as problem:  # a validator of an analysis may speak for itself
        return None, [document.fault(prefix, fault.what, fault.todo) for fault in problem.faults]
    except (TypeError, ValueError) as problem:
        return None, [document.fault(prefix, f"cannot be written as JSON ({problem})", "use plain values")]


def _faults(
    model: type[BaseModel], data: object, problem: ValidationError, document: Document, prefix: KeyPath
) -> list[Fault]:
    grouped: dict[KeyPath, list[Any]] = {}
    for error in problem.errors(include_url=False):
        path, branched = _real_path(data, error["loc"], error["type"])
        if error["type"] == "fault_at":
            path = (*path, error["ctx"]["key"])
        elif error["type"].startswith("union_tag"):
            path = (*path, error["ctx"]["discriminator"].strip("'"))
        grouped.setdefault(path, []).append((error, branched))
    inner = {path[:length] for path in grouped for length in range(len(path))}
    faults: list[Fault] = []
    for path, group in grouped.items():
        if path in inner and all(branched or error["type"] == "too_short" for error, branched in group):
            continue  # the faults further in are the useful ones
        if len(faults) >= MAX_FAULTS:
            faults.append(document.fault(prefix, "has more faults than these", "mend these first"))
            break
        what, todo = _words(model, path, [error for error, _ in group])
        on_key = group[0][0]["type"] == "extra_forbidden"
        faults.append(document.fault((*prefix, *path), what, todo, on_key=on_key))
    return faults


def _real_path(data: object, location: tuple[int | str, ...], kind: str) -> tuple[KeyPath, bool]:
    """Leave out of pydantic's location what is no key of the data: the names of union branches."""
    path: KeyPath = ()
    branched = False
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(data, Mapping) and part in data:
            data, path = data[part], (*path, part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data, path = data[part], (*path, part)
        elif last and kind == "missing":
            path = (*path, part)
        else:
            branched = True
    return path, branched


_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping of keys",
    "model": "a mapping of keys",
    "none": "null",
}


def _words(model: type[BaseModel], path: KeyPath, errors: list[Any]) -> tuple[str, str]:
    error = errors[0]
    kind, value = error["type"], error["input"]
    if kind == "union_tag_invalid":
        value = error["ctx"]["tag"]
    if kind == "extra_forbidden":
        return f"unknown key '{path[-1]}'", _about_key(model, path)
    if kind in {"missing", "union_tag_not_found"}:
        return "is missing", f"add the key '{path[-1]}'"
    for own in errors:  # the words of a grammar say more than those of the other branches of a union
        if own["type"] in {"value_error", "fault_at"}:
            what, _, todo = own["msg"].removeprefix("Value error, ").partition("; ")
            return what, todo
    nouns = [_NOUNS.get(one["type"].removesuffix("_type").removesuffix("_from_float")) for one in errors]
    if all(nouns):
        return _wrong_kind(value, " or ".join(dict.fromkeys(noun for noun in nouns if noun)))
    choices = [choice for one in errors for choice in _choices(one)]
    if choices:
        other = " or ".join(noun for noun in nouns if noun)
        return f"{shown(value)} is not known", advise(str(value), choices) + (other and f" or write {other}")
    return _bound(error) or (f"{shown(value)} is not allowed: {error['msg']}", "change the value")


def _wrong_kind(value: object, nouns: str) -> tuple[str, str]:
    if value is None:
        return "is empty", f"write {nouns}, or remove the key"
    if isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"} and "true" in nouns:
        return f"{shown(value)} is a text here", "write true or false"
    if nouns == "text" and isinstance(value, (int, float)):
        return f"{shown(value)} is not text", f'quote it: "{value}"'
    if isinstance(value, dict):
        return "is a mapping of keys", f"write {nouns}"
    return f"{shown(value)} is not {nouns}", f"write {nouns}"


def _choices(error: Any) -> list[str]:
    if error["type"] in {"literal_error", "enum"}:
        return re.findall(r"'([^']*)'", error["ctx"]["expected"]) or [error["ctx"]["expected"]]
    if error["type"] == "union_tag_invalid":
        return re.findall(r"'([^']*)'", error["ctx"]["expected_tags"])
    return []


def _short(bound: object) -> str:
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


_BOUNDS: dict[str, Callable[[Any], str]] = {
    "greater_than": lambda ctx: f"write a value above {_short(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"write at least {_short(ctx['ge'])}",
    "less_than": lambda ctx: f"write a value below {_short(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"write at most {_short(ctx['le'])}",
    "multiple_of": lambda ctx: f"write a multiple of {ctx['multiple_of']}",
    "finite_number": lambda ctx: "write a finite number",
    "too_short": lambda ctx: f"give at least {ctx['min_length']}",
    "too_long": lambda ctx: f"give at most {ctx['max_length']}",
    "string_too_short": lambda ctx: f"write at least {ctx['min_length']} characters",
    "string_too_long": lambda ctx: f"write at most {ctx['max_length']} characters",
    "string_pattern_mismatch": lambda ctx: f"write text of the form {ctx['pattern']}",
}


def _bound(error: Any) -> tuple[str, str] | None:
    words = _BOUNDS.get(error["type"])
    return (f"{shown(error['input'])} is not allowed", words(error.get("ctx", {}))) if words else None


def in_order(faults: Iterable[Fault]) -> list[Fault]:
    """Sort faults by line and column, those without a place last, each once."""

    def place(fault: Fault) -> tuple[int, int]:
        line, _, column = fault.place.partition(":")
        return (int(line), int(column)) if line else (1 << 30, 0)

    return sorted(dict.fromkeys(faults), key=place)


def advise(word: str, known: Iterable[str]) -> str:
    """Say which known word was probably meant, or which there are."""
    names = sorted(set(known))
    folded = {name.lower(): name for name in names}
    close = get_close_matches(word.lower(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    listed = ", ".join(names[:24]) + (", ..." if len(names) > 24 else "")
    return f"known: {listed}" if names else "remove it"


def _about_key(model: type[BaseModel], path: KeyPath) -> str:
    parents = _models_at(model, path[:-1])
    return advise(str(path[-1]), {name for parent in parents for name in field_names(parent)})


def field_names(model: type[BaseModel]) -> dict[str, Any]:
    """Map the keys of a model, as a file spells them, to the annotations of their fields."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _models_at(model: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    models = [model]
    for part in path:
        inner = [names[part] for names in map(field_names, models) if part in names]
        # An index into a list, or a free key of a mapping, stays with the models found for its parent.
        models = [found for annotation in inner for found in models_in(annotation)] if inner else models
    return models


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Find the models an annotation is made of: in unions, lists and mappings alike."""
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    if get_origin(annotation) is Annotated:
        return models_in(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType, list, tuple, dict, Mapping, frozenset}:
        return [found for part in get_args(annotation) for found in models_in(part)]
    return []
