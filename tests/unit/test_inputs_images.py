"""Image inputs: the record, the reader and their oracle, a whole read by astropy."""

import gzip
import os
import pickle
import subprocess
import sys
import textwrap
from dataclasses import FrozenInstanceError
from pathlib import Path

import astropy
import numpy as np
import pytest
from astropy import wcs
from astropy.io import fits
from astropy.time import Time
from fits_maker import EMPTY_PRIMARY, PIXELS, extension, header, padded, primary, write
from hypothesis import given, settings
from hypothesis import strategies as st

from daskpar.errors import InputError
from daskpar.inputs import images
from daskpar.inputs.fits_header import Header
from daskpar.inputs.image_files import natural, parse_selector

M13 = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared/data"))


def same(found, expected):
    """Equal bits, apart from which NaN, and native byte order."""
    assert found.dtype.isnative
    assert found.dtype == expected.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, expected)


def frames(folder, count=3, **cards):
    for i in range(count):
        write(folder / f"f{i}.fits", primary(**cards), PIXELS + 100 * i)
    return folder


# ------------------------------------------------------------------ pixel values

FORMS = [
    ("u1", {}),
    ("u1", {"BZERO": -128}),
    ("u1", {"BSCALE": 0.5, "BZERO": 3.25}),
    ("u1", {"BLANK": 7}),
    (">i2", {}),
    (">i2", {"BZERO": 32768, "BSCALE": 1}),
    (">i2", {"BZERO": 32768.0, "BSCALE": 1.0}),
    (">i2", {"BSCALE": 0.1, "BZERO": 1000.3}),
    (">i2", {"BLANK": -32768}),
    (">i2", {"BLANK": 7, "BSCALE": 3.7}),
    (">i2", {"BSCALE": 2}),
    (">i2", {"BZERO": 32768, "BSCALE": 2}),
    (">i4", {}),
    (">i4", {"BZERO": 2147483648}),
    (">i4", {"BZERO": 32768}),
    (">i4", {"BSCALE": 1e-3, "BLANK": -2147483648}),
    (">i8", {}),
    (">i8", {"BZERO": 9223372036854775808}),
    (">i8", {"BSCALE": 1e-3, "BZERO": 0.1}),
    (">f4", {}),
    (">f4", {"BSCALE": 0.1, "BZERO": 1000.3}),
    (">f8", {}),
    (">f8", {"BSCALE": 0.1, "BZERO": 1000.3}),
]


def random_pixels(code, rng, shape=(37, 29)):
    dtype = np.dtype(code)
    if dtype.kind == "f":
        pixels = rng.normal(1000, 300, shape).astype(dtype)
        pixels[3, 4], pixels[5, 6], pixels[7, 8] = np.nan, np.inf, -0.0
        return pixels
    info = np.iinfo(dtype)
    pixels = rng.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True)
    pixels[0, :3] = info.min, info.max, 7
    return pixels.astype(dtype)


@pytest.mark.parametrize(("code", "cards"), FORMS)
def test_values_equal_astropys_whole_read(tmp_path, code, cards):
    pixels = random_pixels(code, np.random.default_rng(3))
    bitpix = np.dtype(code).itemsize * (8 if np.dtype(code).kind in "iu" else -8)
    path = write(tmp_path / "a.fits", primary(BITPIX=bitpix, NAXIS1=29, NAXIS2=37, **cards), pixels)
    expected = fits.getdata(path)
    stack = images.scan_images(path)
    assert stack.dtype == expected.dtype.newbyteorder("=")
    same(images.read_frame(stack, 0), expected)
    same(images.read_rows(stack, 0, 5, 5), expected[5:5])
    for start, stop in [(0, 1), (3, 9), (36, 37)]:
        same(images.read_rows(stack, 0, start, stop), expected[start:stop])
        raw = images.read_rows_raw(stack, 0, start, stop)
        assert raw.dtype == np.dtype(code)
        assert raw.tobytes() == pixels[start:stop].tobytes()


@pytest.mark.parametrize(
    ("code", "cards"), [(">i2", {"BZERO": 32768}), (">i4", {"BZERO": 2147483648}), (">i2", {})]
)
def test_undefined_pixels_are_nan_where_astropy_keeps_them(tmp_path, code, cards):
    pixels = np.array([[0, 1, 2], [3, 0, 5]], code)
    path = write(
        tmp_path / "a.fits", primary(BITPIX=8 * pixels.itemsize, NAXIS1=3, NAXIS2=2, BLANK=0, **cards), pixels
    )
    stack = images.scan_images(path)
    found = images.read_frame(stack, 0)
    assert stack.dtype == found.dtype == (np.float32 if pixels.itemsize == 2 else np.float64)
    expected = pixels.astype(float) + cards.get("BZERO", 0)
    np.testing.assert_array_equal(found, np.where(pixels == 0, np.nan, expected))


@pytest.mark.parametrize("blank", [0, "=1.5"])
def test_a_stray_blank_is_ignored_and_counted(tmp_path, blank):
    path = write(tmp_path / "a.fits", primary(BLANK=blank))
    stack = images.scan_images(path)
    assert "BLANK is ignored" in str(stack.warnings[0])
    same(images.read_frame(stack, 0), PIXELS)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_band_of_any_format_equals_astropy(tmp_path_factory, data):
    code, cards = data.draw(st.sampled_from(FORMS))
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    folder = tmp_path_factory.mktemp("any")
    bitpix = np.dtype(code).itemsize * (8 if np.dtype(code).kind in "iu" else -8)
    size = shape[0] * shape[1] * np.dtype(code).itemsize
    paths = []
    for i in range(data.draw(st.integers(1, 3))):
        pixels = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), code).reshape(shape)
        head = primary(BITPIX=bitpix, NAXIS1=shape[1], NAXIS2=shape[0], **cards)
        paths.append(write(folder / f"{i}.fits", head, pixels))
    with np.errstate(all="ignore"):
        expected = np.stack([fits.getdata(path) for path in paths])
        stack = images.scan_images(paths)
        start = data.draw(st.integers(0, shape[0]))
        stop = data.draw(st.integers(start, shape[0]))
        same(images.read_band(stack, start, stop), expected[:, start:stop])


def test_frames_with_different_scales_share_a_stack(tmp_path):
    pixels = np.arange(24, dtype=">i2").reshape(4, 6)
    for i, scale in enumerate([1.5, 2.5]):
        write(tmp_path / f"f{i}.fits", primary(BITPIX=16, BSCALE=scale), pixels)
    stack = images.scan_images("f*.fits", root=tmp_path)
    band = images.read_band(stack, 1, 3)
    for i in range(2):
        same(band[i], fits.getdata(tmp_path / f"f{i}.fits")[1:3])


def test_bands_into_given_arrays(tmp_path):
    stack = images.scan_images("*.fits", root=frames(tmp_path))
    out = np.full((3, 2, 6), -1, np.float32)
    assert images.read_band(stack, 1, 3, out=out) is out
    same(out, np.stack([PIXELS[1:3] + 100 * i for i in range(3)]))
    raw = np.empty((3, 2, 6), ">f4")
    assert images.read_band_raw(stack, 1, 3, out=raw) is raw
    assert np.array_equal(raw, out)
    with pytest.raises(ValueError, match="C-contiguous"):
        images.read_rows_raw(stack, 0, 0, 2, out=np.empty((6, 2), ">f4").T)
    for read, wrong in [(images.read_rows, "f8"), (images.read_rows_raw, "f4")]:
        for shape, dtype in [((2, 6), wrong), ((3, 6), "f4" if read is images.read_rows else ">f4")]:
            with pytest.raises(ValueError, match="out must be"):
                read(stack, 0, 0, 2, out=np.empty(shape, dtype))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 5)])
def test_rows_outside_the_image_are_refused(tmp_path, start, stop):
    stack = images.scan_images(write(tmp_path / "a.fits"))
    for read in (images.read_rows, images.read_rows_raw):
        with pytest.raises(ValueError, match="outside 0:4"):
            read(stack, 0, start, stop)


@pytest.mark.parametrize("axes", [{"NAXIS": 3, "NAXIS3": 1}, {"NAXIS": 4, "NAXIS3": 1, "NAXIS4": 1}])
def test_axes_of_length_one_are_dropped(tmp_path, axes):
    stack = images.scan_images(write(tmp_path / "a.fits", primary(**axes)))
    assert stack.shape == (4, 6)
    same(images.read_frame(stack, 0), PIXELS)


# ------------------------------------------------------------------ files and HDUs


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


@pytest.fixture
def mef(tmp_path):
    """Empty primary, SCI 1, DQ 1, SCI 2, DQ 2, a table, ERR."""
    table = extension("BINTABLE", BITPIX=8, NAXIS1=4, NAXIS2=2, TFIELDS=1, TFORM1="1J", EXTNAME="CAT")
    dq = np.arange(24, dtype=">i2").reshape(4, 6)
    more = [
        (extension(EXTNAME="SCI", EXTVER=1, BUNIT="adu"), PIXELS),
        (extension(EXTNAME="DQ", EXTVER=1, BITPIX=16), dq),
        (extension(EXTNAME="sci", EXTVER=2), PIXELS + 1),
        (extension(EXTNAME="DQ", EXTVER=2, BITPIX=16), dq[::-1]),
        (table, np.zeros(2, ">i4")),
        (extension(EXTNAME="ERR"), np.sqrt(PIXELS)),
    ]
    head = {**EMPTY_PRIMARY, "EXPTIME": 12.5, "FILTER": "r'", "DATE-OBS": "2020-02-29", "BUNIT": "no"}
    return write(tmp_path / "mef.fits", head, None, more)


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


# ------------------------------------------------------------------ the record


def test_the_record_is_frozen_and_survives_pickling(tmp_path):
    stack = images.scan_images("*.fits", root=frames(tmp_path, EXPTIME=3.0))
    with pytest.raises(FrozenInstanceError):
        stack.root = "/"
    with pytest.raises(ValueError, match="read-only"):
        stack.exposure[0] = 1
    identity = stack.identity()
    copy = pickle.loads(pickle.dumps(stack))
    assert copy.identity() == identity
    assert copy.paths == stack.paths
    same(images.read_band(copy, 0, 4), images.read_band(stack, 0, 4))
    assert "3 frames of 4 x 6 float32" in repr(stack)


def test_the_record_of_ten_thousand_frames_is_a_few_megabytes(tmp_path):
    for i in range(200):
        cards = primary(EXPTIME=30.0, FILTER="V", **wcs_keys(i))
        write(tmp_path / f"frame_of_the_first_night_{i:05d}.fits", cards)
    stack = images.scan_images("*.fits", root=tmp_path)
    assert len(pickle.dumps(stack)) < 200 * 500


def test_identity_covers_what_matters(tmp_path):
    frames(tmp_path)
    stack = images.scan_images("f*.fits", root=tmp_path)
    seen = {stack.identity()}

    def rescan(**options):
        seen.add(images.scan_images("f*.fits", root=tmp_path, **options).identity())
        return len(seen)

    assert rescan() == 1
    os.utime(tmp_path / "f1.fits", ns=(0, 12345))
    assert rescan() == 2
    stat = (tmp_path / "f1.fits").stat()
    write(tmp_path / "f1.fits", primary(OBJECT="M 13"), PIXELS)
    os.utime(tmp_path / "f1.fits", ns=(0, stat.st_mtime_ns))
    assert rescan() == 3
    with open(tmp_path / "f1.fits", "ab") as file:
        file.write(bytes(2880))
    os.utime(tmp_path / "f1.fits", ns=(0, stat.st_mtime_ns))
    assert rescan() == 4
    assert rescan(mask="f0.fits") == 5
    os.rename(tmp_path / "f2.fits", tmp_path / "f3.fits")
    assert rescan() == 6


def test_identity_does_not_depend_on_the_root_and_takes_slices(tmp_path):
    (tmp_path / "a").mkdir()
    frames(tmp_path / "a")
    before = images.scan_images("*.fits", root=tmp_path / "a")
    os.rename(tmp_path / "a", tmp_path / "b")
    after = images.scan_images("*.fits", root=tmp_path / "b")
    assert before.identity() == after.identity()
    assert after.identity(slice(1, 3)) == after.take(slice(1, 3)).identity() != after.identity()
    part = after.take(slice(None, None, 2))
    assert part.paths == ("f0.fits", "f2.fits")
    same(images.read_band(part, 0, 4)[1], PIXELS + np.float32(200))


def test_files_outside_the_root_keep_their_full_path(tmp_path):
    path = write(tmp_path / "a.fits")
    (tmp_path / "root").mkdir()
    assert images.scan_images("../a.fits", root=tmp_path / "root").paths == (str(path),)


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    frames(tmp_path, 200)
    monkeypatch.setattr(images, "_SLOW", -1.0)
    many = images.scan_images("*.fits", root=tmp_path)
    one = images.scan_images("*.fits", root=tmp_path, threads=1)
    assert many.paths == one.paths
    assert many.identity() == one.identity()


# ------------------------------------------------------------------ files that change


def grow(path):
    with open(path, "ab") as file:
        file.write(bytes(2880))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (grow, "changed since it was scanned: 5760 bytes then, 8640 now"),
        (lambda path: os.utime(path, ns=(0, 5)), "changed since it was scanned: it was written again"),
        (lambda path: os.truncate(path, 3000), "changed since it was scanned"),
        (os.unlink, "there is no such file"),
        (lambda path: (os.unlink(path), os.mkfifo(path)), "named pipe"),
    ],
)
def test_a_file_that_changed_is_named(tmp_path, change, what):
    stack = images.scan_images("*.fits", root=frames(tmp_path))
    change(tmp_path / "f1.fits")
    for read in (images.read_band, images.read_band_raw):
        with pytest.raises(InputError, match=what) as error:
            read(stack, 0, 2)
        assert error.value.faults[0].path == str(tmp_path / "f1.fits")
        assert error.value.faults[0].place == "[0]"


def test_a_change_during_the_read_is_seen(tmp_path, monkeypatch):
    stack = images.scan_images(write(tmp_path / "a.fits"))
    real = os.preadv

    def slow(fd, buffers, offset):
        os.utime(tmp_path / "a.fits", ns=(0, 5))
        return real(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow)
    with pytest.raises(InputError, match="changed since it was scanned"):
        images.read_rows(stack, 0, 0, 2)


def test_short_reads_are_continued_and_a_short_file_is_an_error(tmp_path, monkeypatch):
    stack = images.scan_images(write(tmp_path / "a.fits"))
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:7]], offset))
    same(images.read_frame(stack, 0), PIXELS)
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: 0)
    with pytest.raises(InputError, match="end too early"):
        images.read_frame(stack, 0)


def test_many_files_need_few_handles(tmp_path):
    frames(tmp_path, 300)
    code = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        from daskpar.inputs import images
        stack = images.scan_images("*.fits", root={str(tmp_path)!r})
        print(images.read_band(stack, 0, 4).shape)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(300, 4, 6)"


# ------------------------------------------------------------------ compressed files


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(("code", "cards"), [FORMS[i] for i in (5, 8, 14, 19)])
def test_gzipped_frames_equal_astropy(tmp_path, code, cards, members):
    pixels = random_pixels(code, np.random.default_rng(1))
    bitpix = np.dtype(code).itemsize * (8 if np.dtype(code).kind in "iu" else -8)
    head = primary(BITPIX=bitpix, NAXIS1=29, NAXIS2=37, **cards)
    raw = write(tmp_path / "a.fits", head, pixels).read_bytes()
    half = len(raw) // 2 if members == 2 else len(raw)
    path = tmp_path / "a.fits.gz"
    path.write_bytes(b"".join(gzip.compress(part) for part in (raw[:half], raw[half:]) if part))
    stack = images.scan_images(path)
    assert not stack.sliceable
    assert stack.data.stored is None
    expected = fits.getdata(tmp_path / "a.fits")
    same(images.read_frame(stack, 0), expected)
    same(images.read_band(stack, 3, 5), expected[None, 3:5])
    with pytest.raises(ValueError, match="read_frame"):
        images.read_rows_raw(stack, 0, 0, 1)
    with pytest.raises(ValueError, match="read_band"):
        images.read_band_raw(stack, 0, 1)
    with pytest.raises(ValueError, match="outside"):
        images.read_rows(stack, 0, 0, 99)


def test_extensions_inside_gzip(mef):
    path = mef.with_suffix(".fits.gz")
    path.write_bytes(gzip.compress(mef.read_bytes()))
    stack = images.scan_images(f"{path}[SCI,2]", mask="DQ", dq_bits=4)
    same(images.read_frame(stack, 0), fits.getdata(mef, 3))
    np.testing.assert_array_equal(images.read_mask_rows(stack, 0, 0, 4), fits.getdata(mef, 4) & 4 != 0)


TILED = [
    ("RICE_1", "int16", {}),
    ("RICE_1", "uint16", {}),
    ("RICE_1", "int32", {}),
    ("RICE_1", "float32", {"quantize_level": 16, "quantize_method": 1, "dither_seed": 7}),
    ("GZIP_1", "float32", {"quantize_level": 0}),
    ("GZIP_2", "uint32", {}),
    ("GZIP_2", "float64", {"quantize_level": 0}),
    ("HCOMPRESS_1", "int16", {"tile_shape": (37, 29)}),
    ("PLIO_1", "int16", {}),
]


@pytest.mark.parametrize(("kind", "dtype", "options"), TILED)
def test_tiled_frames_equal_astropy(tmp_path, kind, dtype, options):
    pixels = np.random.default_rng(2).normal(1000, 100, (37, 29)).astype(dtype)
    if pixels.dtype.kind == "f":
        pixels[4, 5] = np.nan
    path = tmp_path / "a.fits.fz"
    fits.CompImageHDU(pixels, compression_type=kind, **options).writeto(path)
    stack = images.scan_images(path)
    assert not stack.sliceable
    assert stack.shape == (37, 29)
    expected = fits.getdata(path)
    same(images.read_frame(stack, 0), expected)
    same(images.read_rows(stack, 0, 2, 7), expected[2:7])


def test_scaled_tiled_frames_with_blank_equal_astropy(tmp_path):
    hdu = fits.CompImageHDU(np.arange(100, dtype=np.int16).reshape(10, 10))
    hdu.header["BLANK"], hdu.header["BSCALE"], hdu.header["BZERO"] = 7, 0.1, 3.5
    hdu.writeto(tmp_path / "a.fits.fz")
    stack = images.scan_images("*.fz", root=tmp_path)
    found = images.read_frame(stack, 0)
    expected = (np.arange(100, dtype=np.float32) * np.float32(0.1) + np.float32(3.5)).reshape(10, 10)
    expected[0, 7] = np.nan
    same(found, expected)


def test_compressed_and_plain_frames_mix(tmp_path):
    raw = write(tmp_path / "f0.fits").read_bytes()
    (tmp_path / "f1.fits.gz").write_bytes(gzip.compress(raw))
    stack = images.scan_images("f*", root=tmp_path)
    assert stack.data.storage == ("plain", "gzip")
    same(images.read_band(stack, 1, 2), np.stack([PIXELS[1:2]] * 2))


# ------------------------------------------------------------------ masks and uncertainties


def test_masks_and_uncertainties_from_extensions(mef):
    stack = images.scan_images(f"{mef}[SCI,2]", mask="DQ", uncertainty=("ERR", 1))
    assert stack.mask.hdu.tolist() == [4]
    dq = fits.getdata(mef, "DQ", 2)
    np.testing.assert_array_equal(images.read_mask_rows(stack, 0, 1, 3), dq[1:3] != 0)
    same(images.read_rows(stack, 0, 1, 3, plane="uncertainty"), fits.getdata(mef, "ERR")[1:3])
    assert images.scan_images(mef, mask=("DQ", 2)).mask.hdu.tolist() == [4]
    assert images.scan_images(mef, mask=4).mask.hdu.tolist() == [4]
    with pytest.raises(KeyError, match="without uncertainty"):
        images.scan_images(mef).plane("uncertainty")


@pytest.mark.parametrize(("bits", "value"), [(4, 4), (5, 5), ([1, 4], 5), ([16], 16), ((2, 8), 10)])
def test_chosen_bits(mef, bits, value):
    stack = images.scan_images(mef, mask="DQ", dq_bits=bits)
    assert stack.dq_bits == value
    dq = fits.getdata(mef, "DQ", 1)
    np.testing.assert_array_equal(images.read_mask_rows(stack, 0, 0, 4), dq & value != 0)


def test_the_sign_bit_and_bits_beyond_the_type(tmp_path):
    dq = np.array([[-32768, 1, 0]], ">i2")
    write(tmp_path / "m.fits", primary(BITPIX=16, NAXIS1=3, NAXIS2=1), dq)
    write(tmp_path / "f.fits", primary(NAXIS1=3, NAXIS2=1), np.zeros((1, 3), ">f4"))
    cases = [(32768, [True, False, False]), (65537, [False, True, False]), (1 << 40, [False] * 3)]
    for bits, masked in cases:
        stack = images.scan_images("f.fits", root=tmp_path, mask="m.fits", dq_bits=bits)
        assert images.read_mask_rows(stack, 0, 0, 1).tolist() == [masked]


def test_masks_from_files(tmp_path):
    frames(tmp_path, 2)
    for i in range(2):
        write(tmp_path / f"m{i}.fits", primary(BITPIX=8), (PIXELS > 5 + i).astype("u1"))
    one = images.scan_images("f*.fits", root=tmp_path, mask="m1.fits")
    each = images.scan_images("f*.fits", root=tmp_path, mask="m*.fits")
    assert one.mask.paths == ("m1.fits", "m1.fits")
    np.testing.assert_array_equal(images.read_mask_rows(one, 0, 0, 4), PIXELS > 6)
    np.testing.assert_array_equal(images.read_mask_rows(each, 0, 0, 4), PIXELS > 5)
    nan = PIXELS.copy()
    nan[PIXELS < 3] = np.nan
    write(tmp_path / "nan.fits", None, nan)
    stack = images.scan_images("f0.fits", root=tmp_path, mask=[tmp_path / "nan.fits"])
    np.testing.assert_array_equal(images.read_mask_rows(stack, 0, 0, 4), nan != 0)


# ------------------------------------------------------------------ checksums


def test_right_checksums_pass_and_absent_ones_are_counted(tmp_path):
    pixels = np.random.default_rng(0).normal(size=(101, 77)).astype("f4")
    fits.PrimaryHDU(pixels).writeto(tmp_path / "f0.fits", checksum=True)
    fits.PrimaryHDU(pixels).writeto(tmp_path / "f1.fits")
    fits.PrimaryHDU(pixels).writeto(tmp_path / "f2.fits", checksum="datasum")
    raw = (tmp_path / "f0.fits").read_bytes()
    (tmp_path / "f3.fits.gz").write_bytes(gzip.compress(raw))
    fits.CompImageHDU(pixels).writeto(tmp_path / "f4.fits.fz", checksum=True)
    stack = images.scan_images("f*", root=tmp_path, checksum="verify")
    assert [warning.paths for warning in stack.warnings] == [("f1.fits",)]


@pytest.mark.parametrize("place", [200, 2900, 30000])
def test_every_flipped_bit_is_found(tmp_path, place):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.random.default_rng(0).normal(size=(101, 77)).astype("f4")).writeto(path, checksum=True)
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    images.scan_images(path)
    with pytest.raises(InputError, match="damaged") as error:
        images.scan_images(path, checksum="verify")
    assert error.value.faults[0].key == ("CHECKSUM" if place < 2880 else "DATASUM")


# ------------------------------------------------------------------ WCS


def wcs_keys(i=0, shift=0.0):
    return {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0 + 1e-9 * i, "CRVAL2": 40.0,
        "CRPIX1": 3.0 + shift, "CRPIX2": 2.0, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4,
    }  # fmt: skip


def test_shifts_and_the_refusal(tmp_path):
    for i, shift in enumerate([0, 0.1, 0.3, -5]):
        write(tmp_path / f"f{i}.fits", primary(**wcs_keys(shift=shift)))
    write(tmp_path / "f4.fits")
    stack = images.scan_images("f*.fits", root=tmp_path)
    np.testing.assert_allclose(images.wcs_shifts(stack), [0, 0.1, 0.3, 5, np.nan], atol=1e-6)
    with pytest.raises(InputError) as error:
        images.check_aligned(stack)
    assert [fault.path for fault in error.value.faults] == [str(tmp_path / f"f{i}.fits") for i in (2, 3)]
    assert "0.30 pixels off" in str(error.value)
    images.check_aligned(stack.take(slice(0, 2)))
    images.check_aligned(stack.take(slice(2, 3)))


def test_shifts_with_distortions_equal_astropys(tmp_path):
    sip = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    sip |= {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-3, "B_0_2": 2e-3}
    write(tmp_path / "f0.fits", primary(**wcs_keys()))
    write(tmp_path / "f1.fits", primary(**{**wcs_keys(), **sip}))
    stack = images.scan_images("f*.fits", root=tmp_path)
    first, second = (wcs.WCS(fits.getheader(tmp_path / f"f{i}.fits")) for i in range(2))
    points = np.array([(x, y) for x in (0, 2.5, 5) for y in (0, 1.5, 3)])
    moved = second.all_world2pix(first.all_pix2world(points, 0), 0)
    expected = np.hypot(*(moved - points).T).max()
    assert expected > 1e-3
    np.testing.assert_allclose(images.wcs_shifts(stack), [0, expected], rtol=1e-5)


def test_the_header_of_the_first_frame_makes_a_wcs(tmp_path):
    path = write(tmp_path / "a.fits", primary(**wcs_keys(), RADESYS="ICRS", OBJECT="M 13"))
    stack = images.scan_images(path)
    found = wcs.WCS(fits.Header.fromstring(stack.wcs_header))
    assert len(stack.wcs_header) == 11 * 80
    np.testing.assert_array_equal(
        found.all_pix2world([[1, 1]], 0), wcs.WCS(fits.getheader(path)).all_pix2world([[1, 1]], 0)
    )


def test_a_wcs_that_cannot_be_used_is_named(tmp_path):
    write(tmp_path / "f0.fits", primary(**wcs_keys()))
    write(tmp_path / "f1.fits", primary(**{**wcs_keys(), "CD1_1": 0.0}))
    with pytest.raises(InputError, match=r"f1\.fits: the celestial WCS cannot be used"):
        images.wcs_shifts(images.scan_images("f*.fits", root=tmp_path))


# ------------------------------------------------------------------ the reading plan


def sparse(path, rows, columns):
    raw = header(primary(NAXIS1=columns, NAXIS2=rows))
    path.write_bytes(raw)
    os.truncate(path, len(raw) + len(padded(b"")) + -(-rows * columns * 4 // 2880) * 2880)
    return path


def test_high_bands_are_read_directly(tmp_path):
    for i in range(3):
        sparse(tmp_path / f"f{i}.fits", 1000, 4096)
    stack = images.scan_images("f*.fits", root=tmp_path)
    plan = images.reading_plan(stack, 16)
    assert (plan.mode, plan.bands, plan.opens) == ("direct", 63, 189)
    assert plan.kb_a_read == pytest.approx(262.144)
    assert plan.read_bytes == 3 * 1000 * 4096 * 4
    assert plan.scratch_bytes == 0
    low = images.reading_plan(stack, 15)
    assert (low.mode, low.opens, low.scratch_bytes) == ("staged", 3, 3 * 1000 * 4096 * 4)
    assert images.reading_plan(stack, 5000).bands == 1
    with pytest.raises(ValueError, match="at least one row"):
        images.reading_plan(stack, 0)


def test_small_whole_frames_are_direct_and_compressed_ones_staged(tmp_path):
    frames(tmp_path)
    assert images.reading_plan(images.scan_images("f*.fits", root=tmp_path), 4).mode == "direct"
    (tmp_path / "f1.fits.gz").write_bytes(gzip.compress((tmp_path / "f1.fits").read_bytes()))
    plan = images.reading_plan(images.scan_images(["f0.fits", "f1.fits.gz"], root=tmp_path), 4)
    assert plan.mode == "staged"
    assert plan.reason == "1 images are compressed"
    assert plan.read_bytes == 96 + (tmp_path / "f1.fits.gz").stat().st_size


# ------------------------------------------------------------------ real frames


WILD = sorted(path for path in Path(astropy.__file__).parent.rglob("*.fits*") if path.suffix != ".py")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not WILD, reason="this astropy came without its test data")
def test_files_from_the_wild_equal_astropy_or_are_refused():
    read = 0
    for path in WILD:
        try:
            stack = images.scan_images(path)
        except InputError:
            continue
        expected = fits.getdata(path, int(stack.data.hdu[0]))
        same(images.read_frame(stack, 0), expected.reshape(stack.shape))
        read += 1
    assert read > 10


@pytest.mark.skipif(not M13.is_dir(), reason=f"no real frames in {M13}")
def test_real_frames_equal_astropy():
    stack = images.scan_images("M13_blue_000?.fits", root=M13)
    assert (len(stack), stack.shape, stack.dtype) == (5, (1040, 1392), np.uint16)
    assert stack.exposure.tolist() == [5.0] * 5
    assert stack.mid_time[0] == pytest.approx(Time("2013-05-05T04:09:41.5").mjd, abs=1e-9)
    band = images.read_band(stack, 1000, 1040)
    for i in range(5):
        same(band[i], fits.getdata(stack.path(i))[1000:])
