"""The commented starter recipe of ``daskpar init``, written from the models of an analysis."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from daskpar.analysis import load_analysis
from daskpar.errors import AnalysisError
from daskpar.settings.analysis_check import AnalysisModels
from daskpar.settings.checking import models_in
from daskpar.settings.schema import FOLDER, inputs_model, schema_name
from daskpar.settings.yaml_text import flow_text

_SOURCES = ("synthetic", "files", "grid")


def starter(
    analysis: str | AnalysisModels, outputs: Sequence[str] | None = None, schema: str | None = None
) -> str:
    """Write a recipe that is valid as it stands and says of every option what it may be.

    Parameters
    ----------
    analysis : str or AnalysisModels
        A built-in or installed analysis by its name, or the record of any. Its models give the keys,
        defaults, examples and descriptions.
    outputs : sequence of str
        Names to put under ``outputs``; default: the record's own `outputs`, if it has some.
    schema : str
        Path or address of the JSON schema, for editors; default: the installed one.

    Returns
    -------
    str
        YAML with comments.

    Raises
    ------
    RecipeError
        For a name that no analysis has.
    AnalysisError
        For an option that has neither a default nor an example.
    """
    if isinstance(analysis, str):
        analysis = load_analysis(analysis)
    name = analysis.name.rpartition(":")[0] or analysis.name
    names = list(getattr(analysis, "outputs", ()) if outputs is None else outputs)
    lines = [
        f"# yaml-language-server: $schema={schema or FOLDER / schema_name(analysis.name)}",
        "# What to compute. Where it runs is said by a profile: daskpar run THIS_FILE -p PROFILE",
        f"name: {name}",
        f"analysis: {analysis.name}",
        "",
        *_inputs_lines(inputs_model(analysis)),
    ]
    if analysis.options is not None and analysis.options.model_fields:
        lines += ["# Settings of the analysis; what stands here are the defaults.", "options:"]
        lines += [*_model_lines(analysis.options, {}, 2), ""]
    lines += [
        "# Files to write into the folder results of the run; the suffix chooses the format.",
        f"outputs: {flow_text(names)}",
        "# Whether stored blocks outlive a finished run: always, or until_done.",
        "keep_ledger: always",
    ]
    return "\n".join(lines) + "\n"


def _inputs_lines(model: type[BaseModel]) -> list[str]:
    """Write one source that needs no data if there is one, and the others as comments."""
    fields = model.model_fields
    if not fields:
        return []
    sources = [name for name in _SOURCES if name in fields]
    if "synthetic" in sources and not models_in(fields["synthetic"].annotation):
        sources.remove("synthetic")  # free keys: nothing can be filled in
    lines = [
        "# What to read, or how to make it. Paths are relative to this file, or to a root of the profile."
    ]
    lines += ["inputs:"]
    for name in [*sources, *(name for name in fields if name not in _SOURCES)]:
        live = name not in sources[1:]
        written = _field_lines(model, name, _example(fields[name]), 2)
        lines += written if live else [_commented(line, 2) for line in written]
    return [*lines, ""]


def _example(field: FieldInfo) -> Any:
    inner = models_in(field.annotation)
    if inner:
        return inner[0]
    return field.examples[0] if field.examples else _value(field, "")


def _model_lines(model: type[BaseModel], values: Mapping[str, Any], indent: int) -> Iterable[str]:
    for name, field in model.model_fields.items():
        value = values[name] if name in values else _value(field, name)
        yield from _field_lines(model, name, value, indent)


def _value(field: FieldInfo, name: str) -> Any:
    if not field.is_required():
        return field.get_default(call_default_factory=True, validated_data={})
    if field.examples:
        return field.examples[0]
    inner = models_in(field.annotation)
    if inner:
        return inner[0]
    raise AnalysisError(
        f"option '{name}' has neither a default nor an example", "give its Field a default or examples"
    )


def _field_lines(model: type[BaseModel], name: str, value: Any, indent: int) -> list[str]:
    """Write one key below its comment; a model or an instance of one becomes a nested mapping."""
    field = model.model_fields[name]
    key = field.alias or name
    blanks = " " * indent
    comment = _comment(model, key)
    lines = textwrap.wrap(comment, 100, initial_indent=f"{blanks}# ", subsequent_indent=f"{blanks}# ")
    if isinstance(value, type):
        return [*lines, f"{blanks}{key}:", *_model_lines(value, {}, indent + 2)]
    if isinstance(value, BaseModel):
        inner = _model_lines(type(value), dict(value), indent + 2)
        return [*lines, f"{blanks}{key}:", *inner]
    lines.append(f"{blanks}{key}: {flow_text(to_jsonable_python(value))}")
    for optional in models_in(field.annotation)[:1] if value is None else []:
        nested = [f"{blanks}{key}:", *_model_lines(optional, {}, indent + 2)]
        lines += [_commented(line, indent) for line in nested]
    return lines


def _commented(line: str, indent: int) -> str:
    if line.startswith("#", indent):
        return line
    return f"{line[:indent]}# {line[indent:]}"


def _comment(model: type[BaseModel], key: str) -> str:
    whole = model.model_json_schema()
    part = whole["properties"][key]
    description = str(part.get("description", "")).replace("\n", " ")
    allowed = _allowed(part, whole.get("$defs", {}))
    return f"{description} ({allowed})" if description and allowed else description or allowed


_LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "null": "null",
}


def _allowed(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Say in a few words what a JSON schema allows."""
    if "$ref" in part:
        return _allowed(definitions.get(part["$ref"].rpartition("/")[2], {}), definitions)
    if "anyOf" in part:
        words = dict.fromkeys(_allowed(one, definitions) for one in part["anyOf"])
        text = " or ".join(word for word in words if word not in {"", "null"})
        return f"{text}, or null" if text and "null" in words else text
    if "enum" in part or "const" in part:
        choices = part.get("enum", [part.get("const")])
        return ("one of " if len(choices) > 1 else "") + ", ".join(map(flow_text, choices))
    if part.get("type") == "array" and isinstance(part.get("items"), Mapping):
        inner = _allowed(part["items"], definitions)
        return f"a list, each {inner}" if inner else "a list"
    if "minimum" in part and "maximum" in part:
        return f"{_TYPES.get(part.get('type', ''), '')} from {part['minimum']} to {part['maximum']}"
    limits = [words.format(part[key]) for key, words in _LIMITS.items() if key in part]
    return " ".join([_TYPES.get(part.get("type", ""), ""), " and ".join(limits)]).strip()
