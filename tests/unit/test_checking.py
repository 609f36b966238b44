"""Faults of models of all kinds, in our words and at their keys."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from daskpar.errors import InputError
from daskpar.settings.checking import check, models_in
from daskpar.settings.document import Document, dotted, key_path
from daskpar.settings.grammar import fault_at
from daskpar.settings.strict_yaml import parse_yaml


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Filter(Enum):
    RED = "red"
    BLUE = "blue"


class Box(_Settings):
    shape: Literal["box"] = "box"
    side_mpc: float = Field(gt=0)


class Ball(_Settings):
    shape: Literal["ball"] = "ball"
    radius_mpc: float


class Model(_Settings):
    band: Filter = Filter.RED
    beta: Literal[2, 3, 4] = 3
    region: Annotated[Box | Ball, Field(discriminator="shape")] | None = None
    either: Box | Ball | None = None
    boxes: tuple[Box, ...] = ()
    named: dict[str, Box] = Field(default_factory=dict)
    file: Path | None = None
    mixed: int | Literal["auto"] | list[int] = "auto"
    even: int = Field(2, multiple_of=2)
    code: str = Field("a", pattern="^[a-z]+$", max_length=4)
    low: float = 0.0
    high: float = 1.0
    renamed: int = Field(0, alias="class")
    pair: tuple[int, int] = (1, 2)
    flags: frozenset[str] = frozenset()
    own: int = 0

    @field_validator("own")
    @classmethod
    def _speaks_for_itself(cls, value):
        if value == 13:
            raise InputError("13 is never used", "write 12 or 14")
        return value

    @model_validator(mode="after")
    def _ordered(self):
        if self.high <= self.low:
            raise fault_at("high", "is not above low", f"write more than {self.low:g}")
        return self


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("band: gren", "1:7 band: 'gren' is not known; known: blue, red"),
        ("band: blu", "1:7 band: 'blu' is not known; did you mean 'blue'?"),
        ("beta: 5", "1:7 beta: 5 is not known; known: 2, 3 or 4"),
        ("region: {shape: bal}", "1:17 region.shape: 'bal' is not known; did you mean 'ball'?"),
        ("region: {side_mpc: 1}", "1:1 region.shape: is missing; add the key 'shape'"),
        ("region: {shape: box, side: 1}", "region.side: unknown key 'side'; did you mean 'side_mpc'?"),
        ("region: {shape: box, side: 1}", "region.side_mpc: is missing; add the key 'side_mpc'"),
        ("region: 3", "1:9 region: 3 is not a mapping of keys; write a mapping of keys"),
        (
            "boxes: [{side_mpc: 1}, {side_mpc: -1}]",
            "boxes[1].side_mpc: -1 is not allowed; write a value above 0",
        ),
        ("boxes: [{side_mp: 1}]", "boxes[0].side_mp: unknown key 'side_mp'; did you mean 'side_mpc'?"),
        ("named: {a: {side_mp: 1}}", "named.a.side_mp: unknown key 'side_mp'; did you mean 'side_mpc'?"),
        ("file: 3", '1:7 file: 3 is not text; quote it: "3"'),
        (
            "mixed: aut",
            "1:8 mixed: 'aut' is not known; did you mean 'auto'? or write a whole number or a list",
        ),
        ("mixed: [1, x]", "1:12 mixed[1]: 'x' is not a whole number; write a whole number"),
        ("even: 3", "1:7 even: 3 is not allowed; write a multiple of 2"),
        ("code: a1", "1:7 code: 'a1' is not allowed; write text of the form ^[a-z]+$"),
        ("code: abcde", "1:7 code: 'abcde' is not allowed; write at most 4 characters"),
        ("low: 2", "1:1 high: is not above low; write more than 2"),
        ("class: x", "1:8 class: 'x' is not a whole number; write a whole number"),
        ("renamed: 1", "1:1 renamed: unknown key 'renamed'; "),
        ("pair: [1]", "pair"),
        ("flags: x", "1:8 flags: 'x' is not a list; write a list"),
        ("own: 13", "13 is never used; write 12 or 14"),
        ("low: true", "1:6 low: true is not a number; write a number"),
        ("low: '1'", "1:6 low: '1' is not a number; write a number"),
        ("low: {a: 1}", "1:6 low: is a mapping of keys; write a number"),
        ("low:", "1:1 low: is empty; write a number, or remove the key"),
        ("even: 2.0", "1:7 even: 2.0 is not a whole number; write a whole number"),
    ],
)
def test_words_and_places(text, fault):
    instance, faults = check(Model, (document := parse_yaml(text, "r.yaml")).data, document)
    assert instance is None
    assert any(fault in str(one) for one in faults), [str(one) for one in faults]
    assert all("Input should" not in str(one) for one in faults)


def test_what_is_right_passes():
    data = {
        "band": "blue",
        "region": {"shape": "ball", "radius_mpc": 3},
        "boxes": [{"side_mpc": 1}],
        "file": "a/b",
        "mixed": [1],
        "class": 3,
        "pair": [1, 2],
        "high": float("inf"),
    }
    instance, faults = check(Model, data, Document(data))
    assert faults == []
    assert instance.region == Ball(radius_mpc=3.0)
    assert instance.file == Path("a/b")
    assert instance.renamed == 3


def test_prefixes_are_part_of_the_key():
    document = parse_yaml("options:\n  boxes:\n  - {side_mpc: x}\n", "r.yaml")
    faults = check(Model, document.data["options"], document, ("options",))[1]
    assert [str(fault)[:43] for fault in faults] == ["r.yaml:3:16 options.boxes[0].side_mpc: 'x' i"[:43]]


@pytest.mark.parametrize("path", [("a",), ("a", "b", 3), ("a", 0, 1, "b"), ()])
def test_key_paths_are_written_and_read(path):
    assert key_path(dotted(path)) == path


def test_models_are_found_in_annotations():
    assert models_in(dict[str, Box | None] | list[Ball]) == [Box, Ball]
    assert models_in(Annotated[Box, Field()] | int) == [Box]
    assert models_in(int) == []
