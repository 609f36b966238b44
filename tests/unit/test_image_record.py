"""The frozen record: pickling, identity; WCS shifts; the reading plan and its staging."""

import gzip
import os
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from astropy import wcs
from astropy.io import fits
from fits_maker import (
    PIXELS,
    extension,
    frames,
    header,
    padded,
    primary,
    same,
    wcs_keys,
    write,
)

from daskpar.errors import InputError
from daskpar.inputs import image_read, images, staging


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


# ------------------------------------------------------------------ WCS


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
    assert (low.mode, low.scratch_bytes, low.read_bytes) == ("staged", plan.read_bytes, plan.read_bytes)
    # Runs of 4 bands of 246 kB are read at a time: 17 runs of 67 bands, all three frames together.
    assert (low.bands, low.opens, low.scratch_reads) == (67, 17 * 3, 67)
    assert low.kb_a_read == pytest.approx(plan.read_bytes / 51 / 1e3)
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
    assert (plan.opens, plan.scratch_reads) == (2, 1)


def test_ten_thousand_large_frames_take_few_opens(tmp_path):
    one = images.scan_images(sparse(tmp_path / "f.fits", 4096, 4096))
    many = tmp_path / "many"
    many.mkdir()
    for i in range(1000):
        os.link(tmp_path / "f.fits", many / f"f{i}.fits")
    plan = images.reading_plan(images.scan_images("*.fits", root=many), 4)
    assert plan.mode == "staged"
    assert plan.opens <= 64 * 1000
    assert plan.scratch_reads <= 1024 * 16
    assert images.reading_plan(one, 4096).mode == "direct"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("height", [1, 3, 37, 50])
def test_staged_bands_equal_direct_ones_and_each_file_is_read_once(tmp_path, monkeypatch, packed, height):
    rng = np.random.default_rng(4)
    for i in range(7):
        head = primary(NAXIS1=29, NAXIS2=37)
        dq = extension(NAXIS1=29, NAXIS2=37, BITPIX=16, EXTNAME="DQ")
        more = [(dq, rng.integers(0, 9, (37, 29)).astype(">i2"))]
        path = write(tmp_path / f"f{i}.fits", head, rng.normal(size=(37, 29)).astype(">f4"), more)
        if packed:
            (tmp_path / f"f{i}.fits.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    stack = images.scan_images("f*", root=tmp_path, mask="DQ", dq_bits=4, uncertainty=0)
    bands = [(start, min(start + height, 37)) for start in range(0, 37, height)]
    monkeypatch.setattr(staging, "READ_BYTES", 4000)
    monkeypatch.setattr(staging, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(staging, "LEAST_BYTES", 20_000)
    blocks = list(staging.staging_blocks(stack, bands))
    opens = []
    real = image_read.opened
    monkeypatch.setattr(image_read, "opened", lambda path: opens.append(path) or real(path))
    parts = {block: staging.decode_bands(stack, bands, block) for block in blocks}
    plan = images.reading_plan(stack, height)
    assert len(opens) == (plan.opens if plan.mode == "staged" else 7 * 3)
    for band, (start, stop) in enumerate(bands):
        holders = [parts[block] for block in blocks if block.first_band <= band < block.last_band]
        for plane in ("data", "uncertainty"):
            same(staging.staged_band(holders, band, plane), images.read_band(stack, start, stop, plane=plane))
        expected = np.stack([images.read_mask_rows(stack, i, start, stop) for i in range(7)])
        np.testing.assert_array_equal(staging.staged_band(holders, band, "mask"), expected)
