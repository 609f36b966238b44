"""Bias, dark and flat in the recipe: the same values as the formula on whole frames."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from test_image_stats import clipped
from test_image_stats_build import through_stages

from daskpar.analyses.image_stats import ImageStatsOptions, open_images
from daskpar.analysis import Where
from daskpar.errors import InputError, RecipeError

SHAPE = (6, 50, 41)


@pytest.fixture
def night(tmp_path, monkeypatch):
    """Raw frames of differing exposure, and their calibration."""
    from daskpar.analyses.image_stats import partition as blocks

    monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", 10_000)
    rng = np.random.default_rng(8)
    raw = rng.integers(900, 1100, SHAPE).astype(np.uint16)
    made = {
        "bias": rng.normal(300, 2, SHAPE[1:]).astype("f4"),
        "dark": rng.normal(40, 2, SHAPE[1:]).astype("f4"),
        "flat": rng.normal(1, 0.1, SHAPE[1:]).astype("f4"),
    }
    made["flat"][5, 6] = 0
    for i, frame in enumerate(raw):
        fits.writeto(tmp_path / f"f{i}.fits", frame, fits.Header({"EXPTIME": 10.0 * (i + 1)}))
        fits.writeto(tmp_path / f"f{i}.fits.gz", frame, fits.Header({"EXPTIME": 10.0 * (i + 1)}))
    for name, frame in made.items():
        fits.writeto(tmp_path / f"{name}.fits", frame, fits.Header({"EXPTIME": 30.0}))
    scale = np.arange(1, SHAPE[0] + 1)[:, None, None] / 3.0
    with np.errstate(divide="ignore"):
        values = (raw - made["bias"].astype("f8") - made["dark"].astype("f8") * scale) / made["flat"].astype(
            "f8"
        )
    return tmp_path, values.astype("f4")


def where(folder):
    return Where(folder, lambda files: [str(folder / files)], folder / "scratch")


@pytest.mark.parametrize("files", ["f?.fits", "f?.fits.gz"])
def test_calibration_is_applied_inside_the_blocks(night, files):
    folder, values = night
    inputs = {"files": files, "bias": "bias.fits", "dark": "dark.fits", "flat": "flat.fits"}
    record = open_images(inputs, where(folder))
    plain = open_images({"files": files}, where(folder))
    assert record.identity() != plain.identity()
    result, _ = through_stages(record, ImageStatsOptions(combine={"sigma": 1.5}))
    mean, gone = clipped(values, 1.5)
    np.testing.assert_array_equal(result.rejected_low + result.rejected_high, gone)
    np.testing.assert_allclose(result.combined, mean, rtol=3e-7)
    assert result.combined.dtype == np.float32
    good = np.where(np.isfinite(values), values, np.nan).astype("f8")
    np.testing.assert_allclose(result.frame_mean, np.nanmean(good, axis=(1, 2)), rtol=1e-12)


def test_calibration_that_does_not_fit_is_refused(night):
    folder, _ = night
    fits.writeto(folder / "small.fits", np.ones((3, 3), "f4"))
    fits.writeto(folder / "timeless.fits", np.ones(SHAPE[1:], "f4"))
    for change in ({"flat": "small.fits"}, {"bias": "f?.fits"}, {"dark": "timeless.fits"}):
        with pytest.raises(InputError) as caught:
            open_images({"files": "f?.fits", **change}, where(folder))
        assert caught.value.faults[0].key == f"inputs.{next(iter(change))}"
        assert isinstance(caught.value.faults[0].path, str | Path)


@pytest.mark.parametrize("section", [None, [10, 40, 5, 35]])
def test_a_flat_is_normalised_by_its_median(night, section):
    folder, _ = night
    flat = fits.getdata(folder / "flat.fits").astype("f8")
    flat[20, 20] = np.nan
    fits.writeto(folder / "lamp.fits", (flat * 20_000).astype(">f4"))
    record = open_images({"files": "f?.fits", "flat": "lamp.fits"}, where(folder))
    inputs = {"files": "f?.fits", "flat": "lamp.fits", "flat_level": "median", "flat_section": section}
    normalised = open_images(inputs, where(folder))
    assert normalised.identity() != record.identity()
    raw = np.stack([fits.getdata(folder / f"f{i}.fits") for i in range(SHAPE[0])]).astype("f8")
    lamp = fits.getdata(folder / "lamp.fits").astype("f8")
    box = np.s_[10:40, 5:35] if section else np.s_[:, :]
    with np.errstate(divide="ignore"):
        values = (raw / (lamp / np.nanmedian(lamp[box]))).astype("f4")
    options = ImageStatsOptions(combine={"rejection": "none"}, frame_stats=None)
    result, _ = through_stages(normalised, options)
    values[~np.isfinite(values)] = np.nan
    with np.errstate(invalid="ignore"):
        expected = np.nansum(values.astype("f8"), axis=0) / np.isfinite(values).sum(axis=0)
    np.testing.assert_allclose(result.combined, expected, rtol=3e-7)


def test_a_flat_without_a_level_is_refused(night):
    folder, _ = night
    fits.writeto(folder / "black.fits", np.zeros(SHAPE[1:], ">f4"))
    with pytest.raises(InputError, match=r"black\.fits.*median is 0"):
        open_images({"files": "f?.fits", "flat": "black.fits", "flat_level": "median"}, where(folder))
    inputs = {"files": "f?.fits", "flat": "flat.fits", "flat_section": [0, 60, 0, 5]}
    with pytest.raises(RecipeError, match="flat_section"):
        open_images(inputs, where(folder))
    with pytest.raises(RecipeError, match="no flat"):
        open_images({"files": "f?.fits", "flat_level": "median"}, where(folder))
