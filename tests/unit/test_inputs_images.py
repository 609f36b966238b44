"""Image inputs: pixel values against their oracle, a whole read by astropy."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import astropy
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from fits_maker import (
    EMPTY_PRIMARY,
    FORMS,
    PIXELS,
    extension,
    frames,
    primary,
    random_pixels,
    same,
    write,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from daskpar.errors import InputError
from daskpar.inputs import image_read, images

M13 = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared/data"))


@pytest.mark.parametrize("slab", [1, 500, 1 << 20])
@pytest.mark.parametrize(("code", "cards"), FORMS)
def test_values_equal_astropys_whole_read(tmp_path, monkeypatch, code, cards, slab):
    monkeypatch.setattr(image_read, "SLAB_BYTES", slab)
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


def test_keywords_in_small_letters_count_as_astropy_counts_them(tmp_path):
    cards = {"BzERO": 32768, "naxis3": 7, "CTYPE1": "RA---TAN", "ctype2": "DEC--TAN", "crval2": 5.0}
    pixels = np.arange(24, dtype=">i2").reshape(4, 6)
    path = write(tmp_path / "a.fits", primary(BITPIX=16, **cards), pixels)
    stack = images.scan_images(path)
    same(images.read_frame(stack, 0), fits.getdata(path))
    assert "CRVAL2  =" in stack.wcs_header


@pytest.mark.parametrize("kind", ["", "=IMAGE", "= / nothing", True])
def test_an_extension_that_does_not_say_what_it_is(tmp_path, kind):
    path = write(tmp_path / "a.fits", EMPTY_PRIMARY, None, [(extension(kind), PIXELS)])
    with pytest.raises(InputError, match="XTENSION"):
        images.scan_images(path)


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


@settings(max_examples=30)
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
        from daskpar.inputs import image_read, images, staging
        stack = images.scan_images("*.fits", root={str(tmp_path)!r})
        print(images.read_band(stack, 0, 4).shape)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(300, 4, 6)"


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
