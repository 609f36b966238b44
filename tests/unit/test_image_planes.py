"""Compressed frames, masks, uncertainties and checksums."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from fits_maker import (
    FORMS,
    PIXELS,
    frames,
    primary,
    random_pixels,
    same,
    write,
    write_mef,
)

from daskpar.errors import InputError
from daskpar.inputs import images


@pytest.fixture
def mef(tmp_path):
    return write_mef(tmp_path)


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
