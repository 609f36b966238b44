"""Frames aligned by their WCS: whole shifts are known exactly, interpolation is that of reproject."""

import warnings

import dask
import numpy as np
import pytest
from astropy.wcs import WCS
from fits_maker import primary, wcs_keys, write
from test_image_stats_build import combining, through_stages

import daskpar
from daskpar.analyses import image_stats
from daskpar.errors import InputError, RecipeError
from daskpar.inputs.images import scan_images

SIDE = 40
SKY = np.random.default_rng(3).normal(500, 5, (80, 80)).astype(">f4")
# Pixels by which the scene stands further right and higher in each frame.
SHIFTS = [(0.0, 0.0), (3.0, -2.0), (-4.3, 1.4), (0.4, 60.0)]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    from daskpar.analyses.image_stats import partition as blocks
    from daskpar.inputs import staging

    monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", 5_000)
    monkeypatch.setattr(staging, "LEAST_BYTES", 12_000)


def cards(dx=0.0, dy=0.0, angle=0.0):
    keys = {**wcs_keys(), "CRPIX1": 20.5 + dx, "CRPIX2": 20.5 + dy}
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    turn = (np.array([[-c, s], [s, c]]) * 1e-4).tolist()
    return {**keys, "CD1_1": turn[0][0], "CD1_2": turn[0][1], "CD2_1": turn[1][0], "CD2_2": turn[1][1]}


def scene(dx, dy):
    """Part of one sky, moved by whole pixels."""
    left, top = 20 - round(dx), 20 - round(dy)
    out = np.full((SIDE, SIDE), np.nan, ">f4")
    inside = SKY[max(top, 0) : top + SIDE, max(left, 0) : left + SIDE]
    out[max(-top, 0) : max(-top, 0) + len(inside), max(-left, 0) : max(-left, 0) + inside.shape[1]] = inside
    return out


@pytest.fixture
def shifted_files(tmp_path):
    for i, (dx, dy) in enumerate(SHIFTS):
        write(tmp_path / f"f{i}.fits", primary(NAXIS1=SIDE, NAXIS2=SIDE, **cards(dx, dy)), scene(dx, dy))
    return tmp_path


@pytest.fixture
def turned_files(tmp_path):
    for i, angle in enumerate((0.0, 0.0, 5.0)):
        pixels = SKY[10 * i : 10 * i + SIDE, :SIDE]
        write(
            tmp_path / f"f{i}.fits", primary(NAXIS1=SIDE, NAXIS2=SIDE, **cards(0.4 * i, 0.0, angle)), pixels
        )
    return tmp_path


def expected_shift():
    """Frames as they should lie: each covers the same sky, as far as it reaches."""
    found = []
    for dx, dy in SHIFTS:
        frame, out = scene(dx, dy), np.full((SIDE, SIDE), np.nan, np.float32)
        for y in range(SIDE):
            for x in range(SIDE):
                if 0 <= y + round(dy) < SIDE and 0 <= x + round(dx) < SIDE:
                    out[y, x] = frame[y + round(dy), x + round(dx)]
        found.append(out)
    return np.stack(found)


def test_whole_shifts_bring_the_same_sky_together(shifted_files):
    record = scan_images("f*.fits", root=shifted_files)
    result, names = through_stages(record, combining(align="wcs_shift", rejection="none", method="sum"))
    assert names == ["aligning", "combining"]
    expected = expected_shift()
    np.testing.assert_array_equal(result["count"], np.isfinite(expected).sum(axis=0))
    np.testing.assert_allclose(result["combined"], np.nansum(expected, axis=0), rtol=1e-6)
    # Where all that reach the first show the same sky, their spread is nothing.
    result, _ = through_stages(record, combining(align="wcs_shift", rejection="none", method="std"))
    assert float(result["combined"].max()) == 0.0
    assert result.attrs["wcs_header"] == record.wcs_header


def test_combine_aligns_in_a_notebook_too(shifted_files):
    stack = daskpar.open_stack(str(shifted_files / "f*.fits"))
    expected = expected_shift()
    for box in (np.s_[:, :, :], np.s_[:, 5:31, 2:17]):
        result = daskpar.combine(stack[box], align="wcs_shift", rejection="none", method="max").compute()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(result["combined"], np.nanmax(expected[box], axis=0))
    with pytest.raises(RecipeError, match="not read from files"):
        daskpar.combine(stack * 2, align="wcs_shift")
    with pytest.raises(RecipeError, match="give one of pixels, wcs_shift, reproject"):
        daskpar.combine(stack, align="guess")


def test_masks_and_uncertainties_move_with_their_frames(shifted_files):
    masks = np.random.default_rng(4).random((len(SHIFTS), SIDE, SIDE)) < 0.2
    for i, mask in enumerate(masks):
        shape = {"NAXIS1": SIDE, "NAXIS2": SIDE}
        write(shifted_files / f"m{i}.fits", primary(**shape, BITPIX=8), mask.astype("u1"))
        write(shifted_files / f"e{i}.fits", primary(**shape), np.full((SIDE, SIDE), 1.0 + i, ">f4"))
    record = scan_images("f*.fits", mask="m*.fits", uncertainty="e*.fits", root=shifted_files)
    result, _ = through_stages(record, combining(align="wcs_shift", rejection="none"))
    count, variance = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for i, (dx, dy) in enumerate(SHIFTS):
        for y, x in np.ndindex(SIDE, SIDE):
            v, u = y + round(dy), x + round(dx)
            if 0 <= v < SIDE and 0 <= u < SIDE and not masks[i, v, u] and np.isfinite(scene(dx, dy)[v, u]):
                count[y, x] += 1
                variance[y, x] += (1.0 + i) ** 2
    np.testing.assert_array_equal(result["count"], count)
    with np.errstate(invalid="ignore"):
        expected = np.sqrt(variance) / count
    np.testing.assert_allclose(result["uncertainty_propagated"], expected, rtol=1e-6)


def test_what_is_more_than_a_shift_is_refused(turned_files):
    record = scan_images("f*.fits", root=turned_files)
    with pytest.raises(InputError, match=r"f2.*rotated, scaled or distorted.*align: reproject"):
        through_stages(record, combining(align="wcs_shift"))
    write(turned_files / "f3.fits", primary(NAXIS1=SIDE, NAXIS2=SIDE), SKY[:SIDE, :SIDE])
    record = scan_images("f*.fits", root=turned_files)
    for align in ("wcs_shift", "reproject"):
        with pytest.raises(InputError, match=r"f3.*no celestial WCS"):
            through_stages(record, combining(align=align))


def test_interpolation_is_that_of_reproject(turned_files):
    reproject = pytest.importorskip("reproject")
    record = scan_images("f*.fits", root=turned_files)
    frames = [SKY[10 * i : 10 * i + SIDE, :SIDE].astype("f8") for i in range(3)]
    first = WCS(cards(0.0, 0.0, 0.0))
    aligned = [frames[0]]
    for i, angle in ((1, 0.0), (2, 5.0)):
        sky = WCS(cards(0.4 * i, 0.0, angle))
        aligned.append(
            reproject.reproject_interp((frames[i], sky), first, (SIDE, SIDE), return_footprint=False)
        )
    expected = np.stack(aligned).astype(np.float32).astype("f8")
    assert np.isnan(expected).any()
    result, names = through_stages(record, combining(align="reproject", rejection="none"))
    assert names == ["aligning", "combining"]
    np.testing.assert_array_equal(result["count"], np.isfinite(expected).sum(axis=0))
    np.testing.assert_allclose(result["combined"], np.nanmean(expected, axis=0), rtol=1e-6)


def test_a_masked_pixel_spoils_all_that_is_made_of_it(turned_files):
    pytest.importorskip("reproject")
    mask = np.zeros((SIDE, SIDE), "u1")
    mask[20, 20] = 1
    shape = {"NAXIS1": SIDE, "NAXIS2": SIDE, "BITPIX": 8}
    for i in range(3):
        write(turned_files / f"m{i}.fits", primary(**shape), mask * (i == 1))
    record = scan_images("f*.fits", mask="m*.fits", root=turned_files)
    result, _ = through_stages(record, combining(align="reproject", rejection="none"))
    plain, _ = through_stages(record.take(slice(None)), combining(align="reproject", rejection="none"))
    unmasked = scan_images("f*.fits", root=turned_files)
    whole, _ = through_stages(unmasked, combining(align="reproject", rejection="none"))
    lost = np.argwhere((whole["count"] - result["count"]).values)
    # Frame 1 stands 0.4 pixel further right: two neighbours are made of the masked one.
    assert lost.tolist() == [[20, 19], [20, 20]]
    assert plain["count"].equals(result["count"])


def test_frame_statistics_are_of_the_frames_as_they_are(shifted_files):
    record = scan_images("f*.fits", root=shifted_files)
    options = image_stats.ImageStatsOptions(combine={"align": "wcs_shift"})
    result, _ = through_stages(record, options)
    counts = [np.isfinite(scene(*shift)).sum() for shift in SHIFTS]
    np.testing.assert_array_equal(result["frame_count"], counts)
    assert "aligned" in image_stats.cost(record, options)["reading"]


def test_levels_and_expressions_see_aligned_frames(shifted_files):
    stack = daskpar.open_stack(str(shifted_files / "f*.fits"))[:3]
    section = [5, 35, 5, 35]
    result = daskpar.combine(
        stack, align="wcs_shift", rejection="none", method="std", scaling="median", section=section
    )
    expected = expected_shift()[:3].astype("f8")
    levels = np.nanmedian(expected[:, 5:35, 5:35], axis=(1, 2))
    scaled = expected * (levels[0] / levels)[:, None, None]
    (combined,) = dask.compute(result["combined"])
    np.testing.assert_allclose(combined, np.nanstd(scaled, axis=0), atol=1e-4)
