"""Statistics of one frame, against numpy and astropy."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.stats import median_absolute_deviation, sigma_clipped_stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskpar.analyses.image_stats.kernel import frame_statistics
from daskpar.analyses.image_stats.kernel.frame_statistics import inward
from daskpar.analyses.image_stats.kernel.ordering import ordered_pixels
from daskpar.errors import InputError, RecipeError


def sky(shape=(211, 307), seed=0):
    rng = np.random.default_rng(seed)
    image = rng.normal(1000, 12, shape)
    image[rng.random(shape) < 0.02] += rng.exponential(5000, shape)[0, 0]
    return image


def check(image, sigma=3.0, maxiters=5):
    result = frame_statistics(image, sigma=sigma, maxiters=maxiters, percentiles=[0, 12.5, 50, 99, 100])
    data = image.astype(float)
    used = data[np.isfinite(data)]
    assert result["count"] == used.size
    assert result["nan_count"] == data.size - used.size
    assert result["min"] == used.min()
    assert result["max"] == used.max()
    assert result["median"] == np.median(used)
    assert result["mad"] == median_absolute_deviation(used)
    np.testing.assert_allclose(result["mean"], used.mean(), rtol=1e-14)
    np.testing.assert_allclose(result["std"], used.std(), rtol=1e-13, atol=1e-9)
    np.testing.assert_allclose(result["percentile"], np.percentile(used, [0, 12.5, 50, 99, 100]), rtol=1e-14)
    mean, median, std = sigma_clipped_stats(used, sigma=sigma, maxiters=maxiters)
    np.testing.assert_allclose(result["clipped_mean"], mean, rtol=1e-13)
    assert result["clipped_median"] == median
    np.testing.assert_allclose(result["clipped_std"], std, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("dtype", ["f4", "f8", "u2", "i2", "i4", "u1", ">f4", ">i2"])
@pytest.mark.parametrize("sigma", [2.0, 3.0])
def test_statistics_equal_astropy(dtype, sigma):
    check(np.clip(sky(), 0, 250 if dtype == "u1" else 30000).astype(dtype), sigma=sigma)


@pytest.mark.parametrize("maxiters", [1, 2, None])
def test_rounds(maxiters):
    check(sky(seed=4).astype(np.float32), sigma=2.0, maxiters=maxiters)


def test_values_that_are_not_finite():
    image = sky().astype(np.float32)
    image[::3, ::5] = np.nan
    image[1, 1], image[2, 2] = np.inf, -np.inf
    check(image)


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "u2"])
def test_masked_pixels_are_as_those_that_are_not_there(dtype):
    image = np.clip(sky(seed=2), 0, 30000).astype(dtype)
    mask = np.random.default_rng(3).random(image.shape) < 0.3
    found, expected = frame_statistics(image, mask=mask), frame_statistics(image[~mask])
    assert found["nan_count"] == mask.sum()
    for key in found.keys() - {"nan_count"}:
        assert found[key].tobytes() == expected[key].tobytes(), key


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", "u2", "i4"])
def test_an_image_is_changed_only_where_that_is_allowed(dtype, masked):
    image = np.clip(sky(seed=5), 0, 30000).astype(dtype)
    mask = np.random.default_rng(6).random(image.shape) < 0.1 if masked else None
    before = image.tobytes()
    expected = frame_statistics(image, mask=mask)
    assert image.tobytes() == before
    found = frame_statistics(image, mask=mask, overwrite_input=True)
    assert {name: value.tobytes() for name, value in found.items()} == {
        name: value.tobytes() for name, value in expected.items()
    }


@pytest.mark.parametrize("bound", [0.1, -0.1, 1.0, 16777217.0, 1e300, -1e300, np.inf, -np.inf, np.nan])
def test_bounds_part_the_same_pixels_in_their_dtype(bound):
    near = np.float32(np.clip(bound, -3e38, 3e38))
    values = np.sort([near, np.nextafter(near, np.float32(-3.4e38)), np.nextafter(near, np.float32(3.4e38))])
    for towards, side in ((np.inf, "left"), (-np.inf, "right")):
        found = np.searchsorted(values, inward(bound, towards, values.dtype), side)
        assert found == np.searchsorted(values.astype(np.float64), bound, side)


def test_no_pixels_and_one():
    empty = frame_statistics(np.full((3, 3), np.nan, np.float32), percentiles=[50])
    assert empty["count"] == 0
    assert empty["nan_count"] == 9
    assert all(np.isnan(empty[key]).all() for key in ("mean", "median", "mad", "clipped_std", "percentile"))
    assert frame_statistics(np.array([[7.0]]))["clipped_mean"] == 7.0
    assert frame_statistics(np.zeros((0, 4), np.int16))["count"] == 0


@pytest.mark.parametrize("make", [
    lambda rng: rng.standard_cauchy(20000), lambda rng: np.zeros(5000), lambda rng: rng.integers(0, 3, 9000),
    lambda rng: np.where(rng.random(9000) < 1e-3, 1e30, rng.random(9000)), lambda rng: np.exp(rng.normal(0,
    30, 9000)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_order_of_awkward_distributions(make, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pixels = make(np.random.default_rng(1)).astype(dtype)
    np.testing.assert_array_equal(ordered_pixels(pixels), np.sort(pixels[np.isfinite(pixels)]))


@settings(max_examples=60)
@given(hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(width=32)))
def test_order_and_pixel_order(pixels):
    expected = np.sort(pixels[np.isfinite(pixels)])
    np.testing.assert_array_equal(ordered_pixels(pixels), expected)
    forward, backward = frame_statistics(pixels), frame_statistics(pixels[::-1])
    for key in forward:
        assert forward[key].tobytes() == backward[key].tobytes(), key


def test_wrong_use():
    with pytest.raises(InputError):
        frame_statistics(np.zeros(3, complex))
    with pytest.raises(RecipeError):
        frame_statistics(np.zeros(3), sigma=-1)
    with pytest.raises(RecipeError):
        frame_statistics(np.zeros(3), maxiters=0)
    with pytest.raises(RecipeError):
        frame_statistics(np.zeros(3), percentiles=[101])
