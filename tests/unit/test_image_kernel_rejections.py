"""Rejection rules, weights, propagated uncertainties and grow, against literal references."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from daskpar.analyses.image_stats.kernel import combine_band
from daskpar.errors import InputError, RecipeError


def night(n, shape=(6, 50), seed=0):
    rng = np.random.default_rng(seed)
    frames = rng.normal(1000, 10, (n, *shape))
    frames[rng.random(frames.shape) < 0.05] += 400
    frames[rng.random(frames.shape) < 0.03] -= 200
    frames[rng.random(frames.shape) < 0.05] = np.nan
    return frames.astype(np.float32)


def by_column(reference, frames):
    """Apply a reference, which takes and returns a sorted list of floats, to each pixel."""
    flat = frames.reshape(len(frames), -1).astype(float)
    kept = [reference(sorted(x for x in column if np.isfinite(x))) for column in flat.T]
    counts = np.array([len(k) for k in kept]).reshape(frames.shape[1:])
    means = np.array([np.mean(k) if len(k) else np.nan for k in kept], np.float32).reshape(frames.shape[1:])
    return counts, means


def agrees(frames, reference, **options):
    result = combine_band(frames, **options)
    counts, means = by_column(reference, frames)
    np.testing.assert_array_equal(result["count"], counts)
    np.testing.assert_array_max_ulp(result["combined"], means, 1)
    total = result["count"] + result["rejected_low"] + result["rejected_high"]
    np.testing.assert_array_equal(total, np.isfinite(frames).sum(0))
    lost = result["frame_rejected_low"].sum() + result["frame_rejected_high"].sum()
    assert lost == np.isfinite(frames).sum() - counts.sum()


@pytest.mark.parametrize("n", [5, 20, 33])
def test_minmax(n):
    def reference(values):
        low, high = len(values) * 1 // n, len(values) * 2 // n
        return values[low : len(values) - high]

    agrees(night(n), reference, rejection="minmax", nlow=1, nhigh=2)


def test_percentile():
    def reference(values):
        m = np.median(values) if values else 0.0
        return [x for x in values if m - x <= 0.02 * abs(m) and x - m <= 0.01 * abs(m)]

    agrees(night(12), reference, rejection="percentile", low_fraction=0.02, high_fraction=0.01)


def winsorized_reference(values, sigma=3.0, maxiters=5):
    """PixInsight's algorithm, written as its description reads."""
    for _ in range(maxiters):
        if len(values) <= 3:
            break
        m, s, drawn = np.median(values), np.std(values, ddof=1), np.array(values)
        for _ in range(100):
            before = s
            drawn = np.clip(drawn, m - 1.5 * s, m + 1.5 * s)
            s = 1.134 * np.std(drawn, ddof=1)
            if abs(s - before) <= 0.0005 * before:
                break
        kept = [x for x in values if m - x <= sigma * s and x - m <= sigma * s]
        if len(kept) == len(values):
            break
        values = kept
    return values


@pytest.mark.parametrize("n", [4, 10, 32, 41])
def test_winsorized(n):
    agrees(night(n, seed=n), winsorized_reference, rejection="winsorized", sigma=3.0)


@pytest.mark.parametrize("center", ["median", "mean"])
def test_ccd_noise(center):
    def reference(values):
        while values:
            c = np.median(values) if center == "median" else np.mean(values)
            noise = np.sqrt((5.0 / 2.0) ** 2 + max(c, 0) / 2.0 + (0.001 * c) ** 2)
            kept = [x for x in values if c - x <= 2.5 * noise and x - c <= 3.5 * noise]
            if len(kept) == len(values):
                break
            values = kept
        return values

    agrees(
        night(15), reference, rejection="ccd_noise", center=center, sigma_lower=2.5, sigma_upper=3.5,
        read_noise=5.0, gain=2.0, sensitivity_noise=0.001, maxiters=None,
    )  # fmt: skip


@pytest.mark.parametrize("rejection", ["minmax", "percentile", "winsorized", "ccd_noise"])
def test_frame_order_does_not_matter(rejection):
    rng = np.random.default_rng(3)
    frames = rng.poisson(3, (11, 4, 70)).astype(np.float32)
    weights = rng.integers(0, 3, 11).astype(float)
    errors = rng.random(frames.shape)
    order = rng.permutation(11)
    one = combine_band(frames, rejection=rejection, weights=weights, uncertainty=errors)
    two = combine_band(frames[order], rejection=rejection, weights=weights[order], uncertainty=errors[order])
    for key in (
        "combined",
        "uncertainty",
        "uncertainty_propagated",
        "count",
        "rejected_low",
        "rejected_high",
    ):
        assert one[key].tobytes() == two[key].tobytes(), key


@pytest.mark.parametrize("method", ["mean", "sum", "median"])
def test_weights_and_propagated_uncertainties(method):
    frames = night(9)
    rng = np.random.default_rng(8)
    errors = rng.uniform(1, 3, frames.shape)
    errors[0, 0, :9] = np.nan
    weights = (
        None if method == "median" else rng.uniform(0.5, 2, frames.shape) * (rng.random(frames.shape) > 0.1)
    )
    result = combine_band(frames, method=method, weights=weights, uncertainty=errors, scaling=np.full(9, 2.0))
    w = np.ones(frames.shape) if weights is None else weights
    data = 2.0 * np.where(np.isfinite(errors) & (w > 0), frames, np.nan).astype(float)
    used = np.isfinite(data)
    total = np.where(used, w, 0).sum(0)
    spread = 2.0 * np.sqrt(np.where(used, (w * errors) ** 2, 0).sum(0))
    mean = np.nansum(np.where(used, w * data, 0), 0) / total
    expected = {"mean": mean, "sum": mean * total, "median": np.nanmedian(data, 0)}[method]
    factor = {"mean": 1 / total, "sum": 1.0, "median": np.sqrt(np.pi / 2) / total}[method]
    np.testing.assert_allclose(result["combined"], expected, rtol=2e-7)
    np.testing.assert_allclose(result["uncertainty_propagated"], spread * factor, rtol=2e-7)
    np.testing.assert_array_equal(result["count"], used.sum(0))


@pytest.mark.parametrize("per_pixel", [False, True])
@pytest.mark.parametrize("kind", ["ties", "last bits", "negative", "missing"])
@pytest.mark.parametrize("n", [5, 40, 130])
def test_weighted_values_keep_their_weights(n, kind, per_pixel):
    """Equal values, values that differ in their last bits only, and values on both sides of zero."""
    rng = np.random.default_rng(n)
    frames = rng.standard_normal((n, 2, 260))
    if kind == "ties":
        frames = np.round(frames).astype(np.float32)
    if kind == "last bits":
        frames = 1.0 + np.round(frames * 4) * 2.0**-52
    if kind == "missing":
        frames[rng.random(frames.shape) < 0.5] = np.nan
    weights = rng.integers(1, 5, frames.shape if per_pixel else n).astype(float)
    result = combine_band(frames, rejection="sigma_clip", sigma=1.5, weights=weights)
    order = rng.permutation(n)
    again = combine_band(frames[order], rejection="sigma_clip", sigma=1.5, weights=weights[order])
    assert result["combined"].tobytes() == again["combined"].tobytes()
    every = weights if per_pixel else np.broadcast_to(weights[:, np.newaxis, np.newaxis], frames.shape)
    for y, x in np.ndindex(2, 260):
        column = frames[:, y, x].astype(float)
        ranks = np.argsort(column, kind="stable")[: np.isfinite(column).sum()]
        used = ranks[result["rejected_low"][y, x] :][: result["count"][y, x]]
        pivot = column[used[0]] if used.size else np.nan
        w = every[used, y, x]
        expected = pivot + ((column[used] - pivot) * w).sum() / w.sum() if used.size else np.nan
        tolerance = 2.0**-52 if kind == "last bits" else 1e-6
        np.testing.assert_allclose(result["combined"][y, x], expected, rtol=tolerance, atol=1e-7 * tolerance)


def test_weights_with_rejection():
    frames = night(16)
    weights = np.linspace(1, 2, 16)
    plain = combine_band(frames, rejection="sigma_clip", sigma=2.0, method="mean")
    result = combine_band(frames, rejection="sigma_clip", sigma=2.0, method="mean", weights=weights)
    np.testing.assert_array_equal(result["count"], plain["count"])
    flat, ranks = np.sort(frames.reshape(16, -1), 0), [result[k].ravel() for k in ("rejected_low", "count")]
    for j, (low, count) in enumerate(zip(*ranks, strict=True)):
        column = frames.reshape(16, -1)[:, j]
        used = (column >= flat[low, j]) & (column <= flat[low + count - 1, j])
        expected = np.average(column[used].astype(float), weights=weights[used])
        np.testing.assert_allclose(result["combined"].ravel()[j], expected, rtol=1e-7)


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.3])
def test_grow(radius):
    frames = night(10, (20, 31))
    plain = combine_band(frames, rejection="sigma_clip", sigma=2.2)
    result = combine_band(frames, rejection="sigma_clip", sigma=2.2, grow=radius)
    low = plain["rejected_low"]
    ranked = np.sort(frames, 0)
    first = np.take_along_axis(ranked, low[None], 0)
    last = np.take_along_axis(ranked, (low + plain["count"] - 1)[None], 0)
    rejected = np.isfinite(frames) & ((frames < first) | (frames > last))
    y, x = np.mgrid[-2:3, -2:3]
    gone = np.stack([binary_dilation(frame, y * y + x * x <= radius**2) for frame in rejected])
    expected = combine_band(frames, masks=gone)
    for key in ("combined", "uncertainty", "count"):
        assert result[key].tobytes() == expected[key].tobytes()
    np.testing.assert_array_equal(result["rejected_low"], low)
    np.testing.assert_array_equal(result["rejected_grown"], plain["count"] - expected["count"])
    np.testing.assert_array_equal(result["frame_rejected_low"], plain["frame_rejected_low"])


def test_grow_in_bands_with_a_halo():
    frames = night(10, (20, 31))
    options = {"rejection": "sigma_clip", "sigma": 2.2, "grow": 2.0}
    whole = combine_band(frames, **options)
    parts = [
        combine_band(frames[:, :9], halo=(0, 2), **options),
        combine_band(frames[:, 5:], halo=(2, 0), **options),
    ]
    for key in whole:
        joined = (
            parts[0][key] + parts[1][key]
            if key.startswith("frame")
            else np.concatenate([p[key] for p in parts])
        )
        np.testing.assert_array_equal(joined, whole[key])


@pytest.mark.parametrize("rejection", ["percentile", "winsorized", "ccd_noise"])
def test_pixels_do_not_depend_on_their_neighbours(rejection):
    frames = night(20, (5, 61), seed=9)
    whole = combine_band(frames, rejection=rejection, sigma=2.0)
    for row in range(5):
        part = combine_band(frames[:, row : row + 1, 7:], rejection=rejection, sigma=2.0)
        for key in ("combined", "uncertainty", "count"):
            assert part[key].tobytes() == whole[key][row : row + 1, 7:].tobytes()


def test_wrong_use():
    frames = night(5)
    with pytest.raises(RecipeError):
        combine_band(frames, rejection="minmax", nlow=3, nhigh=2)
    with pytest.raises(RecipeError):
        combine_band(frames, method="median", weights=np.ones(5))
    with pytest.raises(RecipeError):
        combine_band(frames, method="std", uncertainty=np.ones(5))
    with pytest.raises(InputError):
        combine_band(frames, weights=-np.ones(5))
    with pytest.raises(InputError):
        combine_band(frames, weights=np.ones(4))
    with pytest.raises(RecipeError):
        combine_band(frames, grow=1.0, halo=(4, 4))
    with pytest.raises(RecipeError):
        combine_band(frames, rejection="ccd_noise", gain=0.0)
