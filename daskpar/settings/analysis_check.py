"""Checking the parts of a recipe that an analysis defines: its options and its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Annotated, Any, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from daskpar.errors import DaskparError, Fault
from daskpar.profile import KINDS
from daskpar.settings.checking import advise, check, field_names
from daskpar.settings.document import Document
from daskpar.settings.grammar import is_code_name, shown
from daskpar.settings.strict_yaml import MAX_FAULTS


class AnalysisModels(Protocol):
    """What a recipe needs to know of an analysis."""

    @property
    def name(self) -> str:
        """Name as recipes write it."""

    @property
    def options(self) -> type[BaseModel] | None:
        """Model of the options; None where there are none."""

    @property
    def inputs(self) -> type[BaseModel] | None:
        """Model of the inputs. None: the usual sources, `Inputs`.

        A model that names a source itself (files, synthetic, grid), or has no key at all, stands for the
        whole mapping; another adds its keys to the usual sources.
        """


MAX_OUTPUTS = 100
Lookup = Callable[[str], AnalysisModels]

FilePattern = Annotated[str, Field(min_length=1, max_length=4096)]


class Inputs(BaseModel):
    """The sources every analysis may have; its own model may add keys, or replace this one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: FilePattern | tuple[FilePattern, ...] | None = Field(
        None,
        description="Paths or patterns, relative to the recipe or to a root of the profile",
        examples=["data/M13_*.fits", "data:night1/*.fits"],
    )
    synthetic: dict[str, JsonValue] | None = Field(None, description="Seeded artificial data")
    grid: dict[str, JsonValue] | None = Field(
        None,
        description="Lists of parameter values: every combination",
        examples=[{"gain": [1.0, 1.5], "seed": [1, 2]}],
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("files", "synthetic", "grid") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"names {' and '.join(given)}; keep one source")
        return self


def find_analysis(
    document: Document, lookup: Lookup | None, names: Iterable[str]
) -> tuple[AnalysisModels | None, list[Fault]]:
    """Look the recipe's analysis up, and place what the look-up says at the key ``analysis``."""
    name = document.data.get("analysis")
    if lookup is None or not isinstance(name, str) or not is_code_name(name):
        return None, []
    try:
        return lookup(name), []
    except DaskparError as problem:
        known = list(names)
        placed = []
        for fault in problem.faults:
            todo = fault.todo if "did you mean" in fault.todo or not known else advise(name, known)
            placed.append(document.fault(("analysis",), fault.what, todo))
        return None, placed


def resolve(document: Document, analysis: AnalysisModels) -> tuple[dict[str, Any], list[Fault]]:
    """Check inputs and options by the analysis's own models, and fill in their defaults."""
    resolved: dict[str, Any] = {}
    faults: list[Fault] = []
    parts = [("options", analysis.options, document.data.get("options", {}))]
    given = document.data.get("inputs", {})
    base, own = _split_inputs(analysis.inputs, given)
    parts += [("inputs", Inputs, base)] if base is not None else []
    parts += [("inputs", analysis.inputs, own)] if analysis.inputs is not None else []
    for key, model, data in parts:
        if not isinstance(data, dict):
            continue  # the recipe's own model has said so
        if model is None:
            faults += _no_options(document, data, analysis.name)
            continue
        instance, found = check(model, data, document, (key,))
        faults += found
        if instance is not None:
            # Absent sources stay absent; an option's default is part of what was computed.
            plain = instance.model_dump(mode="json", exclude_none=key == "inputs", by_alias=True)
            resolved[key] = {**resolved.get(key, {}), **plain}
    return resolved, faults


def _no_options(document: Document, data: dict[str, Any], analysis: str) -> list[Fault]:
    return [
        document.fault(("options", key), f"{analysis} has no options", "remove the key", on_key=True)
        for key in data
    ]


def rules_all_inputs(model: type[BaseModel]) -> bool:
    """Tell whether an analysis's inputs model replaces the usual sources; see `AnalysisModels.inputs`."""
    own = field_names(model).keys()
    return not own or bool(own & field_names(Inputs).keys())


def _split_inputs(model: type[BaseModel] | None, given: object) -> tuple[object | None, object]:
    """Part the mapping between the usual sources and the analysis's own keys.

    `AnalysisModels.inputs` says which model rules what.
    """
    if model is None:
        return given, None
    sources = field_names(Inputs)
    if not isinstance(given, dict) or rules_all_inputs(model):
        return None, given
    base = {key: value for key, value in given.items() if key in sources}
    return base, {key: value for key, value in given.items() if key not in sources}


def output_faults(document: Document, suffixes: Collection[str] | None) -> list[Fault]:
    """Find outputs whose suffix stands for no format, and names that collide."""
    outputs = document.data.get("outputs")
    if not isinstance(outputs, list):
        return []
    faults = []
    allowed = ", ".join(sorted(suffixes or ()))
    for index, name in enumerate(outputs[:MAX_OUTPUTS]):
        if not isinstance(name, str):
            continue  # the recipe's own model has said so
        others = [other for other in outputs[:index] if isinstance(other, str)]
        place = ("outputs", index)
        if suffixes is not None and not name.endswith(tuple(suffixes)):
            faults.append(document.fault(place, f"{shown(name)} has no known suffix", f"known: {allowed}"))
        if name in others:
            faults.append(document.fault(place, f"{shown(name)} stands here again", "name each output once"))
        elif any(
            one.startswith(two + "/") for other in others for one, two in ((name, other), (other, name))
        ):
            what = f"{shown(name)} and an output before it would be a file and a folder of one name"
            faults.append(document.fault(place, what, "rename one"))
    return faults[:MAX_FAULTS]


def misplaced(fault: Fault, analysis: AnalysisModels | None) -> Fault:
    """Say where an unknown key at the top of a recipe belongs, if it is an option or a key of profiles."""
    if not fault.what.startswith("unknown key") or "." in fault.key:
        return fault
    key = fault.key.removeprefix("--set ")
    if analysis is not None and analysis.options is not None and key in field_names(analysis.options):
        return replace(fault, todo=f"it is an option: indent it below options, as options.{key}")
    if any(key in field_names(kind) for kind in KINDS.values()):
        return replace(fault, todo="it says where to run: move it to a profile")
    return fault
