"""Combining a band of frames, against astropy, exact fractions and numpy."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import astropy
import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from daskpar.analyses.image_stats.kernel import combine_band
from daskpar.errors import InputError, RecipeError


def night(n, shape=(7, 45), seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    frames = rng.normal(1000, 10, (n, *shape))
    frames[rng.random(frames.shape) < 0.03] += 300
    return frames.astype(dtype)


def same_bits(a, b):
    assert a.keys() == b.keys()
    for key in a:
        assert a[key].dtype == b[key].dtype
        assert a[key].tobytes() == b[key].tobytes(), key


def check_clip(frames, result, clip=sigma_clip, **options):
    data = frames.astype(np.float64)
    with np.errstate(all="ignore"):
        clipped = clip(np.ma.masked_invalid(data), axis=0, **options)
    used = ~np.ma.getmaskarray(clipped)
    np.testing.assert_array_equal(result["count"], used.sum(0))
    finite = np.isfinite(data)
    assert (result["rejected_low"] + result["rejected_high"] + result["count"] == finite.sum(0)).all()
    rejected = (finite & ~used).sum((1, 2))
    np.testing.assert_array_equal(result["frame_rejected_low"] + result["frame_rejected_high"], rejected)
    mean = np.ma.masked_array(data, ~used).mean(0).filled(np.nan)
    assert result["combined"].dtype == (np.float32 if frames.dtype.itemsize <= 4 else np.float64)
    np.testing.assert_array_max_ulp(result["combined"], mean.astype(result["combined"].dtype), 1)
    error = np.ma.masked_array(data, ~used).std(0, ddof=1).filled(np.nan) / np.sqrt(used.sum(0))
    many = used.sum(0) > 1
    np.testing.assert_allclose(result["uncertainty"][many], error[many], rtol=1e-6)
    assert np.isnan(result["uncertainty"][~many]).all()


def clip_by_hand(data, axis, sigma, maxiters, cenfunc, stdfunc):
    """Do what astropy does from 8.0.2 on: before, it kept all values where none lies within the bounds."""
    assert (axis, cenfunc, stdfunc) == (0, "mean", "mad_std")
    low, high = np.full((2, *data.shape[1:]), np.nan)
    inside = data
    for _ in range(maxiters):
        center = inside.mean(axis=0)
        spread = 1.482602218505602 * np.ma.median(abs(inside - np.ma.median(inside, axis=0)), axis=0)
        low = np.where(inside.count(axis=0) > 0, center - sigma * spread, low)
        high = np.where(inside.count(axis=0) > 0, center + sigma * spread, high)
        inside = np.ma.masked_where((data < low) | (data > high) | np.ma.getmaskarray(inside), data)
    return np.ma.masked_where((data < low) | (data > high), data)  # the last bounds may be wider


@pytest.mark.parametrize("center", ["median", "mean"])
@pytest.mark.parametrize("scale", ["std", "mad_std"])
@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 32, 45])
def test_sigma_clip_equals_astropy(n, center, scale):
    frames = night(n, seed=n)
    frames[n // 2, :2] = np.nan
    frames[:, 3, 3] = np.nan
    frames[0, 4, 4] = np.inf
    result = combine_band(frames, rejection="sigma_clip", sigma=2.0, center=center, scale=scale)
    about_mean = (center, scale) == ("mean", "mad_std")
    known = not about_mean or Version(astropy.__version__) >= Version("8.0.2")
    for clip in [sigma_clip] * known + [clip_by_hand] * about_mean:
        check_clip(frames, result, clip, sigma=2.0, maxiters=5, cenfunc=center, stdfunc=scale)


@pytest.mark.parametrize("n", [70, 200])
def test_many_frames(n):
    frames = night(n, (3, 30), seed=n)
    result = combine_band(frames, rejection="sigma_clip", sigma_lower=2.5, sigma_upper=2.0, maxiters=None)
    check_clip(
        frames, result, sigma_lower=2.5, sigma_upper=2.0, maxiters=None, cenfunc="median", stdfunc="std"
    )


def exact_clip(column, sigma, maxiters, center):
    """Return the values kept, decided with fractions: astropy's algorithm with squares instead of roots."""
    values = sorted(Fraction(float(x)) for x in column if np.isfinite(x))
    used = values
    for turn in range(maxiters):
        if not used:
            return []
        n = len(used)
        mean = sum(used) / n
        middle = (used[(n - 1) // 2] + used[n // 2]) / 2 if center == "median" else mean
        bound = Fraction(sigma) ** 2 * sum((x - mean) ** 2 for x in used) / n

        def inside(x, middle=middle, bound=bound):
            return (x - middle) ** 2 <= bound

        kept = [x for x in used if inside(x)]
        if len(kept) in (n, 0) or turn == maxiters - 1:
            return [x for x in values if inside(x)]
        used = kept
    return used


small = st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, 4.0, -1.0, 0.5, 7.0, np.nan])
wild = st.floats(width=32) | st.sampled_from([1e30, -1e30, 1e-40, 1.0, 1.0000001])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=60)
@given(data=st.data())
def test_decisions_are_those_of_exact_arithmetic(dtype, data):
    n = data.draw(st.integers(1, 12))
    pixels = data.draw(st.lists(st.lists(small | wild, min_size=n, max_size=n), min_size=1, max_size=6))
    sigma = data.draw(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 1.1]))
    center = data.draw(st.sampled_from(["median", "mean"]))
    frames = np.array(pixels).T.astype(dtype).reshape(n, 1, -1)
    result = combine_band(frames, rejection="sigma_clip", sigma=sigma, maxiters=4, center=center)
    for j in range(frames.shape[2]):
        kept = exact_clip(frames[:, 0, j], sigma, 4, center)
        assert result["count"][0, j] == len(kept)
        if kept:
            mean = float(sum(kept) / len(kept))
            largest = max(abs(float(x)) for x in kept)
            assert abs(result["combined"][0, j] - mean) <= np.finfo(dtype).eps * largest


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40))
def test_neither_frame_order_nor_bands_change_a_bit(seed, n):
    rng = np.random.default_rng(seed)
    frames = rng.poisson(5, (n, 5, 60)).astype(np.float32) / np.float32(rng.choice([1, 3, 7]))
    frames[rng.random(frames.shape) < 0.1] = np.nan
    frames[frames == 0] = rng.choice([0.0, -0.0], (frames == 0).sum())
    options = {"rejection": "sigma_clip", "sigma": 1.0, "maxiters": 3}
    whole = combine_band(frames, **options)
    order = rng.permutation(n)
    mixed = combine_band(frames[order], **options)
    for key in ("frame_rejected_low", "frame_rejected_high"):
        np.testing.assert_array_equal(mixed.pop(key), whole[key][order])
    cut = int(rng.integers(1, 5))
    parts = [combine_band(frames[:, :cut], **options), combine_band(frames[:, cut:], **options)]
    for key in mixed:
        assert mixed[key].tobytes() == whole[key].tobytes(), key
        assert np.concatenate([p[key] for p in parts]).tobytes() == whole[key].tobytes(), key


@pytest.mark.parametrize(
    "dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", ">i2", ">u2", ">i4", ">f4", ">f8"]
)
def test_dtypes_and_byte_orders(dtype):
    frames = np.clip(night(9, seed=3), 0, 250 if dtype == "u1" else 30000).astype(dtype)
    native = frames.astype(
        np.float32 if np.dtype(dtype).itemsize <= (4 if "f" in dtype else 2) else np.float64
    )
    same_bits(
        combine_band(frames, rejection="sigma_clip", sigma=2),
        combine_band(native, rejection="sigma_clip", sigma=2),
    )


def test_fits_scaling_equals_astropy(tmp_path):
    words = np.random.default_rng(0).integers(-32768, 32767, (1, 20, 30)).astype(">i2")
    words[0, 0, :5] = 17
    header = fits.Header({"BSCALE": 0.37, "BZERO": 12.5, "BLANK": 17})
    hdu = fits.PrimaryHDU(words[0].astype(np.int16))
    hdu.header.update(header)
    hdu.writeto(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits", do_not_scale_image_data=True) as raw:
        raw[0].header.update(header)
        raw.writeto(tmp_path / "b.fits", output_verify="ignore")
    data = fits.getdata(tmp_path / "b.fits")
    result = combine_band(words, bscale=0.37, bzero=12.5, blank=17)
    np.testing.assert_array_equal(result["combined"], data)


def test_unsigned_words_by_bzero():
    counts = np.random.default_rng(0).poisson(40000, (6, 8, 9)).astype(np.uint16)
    words = (counts.astype(np.int32) - 32768).astype(">i2")
    options = {"rejection": "sigma_clip", "sigma": 1.5}
    same_bits(combine_band(words, bzero=32768, **options), combine_band(counts, **options))


def test_masked_values_are_never_used():
    frames = night(11)
    masks = np.random.default_rng(5).random(frames.shape) < 0.2
    hidden = np.where(masks, np.float32(np.nan), frames)
    options = {"rejection": "sigma_clip", "sigma": 2.0}
    same_bits(combine_band(frames, masks=masks, **options), combine_band(hidden, **options))


def test_scale_and_zero():
    frames = night(6)
    scale, zero = np.array([1, 2, 0.5, 1.1, 1, 1.0]), np.arange(6.0)
    expected = (frames.astype(float) - zero[:, None, None]) * scale[:, None, None]
    result = combine_band(frames, method="median", scaling=scale, zero=zero)
    np.testing.assert_array_equal(result["combined"], np.median(expected, axis=0).astype(np.float32))


METHODS = {
    "mean": np.nanmean, "median": np.nanmedian, "sum": np.nansum, "min": np.nanmin, "max": np.nanmax,
    "std": np.nanstd, "var": np.nanvar, "count": lambda a, axis: np.isfinite(a).sum(axis),
    "percentile": lambda a, axis: np.nanpercentile(a, 30, axis),
    "mad": lambda a, axis: np.nanmedian(abs(a - np.nanmedian(a, axis)), axis),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [4, 33])
def test_methods_equal_numpy(method, n):
    frames = night(n, dtype=np.float64)
    frames[1:, 2, ::2] = np.nan
    result = combine_band(frames, method=method, percentile=30)
    np.testing.assert_allclose(result["combined"], METHODS[method](frames, axis=0), rtol=1e-13, atol=1e-9)
    count = np.isfinite(frames).sum(0)
    with np.errstate(all="ignore"):
        spread = np.where(count > 1, np.nanstd(frames, 0) * np.sqrt(count / (count - 1.0)), np.nan)
    factor = np.sqrt(np.pi / 2) if method == "median" else 1.0
    np.testing.assert_allclose(result["uncertainty"], spread / np.sqrt(count) * factor, rtol=1e-12)


def test_pixels_without_values():
    frames = np.full((3, 2, 2), np.nan, np.float32)
    result = combine_band(frames, method="sum", rejection="sigma_clip")
    assert np.isnan(result["combined"]).all()
    assert np.isnan(result["uncertainty"]).all()
    assert (result["count"] == 0).all()
    assert combine_band(np.zeros((3, 0, 5), np.float32))["combined"].shape == (0, 5)


@pytest.mark.parametrize(
    "options", [{"method": "average"}, {"rejection": "siggma"}, {"sigma": -1.0, "rejection": "sigma_clip"},
                {"maxiters": 0, "rejection": "sigma_clip"}, {"percentile": 101.0},
                {"center": "mode", "rejection": "sigma_clip"}],
)  # fmt: skip
def test_wrong_options(options):
    with pytest.raises(RecipeError):
        combine_band(night(3), **options)


def test_wrong_arrays():
    for bad in (
        np.zeros((3, 4)),
        np.zeros((0, 2, 2)),
        np.zeros((2, 2, 2), complex),
        np.zeros((2, 2, 2), np.float16),
    ):
        with pytest.raises(InputError):
            combine_band(bad)
    with pytest.raises(InputError):
        combine_band(night(3), masks=np.zeros((3, 1, 1), bool))
    with pytest.raises(InputError):
        combine_band(night(3), scaling=[1.0, 2.0])


def real_frames():
    folders = [
        os.environ.get("DASKPAR_TEST_DATA", ""),
        *(str(p / "shared/data") for p in Path(__file__).parents),
    ]
    paths = [sorted(Path(folder).glob("M13_blue_000?.fits")) for folder in folders if folder]
    return next((found for found in paths if found), [])


@pytest.mark.skipif(not real_frames(), reason="the M 13 frames are not here; set DASKPAR_TEST_DATA")
def test_real_frames():
    frames = np.stack([fits.getdata(path) for path in real_frames()])
    result = combine_band(frames, rejection="sigma_clip", sigma=2.0)
    assert result["rejected_low"].sum() + result["rejected_high"].sum() == 792739
