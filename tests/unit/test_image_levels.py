"""Levels of frames from headers and without masked pixels; statistics of expressions; the WCS of results."""

import gzip

import dask
import numpy as np
import pytest
import xarray as xr
from fits_maker import primary, wcs_keys, write
from test_image_stats_build import opens  # noqa: F401 (a fixture)

import daskpar
from daskpar.errors import InputError, RecipeError

SHAPE = (6, 48, 32)
LEVELS = np.array([100.0, 110.0, 90.0, 130.0, 95.0, 105.0])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    from daskpar.analyses.image_stats import partition

    monkeypatch.setattr(partition, "LEAST_BAND_BYTES", 6_000)


@pytest.fixture
def pixels():
    return np.random.default_rng(2).normal(LEVELS[:, None, None], 3, SHAPE).astype(">f4")


@pytest.fixture
def folder(tmp_path, pixels):
    for i, frame in enumerate(pixels):
        cards = primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], SKYLEVEL=float(LEVELS[i]), **wcs_keys())
        write(tmp_path / f"f{i}.fits", cards, frame)
    return tmp_path


@pytest.fixture
def stack(folder):
    return daskpar.open_stack(str(folder / "f*.fits"))


@pytest.mark.parametrize("key", ["scaling", "zero"])
def test_levels_from_a_keyword(stack, pixels, key):
    result = daskpar.combine(stack, rejection="none", **{key: "keyword:skylevel"}).compute()
    levels, values = LEVELS[:, None, None], pixels.astype("f8")
    expected = values * (levels[0] / levels) if key == "scaling" else values - (levels - levels[0])
    np.testing.assert_allclose(result["combined"], expected.mean(axis=0), rtol=1e-6)
    again = daskpar.combine(stack * 1.0, rejection="none", **{key: "keyword:SKYLEVEL"}).compute()
    np.testing.assert_array_equal(again["combined"], result["combined"])


def test_a_keyword_that_is_missing_is_named(stack, pixels):
    with pytest.raises(InputError, match=r"f0\.fits.*it has no NOWHERE"):
        daskpar.combine(stack, scaling="keyword:NOWHERE")
    with pytest.raises(RecipeError, match="no headers"):
        daskpar.combine(xr.DataArray(pixels, dims=("frame", "y", "x")), scaling="keyword:SKYLEVEL")


@pytest.mark.parametrize("kind", ["files", "array", "plane", "expression"])
def test_levels_leave_out_masked_pixels(folder, stack, pixels, kind):
    mask = np.random.default_rng(3).random(SHAPE) < 0.3
    mask[:] = mask[0] if kind == "plane" else mask
    frames = np.where(mask, np.float32(60_000), pixels).astype(">f4")
    for i, frame in enumerate(frames):
        write(folder / f"f{i}.fits", primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1]), frame)
        write(
            folder / f"m{i}.fits", primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], BITPIX=8), mask[i].astype("u1")
        )
    masks = str(folder / "m*.fits") if kind == "files" else None
    opened = daskpar.open_stack(str(folder / "f*.fits"), mask=masks)
    given = {"array": mask, "plane": mask[0], "expression": opened > 50_000}.get(kind)
    box = (slice(None), slice(4, 40), slice(1, 30))
    result = daskpar.combine(
        opened, rejection="none", scaling="mean", mask=given, section=[4, 40, 1, 30]
    ).compute()
    good = np.where(mask, np.nan, pixels.astype("f8"))
    levels = np.nanmean(good[box], axis=(1, 2))[:, None, None]
    with np.errstate(invalid="ignore"):
        expected = np.nansum(good * (levels[0] / levels), axis=0) / (~mask).sum(axis=0)
    np.testing.assert_allclose(result["combined"], expected, rtol=1e-6)


def test_statistics_without_masked_pixels(stack, pixels):
    mask = pixels.astype("f4") > LEVELS[:, None, None] + 2
    result = daskpar.frame_stats(stack, mask=mask).compute()
    np.testing.assert_array_equal(result["count"], (~mask).sum(axis=(1, 2)))
    np.testing.assert_allclose(
        result["median"], np.nanmedian(np.where(mask, np.nan, pixels), axis=(1, 2)), rtol=1e-6
    )


def test_statistics_of_an_expression_come_from_bands_by_scratch(stack, pixels, opens):  # noqa: F811
    expression = (stack - 5.0) * 2.0
    result = daskpar.frame_stats(expression)
    (values,) = dask.compute(result, scheduler="synchronous")
    np.testing.assert_allclose(
        values["median"], np.median((pixels.astype("f4") - 5) * 2, axis=(1, 2)), rtol=1e-6
    )
    # Each band of each frame is opened once, and no task hands pixels to another worker's block.
    bands = len(stack.chunks[1])
    assert bands > 1
    assert len(opens) == bands * SHAPE[0]
    names = {str(key[0] if isinstance(key, tuple) else key) for key in result["median"].__dask_graph__()}
    assert not any(name.startswith(("rechunk", "concatenate")) for name in names)


def test_compressed_frames_in_an_expression_are_decoded_once(folder, pixels, opens):  # noqa: F811
    for i in range(SHAPE[0]):
        path = folder / f"f{i}.fits"
        with gzip.open(f"{path}.gz", "wb") as target:
            target.write(path.read_bytes())
        path.unlink()
    stack = daskpar.open_stack(str(folder / "*.gz"))
    assert len(stack.chunks[1]) > 1
    result = daskpar.combine((2 * stack)[:, 3:40], rejection="none")
    opens.clear()
    (combined,) = dask.compute(result["combined"], scheduler="synchronous")
    np.testing.assert_allclose(combined, 2 * pixels[:, 3:40].astype("f8").mean(axis=0), rtol=1e-6)
    assert len(opens) == SHAPE[0]
    opens.clear()
    (stats,) = dask.compute(daskpar.frame_stats(stack[1:3] + 1), scheduler="synchronous")
    np.testing.assert_allclose(stats["max"], pixels[1:3].max(axis=(1, 2)) + 1, rtol=1e-6)
    assert len(opens) == SHAPE[0]


def test_the_wcs_of_stacks_and_results(stack):
    sky = daskpar.wcs(stack)
    assert sky.pixel_shape == (SHAPE[2], SHAPE[1])
    part = daskpar.wcs(stack[:, 5:20, 3:9])
    here = sky.wcs_pix2world([[4.0, 7.0]], 0)
    np.testing.assert_allclose(part.wcs_pix2world([[1.0, 2.0]], 0), here, rtol=1e-12)
    result = daskpar.combine(stack[:, 5:20, 3:9])
    np.testing.assert_allclose(daskpar.wcs(result).wcs_pix2world([[1.0, 2.0]], 0), here, rtol=1e-12)
    with pytest.raises(InputError, match="no celestial WCS"):
        daskpar.wcs(stack[:, ::2])
