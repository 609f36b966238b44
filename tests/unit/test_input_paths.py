"""From the patterns of a recipe to paths."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskpar.errors import InputError, RecipeError
from daskpar.settings.input_paths import natural_order, resolve_inputs


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data" / "night1").mkdir(parents=True)
    for name in (
        "m10.fits",
        "m9.fits",
        "m1.fits",
        "b[1].fits",
        "b1.fits",
        "a b\n.fits",
        "ä.fits",
        "x:y.fits",
    ):
        (tmp_path / "data" / name).touch()
    (tmp_path / "data" / "night1" / "m2.fits").touch()
    return tmp_path


def names(paths, folder):
    assert all(os.path.isabs(path) for path in paths)
    return [os.path.relpath(path, folder) for path in paths]


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        ("data/m*.fits", ["data/m1.fits", "data/m9.fits", "data/m10.fits"]),
        ("data/**/m*.fits", ["data/m1.fits", "data/m9.fits", "data/m10.fits", "data/night1/m2.fits"]),
        (["data/m9.fits", "data/m1*.fits"], ["data/m9.fits", "data/m1.fits", "data/m10.fits"]),
        (["data/m1.fits", "data/m*.fits"], ["data/m1.fits", "data/m9.fits", "data/m10.fits"]),
        ("data/b[1].fits", ["data/b[1].fits"]),
        ("data/b[[]1].fits", ["data/b[1].fits"]),
        ("data/a b\n.fits", ["data/a b\n.fits"]),
        ("data/?.fits", ["data/ä.fits"]),
        ("./data/x:y.fits", ["data/x:y.fits"]),
        ("data/gone.fits", ["data/gone.fits"]),
        ("data/../data/m1.fits", ["data/m1.fits"]),
        ("data/m?.fits[SCI,2]", ["data/m1.fits[SCI,2]", "data/m9.fits[SCI,2]"]),
        ("data/m1.fits[1]", ["data/m1.fits[1]"]),
        ("raw:m*.fits", ["data/night1/m2.fits"]),
        ("raw:m2.fits", ["data/night1/m2.fits"]),
    ],
)
def test_patterns(folder, patterns, found):
    roots = {"raw": folder / "data" / "night1"}
    assert names(resolve_inputs(patterns, folder, roots), folder) == found


def test_absolute_and_relative_bases(folder, monkeypatch):
    absolute = str(folder / "data" / "m?.fits")
    assert names(resolve_inputs(absolute, "/"), folder) == ["data/m1.fits", "data/m9.fits"]
    monkeypatch.chdir(folder / "data")
    assert names(resolve_inputs("m?.fits", "."), folder) == ["data/m1.fits", "data/m9.fits"]
    assert names(resolve_inputs("../data/m?.fits", ""), folder) == ["data/m1.fits", "data/m9.fits"]


def test_a_base_that_looks_like_a_pattern(tmp_path):
    base = tmp_path / "run[1]*"
    base.mkdir()
    (base / "a1.fits").touch()
    assert resolve_inputs("a*.fits", base) == [str(base / "a1.fits")]
    assert resolve_inputs("a1.fits", base) == [str(base / "a1.fits")]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("rw:m*.fits", "unknown root 'rw'; did you mean 'raw'?"),
        ("x:y.fits", r"write ./x:y.fits for a file"),
        ("raw:../m1.fits", "leaves the root"),
        ("raw:/etc/passwd", "leaves the root"),
        ("raw:", "leaves the root"),
        ("https://example.org/a.fits", "remote address"),
        ("s3://bucket/a.fits", "remote address"),
    ],
)
def test_roots_that_are_wrong(pattern, words):
    with pytest.raises(RecipeError, match=words):
        resolve_inputs(pattern, "/data", {"raw": "/raw"})


def test_a_pattern_without_a_match_is_named(folder):
    with pytest.raises(InputError, match=r"inputs.files\[1\]: no file matches 'data/z\*.fits'; looked in"):
        resolve_inputs(["data/m*.fits", "data/z*.fits"], folder)


@given(st.lists(st.text("ab019._²", max_size=6), unique=True))
def test_the_order_is_total_and_natural(words):
    assert sorted(words, key=natural_order) == sorted(reversed(words), key=natural_order)
    numbers = [f"m{len(word) * 7}.fits" for word in words]
    assert sorted(numbers, key=natural_order) == sorted(numbers, key=lambda name: int(name[1:-5]))
