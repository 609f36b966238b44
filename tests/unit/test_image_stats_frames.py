"""`frame_stats`: equal to numpy and astropy frame by frame, from files, slices, expressions and arrays."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import median_absolute_deviation, sigma_clip

import daskpar

SHAPE = (7, 40, 31)


@pytest.fixture
def pixels(tmp_path, monkeypatch):
    from daskpar.analyses.image_stats import partition as blocks

    monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", 12_000)
    rng = np.random.default_rng(4)
    values = rng.normal(300, 9, SHAPE).astype("f4")
    values[:, 3:6, 7] += 500
    values[1, 2, 3], values[2, 2, 2:9] = np.inf, np.nan
    for i, frame in enumerate(values):
        fits.writeto(tmp_path / f"f{i}.fits", frame)
    return values


def expected(frame):
    good = frame[np.isfinite(frame)].astype("f8")
    kept = sigma_clip(good, sigma=3, maxiters=5).compressed()
    return {
        "count": good.size, "nan_count": frame.size - good.size, "min": good.min(), "max": good.max(),
        "mean": good.mean(), "std": good.std(), "median": np.median(good),
        "mad": median_absolute_deviation(good), "clipped_mean": kept.mean(),
        "clipped_median": np.median(kept), "clipped_std": kept.std(),
        "percentile": np.percentile(good, [5, 25, 75, 95]),
    }  # fmt: skip


@pytest.mark.parametrize(
    "part",
    [
        lambda s: s,
        lambda s: s[::2, 5:33, 2:30],
        lambda s: s * 1.0,
        lambda s: s.load(),
        lambda s: s.chunk({"y": 7, "x": 9}),
    ],
)
def test_equals_numpy_and_astropy(tmp_path, pixels, part):
    stack = part(daskpar.open_stack(str(tmp_path / "*.fits")))
    values = pixels[::2, 5:33, 2:30] if stack.shape != pixels.shape else pixels
    found = daskpar.frame_stats(stack).compute(scheduler="synchronous")
    for i, frame in enumerate(values):
        for name, value in expected(frame).items():
            np.testing.assert_allclose(found[name][i], value, rtol=1e-12, err_msg=name)
    assert [path.rpartition("/")[2] for path in found.path.values][1] == f"f{1 + (len(values) == 4)}.fits"
    assert list(found.q) == [5, 25, 75, 95]
