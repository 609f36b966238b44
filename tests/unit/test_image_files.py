"""Which files and HDUs are meant, and what their headers say about the exposure."""

import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from fits_maker import (
    EMPTY_PRIMARY,
    PIXELS,
    extension,
    header,
    primary,
    same,
    write,
    write_mef,
)
from hypothesis import given
from hypothesis import strategies as st

from daskpar.errors import InputError
from daskpar.inputs import images
from daskpar.inputs.fits_header import Header
from daskpar.inputs.image_files import natural, parse_selector


@pytest.fixture
def mef(tmp_path):
    return write_mef(tmp_path)


def test_files_are_in_natural_order_within_a_glob_and_as_written_in_a_list(tmp_path):
    for i in (1, 2, 10, 20):
        write(tmp_path / f"m{i}.fits")
    names = ("m1.fits", "m2.fits", "m10.fits", "m20.fits")
    assert images.scan_images("m*.fits", root=tmp_path).paths == names
    written = ["m20.fits", tmp_path / "m1.fits", "m[2]*0.fits", "m2.fits"]
    with pytest.raises(InputError, match=r"m20\.fits files: listed 2 times"):
        images.scan_images(written, root=tmp_path)
    assert images.scan_images(written[1:], root=tmp_path).paths == ("m1.fits", "m20.fits", "m2.fits")


@given(st.lists(st.text("a01", max_size=5), max_size=6))
def test_natural_order_is_an_order(names):
    assert sorted(sorted(names), key=natural) == sorted(sorted(names, reverse=True), key=natural) or any(
        natural(a) == natural(b) for a in names for b in names if a != b
    )


@pytest.mark.parametrize(
    "name",
    ["naïve ß 東京.fits", "two\nlines.fits", " blank .fits", "a[SCI,2].fits", "st*r.fits", "x.fits[SCI]"],
)
def test_odd_names_work(tmp_path, name):
    write(tmp_path / name)
    stack = images.scan_images(name, root=tmp_path)
    same(images.read_frame(stack, 0), PIXELS)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError) as error:
        images.scan_images(name, root=tmp_path)
    assert "\n" not in str(error.value)


def test_a_name_that_is_not_utf8_works(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.fits")
    write(path)
    stack = images.scan_images("*.fits", root=tmp_path)
    same(images.read_frame(stack, 0), PIXELS)
    assert len(stack.identity()) == 40


@pytest.mark.parametrize(
    ("hdu", "number"),
    [(None, 1), (1, 1), ("SCI", 1), ("sci,2", 3), (("SCI", 2), 3), ("3", 3), ("ERR", 6), (" DQ , 2 ", 4)],
)
def test_hdus_are_found_by_number_name_and_version(mef, hdu, number):
    stack = images.scan_images(mef, hdu=hdu)
    assert stack.data.hdu.tolist() == [number]
    same(images.read_frame(stack, 0), fits.getdata(mef, number))
    if hdu is not None and not isinstance(hdu, tuple):
        assert images.scan_images(f"{mef}[{hdu}]").identity() == stack.identity()


def test_a_selector_behind_a_name_wins_and_goes_with_globs(mef):
    stack = images.scan_images([f"{mef.parent}/*.fits[SCI,2]", mef], hdu="ERR")
    assert stack.data.hdu.tolist() == [3, 6]


@pytest.mark.parametrize("text", ["", "SCI,x", "SCI,2,3", (1, 2), ("SCI", 1.5), -1, True, ",2"])
def test_what_names_no_hdu_is_refused(text):
    with pytest.raises(InputError, match="names no HDU"):
        parse_selector(text)


def test_keywords_of_the_exposure_come_from_the_primary_header_too(mef):
    stack = images.scan_images(mef)
    assert stack.exposure.tolist() == [12.5]
    assert stack.filter == ("r'",)
    assert stack.unit == "adu"
    assert images.scan_images(mef, hdu=3).unit == ""
    assert stack.mid_time[0] == pytest.approx(Time("2020-02-29").mjd + 6.25 / 86400, abs=1e-10)


@pytest.mark.parametrize(
    ("cards", "start"),
    [
        ({"DATE__OBS": "2013-05-05T04:09:39.25"}, "2013-05-05T04:09:39.25"),
        ({"DATE__OBS": "2013-05-05", "TIME__OBS": "04:09:39"}, "2013-05-05T04:09:39"),
        ({"DATE__OBS": "2013-05-05T04:09"}, "2013-05-05T04:09:00"),
        ({"DATE__OBS": "05/05/93", "TIME__OBS": "04:09:39"}, "1993-05-05T04:09:39"),
        ({"MJD__OBS": 56417.25}, "2013-05-05T06:00:00"),
    ],
)
def test_mid_times_equal_astropys(tmp_path, cards, start):
    stack = images.scan_images(write(tmp_path / "a.fits", primary(EXPOSURE=100, **cards)))
    assert stack.mid_time[0] == pytest.approx(Time(start, scale="utc").mjd + 50 / 86400, abs=1e-9)
    assert stack.warnings == ()


def test_mean_times_are_taken_as_they_are(tmp_path):
    path = write(tmp_path / "a.fits", primary(EXPTIME=100, DATE__AVG="2013-05-05T06:00:00", MJD__OBS=1.0))
    assert images.scan_images(path).mid_time[0] == 56417.25


@pytest.mark.parametrize(
    "cards",
    [{"EXPTIME": "long"}, {"EXPTIME": -3.0}, {"DATE__OBS": "yesterday"}, {"DATE__OBS": "2013-02-30"},
     {"FILTER": "='x"}, {"EXPTIME": True}, {"DATE__OBS": "2013-02-03Tnoon"}, {"MJD__OBS": "=1.2.3"}],
)  # fmt: skip
def test_senseless_values_count_as_unknown_and_are_counted(tmp_path, cards):
    stack = images.scan_images(write(tmp_path / "a.fits", primary(**cards)))
    assert np.isnan(stack.exposure[0])
    assert np.isnan(stack.mid_time[0])
    assert stack.filter == ("",)
    assert stack.warnings[0].files == 1
    assert "make no sense" in stack.warnings[0].what


def test_different_units_are_counted(tmp_path):
    for i, unit in enumerate(["adu", "adu", "electron"]):
        write(tmp_path / f"f{i}.fits", primary(BUNIT=unit))
    stack = images.scan_images("f*.fits", root=tmp_path)
    assert stack.unit == ""
    assert stack.warnings[0].paths == ("f2.fits",)


def test_missing_padding_is_a_counted_warning(tmp_path):
    for i in range(7):
        path = write(tmp_path / f"f{i}.fits")
        os.truncate(path, path.stat().st_size - (1 if i else 0))
    stack = images.scan_images("f*.fits", root=tmp_path)
    assert [(w.files, len(w.paths)) for w in stack.warnings] == [(6, 5)]
    assert str(stack.warnings[0]).endswith("f4.fits, f5.fits, ...)")
    same(images.read_frame(stack, 6), PIXELS)


# ------------------------------------------------------------------ headers


CARDS = [
    ("INT", 42), ("NEG", -7), ("FLT", 1.25), ("EXP", "= 1.5D-3"), ("EXP2", "=  -2.E+05 / comment"),
    ("YES", True), ("NO", False), ("STR", "it's"), ("SLASH", "a / b"), ("BLANKS", "  pad  "), ("EMPTY", ""),
    ("UNDEF", "=   / none"), ("DOT", "=.5"), ("PLUS", "=+3"), ("INT", 43),
]  # fmt: skip


def test_header_values_equal_astropys():
    raw = header([*primary().items(), *CARDS, ("", b"COMMENT = 'no value'"), ("", b"HISTORY END")])
    ours = Header(raw[: raw.index(b"END".ljust(80))], len(raw))
    theirs = fits.Header.fromstring(raw)
    for key, _ in CARDS:
        expected = theirs[key]
        assert ours.get(key) == (None if isinstance(expected, fits.Undefined) else expected), key
        assert type(ours.get(key)) is (type(None) if isinstance(expected, fits.Undefined) else type(expected))
    assert ours.get("COMMENT") is None
    assert ours.get("ABSENT") is None
    assert "FLT" in ours
    assert "FL" not in ours


def test_long_strings_continue():
    cards = fits.Header([("FILTER", "x" * 150 + "'&y")]).tostring(endcard=False, padding=False).encode()
    assert Header(cards, 2880).get("FILTER") == "x" * 150 + "'&y"


def test_only_header_blocks_are_read(tmp_path, monkeypatch):
    write(tmp_path / "a.fits", primary(**{f"KEY{i}": i for i in range(100)}))
    write(tmp_path / "b.fits", EMPTY_PRIMARY, None, [(extension(), PIXELS), (extension(EXTNAME="X"), PIXELS)])
    reads = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: reads.append((at, n)) or real(fd, n, at))
    monkeypatch.setattr(os, "preadv", None)
    images.scan_images(["a.fits", "b.fits[X]"], root=tmp_path)
    allowed = {0, 2880, 5760, 8640}, {0, 2880, 8640}
    assert {at for at, _ in reads} <= allowed[0] | allowed[1]
    assert max(n for _, n in reads) <= 2880


def test_non_ascii_header_works(tmp_path):
    cards = primary(OBSERVER=b"OBSERVER= 'Fran\xc3\xa7ois \xff'", FILTER=b"FILTER  = 'H\xb1'")
    path = write(tmp_path / "a.fits", cards)
    assert images.scan_images(path).filter == ("H±",)
