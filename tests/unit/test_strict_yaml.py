"""The strict YAML loader and the writer beside it."""

import io
import math
import os
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from daskpar.errors import ProfileError, RecipeError
from daskpar.settings.strict_yaml import MAX_NODES, parse_yaml
from daskpar.settings.yaml_file import MAX_BYTES, read_yaml
from daskpar.settings.yaml_scalars import plain_value
from daskpar.settings.yaml_text import dump_yaml, scalar_text

TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5))
def test_what_is_written_is_read_back(data):
    assert parse_yaml(dump_yaml(data)).data == data


@given(st.dictionaries(TEXTS, SCALARS, min_size=1, max_size=5))
def test_other_readers_agree(data):
    read = YAML(typ="safe", pure=True).load(io.StringIO(dump_yaml(data)))
    assert {key: value for key, value in read.items()} == data


def test_nan_is_written_and_read():
    assert math.isnan(parse_yaml(dump_yaml({"a": float("nan")})).data["a"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("30:00", "30:00"),
        ("01:00:00", "01:00:00"),
        ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("-12", -12),
        ("+3", 3),
        ("0", 0),
        ("1e3", 1000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("true", True),
        ("True", True),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_follow_the_core_schema(text, value):
    read = plain_value(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ["007", "-01", "1e999", "9" * 50])
def test_numbers_that_would_change_are_refused(text):
    with pytest.raises(ValueError, match=r"zero|large|40"):
        plain_value(text)


@pytest.mark.parametrize(
    "word", ["yes", "No", "null", "1", "1.5", "", "a: b", "#x", "- a", "&a", "30:00", "é"]
)
def test_ambiguous_texts_are_quoted(word):
    assert scalar_text(word) == f'"{word}"'


def test_positions_of_keys_and_values():
    document = parse_yaml("a: 1\nb:\n  c: [x, {d: 2}]\n", "r.yaml")
    assert document.keys[("b", "c")] == (3, 3)
    assert document.values[("b", "c", 0)] == (3, 7)
    assert document.values[("b", "c", 1, "d")] == (3, 14)
    assert str(document.fault(("b", "c", 1, "d"), "is odd", "x")) == "r.yaml:3:14 b.c[1].d: is odd; x"
    assert document.fault(("b", "gone"), "is missing").place == "2:1"
    assert document.fault(("gone",), "is missing").place == "1:1"


def test_several_faults_at_once():
    text = "a: 1\na: 2\nb: &x 1\nc: *x\nd: !!python/object/apply:os.system [ls]\n<<: {z: 1}\n1: 2\n"
    with pytest.raises(RecipeError) as refusal:
        parse_yaml(text, "r.yaml")
    assert [fault.place for fault in refusal.value.faults] == ["2:1", "3:4", "4:4", "5:4", "6:1", "7:1"]


def test_many_faults_are_cut_to_a_readable_number():
    with pytest.raises(RecipeError) as refusal:
        parse_yaml("".join(f"{i}: 1\n" for i in range(1000)), "r.yaml")
    assert len(refusal.value.faults) < 60
    assert "more faults" in str(refusal.value)


def test_the_caller_chooses_the_error(tmp_path):
    with pytest.raises(ProfileError, match=r"p\.yaml: there is no such file"):
        read_yaml(tmp_path / "p.yaml", ProfileError)


def test_a_huge_file_is_never_read(tmp_path):
    path = tmp_path / "huge.yaml"
    with open(path, "wb") as file:
        file.truncate(50_000_000)
    tracemalloc.start()
    with pytest.raises(RecipeError, match=r"huge.yaml:1:1: is 50.0 MB, above the limit of 1 MB"):
        read_yaml(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_a_large_honest_file_is_read(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("files:\n" + "".join(f"  - data/night1/frame_{i:05d}.fits\n" for i in range(10_000)))
    assert path.stat().st_size < MAX_BYTES
    assert len(read_yaml(path).data["files"]) == 10_000


@pytest.mark.parametrize(
    "text", [f"a: [{'1,' * MAX_NODES}]", "a:\n" + "  x y\n" * 30_000, "a: " + "[" * 5000]
)
def test_bounds_on_what_is_parsed(text):
    with pytest.raises(RecipeError, match=r"more than \d+"):
        parse_yaml(text)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "recipe.yaml").write_text("a: 1")
    for name, words in {
        "fifo.yaml": "is no regular file",
        ".": "is a folder",
        "link.yaml": "a link to nothing",
        "loop.yaml": "cannot be read",
        "recipes.yaml": "did you mean '.*/recipe.yaml'",
        "no/such.yaml": "no folder",
        "nul\0.yaml": "cannot be read",
        "n" * 300: "cannot be read",
    }.items():
        with pytest.raises(RecipeError, match=words):
            read_yaml(f"{tmp_path}/{name}")
    with pytest.raises(RecipeError, match="no regular file"):
        read_yaml("/dev/zero")


def test_an_unreadable_file(tmp_path, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # not by chmod: root reads everything
    with pytest.raises(RecipeError, match=r"secret.yaml: cannot be read \(Permission denied\); check"):
        read_yaml(tmp_path / "secret.yaml")
