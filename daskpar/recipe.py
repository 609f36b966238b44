"""The recipe: a YAML file that says what to compute, and nothing about where.

``Recipe.load`` reads it strictly, applies ``--set``, checks the options and inputs against the models of the
analysis, and raises every fault at once, each with its line, its column and what to do.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr

from daskpar.errors import DaskparError, Fault, RecipeError
from daskpar.settings.analysis_check import (
    MAX_OUTPUTS,
    Lookup,
    find_analysis,
    misplaced,
    output_faults,
    resolve,
)
from daskpar.settings.checking import check, in_order
from daskpar.settings.document import Document, key_path
from daskpar.settings.grammar import CodeName, OutputName, RunName, shown
from daskpar.settings.overrides import override
from daskpar.settings.yaml_file import read_yaml
from daskpar.settings.yaml_text import dump_yaml


class Recipe(BaseModel):
    """A checked recipe. Immutable; `dump` writes it with every default filled in.

    Parameters
    ----------
    name : str
        Name of the runs: letters, digits, ``.``, ``_`` and ``-``.
    analysis : str
        A built-in or installed analysis, or ``module:attribute``.
    inputs, options : dict
        Plain data, as the models of the analysis accept them, defaults included.
    outputs : tuple of str
        Names inside the results folder; the suffix chooses the format.
    keep_ledger : {"always", "until_done"}
        Whether the stored partials outlive a finished run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="daskpar recipe")

    name: RunName = Field(description="Name of the runs")
    analysis: CodeName = Field(description="A built-in or installed analysis, or module:attribute")
    inputs: dict[str, JsonValue] = Field(default_factory=dict, description="What to read, or how to make it")
    options: dict[str, JsonValue] = Field(default_factory=dict, description="Settings of the analysis")
    outputs: tuple[OutputName, ...] = Field(
        (),
        max_length=MAX_OUTPUTS,
        description="Files to write, inside the results folder; the suffix chooses the format",
    )
    keep_ledger: Literal["always", "until_done"] = Field(
        "always", description="Whether stored blocks outlive a finished run"
    )
    _folder: Path = PrivateAttr(default_factory=Path.cwd)
    _document: Document | None = PrivateAttr(None)

    @property
    def folder(self) -> Path:
        """The folder that relative input paths refer to: where the recipe stands."""
        return self._folder

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        overrides: Iterable[str] = (),
        analysis_lookup: Lookup | None = None,
        *,
        analysis_names: Iterable[str] = (),
        suffixes: Collection[str] | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> Recipe:
        """Read and check a recipe.

        Parameters
        ----------
        path : path
            The YAML file.
        overrides : iterable of str
            ``options.sigma=3`` and the like, applied in order.
        analysis_lookup : callable
            Gives the analysis of a name. Without it, options and inputs are taken as they stand.
        analysis_names : iterable of str
            Known analyses, for "did you mean".
        suffixes : collection of str
            Suffixes that an output may have, each with its dot; None accepts any.
        folder : path
            What relative inputs refer to, where it is not the folder of the file.

        Raises
        ------
        RecipeError
            With every fault at once, in the order of the file.
        """
        document, faults = override(read_yaml(path), overrides)
        return cls._checked(
            document,
            faults,
            analysis_lookup,
            analysis_names,
            suffixes,
            Path(folder) if folder is not None else Path(path).parent,
        )

    @classmethod
    def from_data(
        cls,
        data: Mapping[str, Any],
        analysis_lookup: Lookup | None = None,
        *,
        analysis_names: Iterable[str] = (),
        suffixes: Collection[str] | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> Recipe:
        """Make a recipe from a mapping under the same checks; see `load`.

        Paths become texts, and tuples and NumPy arrays lists, as they would stand in a file.
        """
        try:
            plain = json.loads(json.dumps(dict(data), default=_plain))
        except (TypeError, ValueError) as problem:
            raise RecipeError(
                f"the recipe holds what no file can hold ({problem})",
                "use texts, numbers, booleans, None, lists and mappings",
            ) from problem
        return cls._checked(Document(plain), [], analysis_lookup, analysis_names, suffixes, Path(folder))

    @classmethod
    def _checked(
        cls,
        document: Document,
        faults: list[Fault],
        analysis_lookup: Lookup | None,
        analysis_names: Iterable[str],
        suffixes: Collection[str] | None,
        folder: Path,
    ) -> Recipe:
        recipe, found = check(cls, document.data, document)
        resolved: dict[str, Any] = {}
        analysis, missing = find_analysis(document, analysis_lookup, analysis_names)
        found = [misplaced(fault, analysis) for fault in found]
        faults = [*faults, *found, *output_faults(document, suffixes), *missing]
        if analysis is not None:
            resolved, wrong = resolve(document, analysis)
            faults += wrong
        if recipe is None or faults:
            raise RecipeError(faults=in_order(faults))
        recipe = recipe.model_copy(update=resolved)
        recipe._folder = folder.absolute()
        recipe._document = document
        return recipe

    def located(self, error: DaskparError) -> DaskparError:
        """Give an error its place in the recipe: each fault that names a key of it but no file.

        For faults found after loading, such as a pattern without a match::

            except DaskparError as error:
                raise recipe.located(error) from error
        """
        document = self._document
        if document is None:
            return error
        placed = [
            document.fault(key_path(fault.key), fault.what, fault.todo)
            if fault.key and not fault.path
            else fault
            for fault in error.faults
        ]
        return type(error)(faults=placed)

    def data(self) -> dict[str, Any]:
        """Give the recipe as plain data, in the order of the model."""
        plain: dict[str, Any] = json.loads(json.dumps(self.model_dump(mode="json")))
        return plain

    def dump(self) -> str:
        """Write the recipe as YAML that `load` reads back to the same recipe."""
        return dump_yaml(self.data())

    def digest(self) -> str:
        """Give the SHA-256, in hex, of the canonical JSON of the recipe. It knows no folder."""
        return hashlib.sha256(_canonical(self.data()).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars, without importing NumPy
        return value.tolist()
    raise TypeError(f"{shown(value)} of type {type(value).__name__}")


def _canonical(data: object) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def difference(old: Recipe | Mapping[str, Any], new: Recipe | Mapping[str, Any]) -> list[str]:
    """Say what changed between two recipes, one line a key: ``options.sigma: 3 -> 4``.

    Parameters
    ----------
    old, new : Recipe or mapping
        Plain mappings are taken as the data of a recipe.

    Returns
    -------
    list of str
        In sorted order; empty where the digests would be equal.
    """
    before, after = (one.data() if isinstance(one, Recipe) else dict(one) for one in (old, new))
    return _differences(before, after, "")


def _differences(old: Any, new: Any, key: str) -> list[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        lines = []
        for name in sorted({*old, *new}):
            below = f"{key}.{name}" if key else name
            if name not in old:
                lines.append(f"{below}: added, {_canonical(new[name])}")
            elif name not in new:
                lines.append(f"{below}: removed, was {_canonical(old[name])}")
            else:
                lines += _differences(old[name], new[name], below)
        return lines
    return [f"{key}: {_canonical(old)} -> {_canonical(new)}"] if _canonical(old) != _canonical(new) else []
