"""Five real exposures of M 13: rejected is what astropy rejects, but for values at a bound."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip

import daskpar

FOLDER = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
FILES = sorted(FOLDER.glob("M13_blue_000?.fits"))


def bounds(values, sigma=2.0, maxiters=5):
    """The bounds of the last round of `astropy.stats.sigma_clip`, in float64, of each pixel."""
    kept = values.astype("f8")
    for _ in range(maxiters):
        center, width = np.nanmedian(kept, axis=0), sigma * np.nanstd(kept, axis=0)
        now = np.where((values < center - width) | (values > center + width), np.nan, kept)
        if np.array_equal(now, kept, equal_nan=True):
            break
        kept = now
    return center - width, center + width


@pytest.mark.skipif(len(FILES) != 5, reason="the frames of M 13 are not here")
def test_m13_at_two_sigma(capsys):
    values = np.stack([fits.getdata(path) for path in FILES])
    mask = sigma_clip(values.astype("f8"), sigma=2, maxiters=5, axis=0).mask
    low, high = bounds(values)
    at = [np.abs(values - bound) <= 32 * np.spacing(np.abs(bound)) for bound in (low, high)]
    near = (at[0] | at[1]).any(axis=0)
    found = daskpar.combine(daskpar.open_stack(FILES), sigma=2.0).compute(scheduler="threads")
    rejected = np.asarray(found.rejected_low + found.rejected_high)
    np.testing.assert_array_equal(rejected[~near], mask.sum(axis=0)[~near])
    with capsys.disabled():
        print(
            f"\nM 13, sigma 2: {rejected.sum()} rejected, by astropy {mask.sum()}; "
            f"pixels with a value within 32 ulp of a bound: {near.sum()}, "
            f"of which {(rejected != mask.sum(axis=0)).sum()} differ"
        )
    mean = np.ma.masked_array(values.astype("f8"), mask).mean(axis=0).filled(np.nan)[~near]
    image = np.asarray(found.combined)[~near]
    exact = mean.astype("f4")
    assert image.dtype == np.float32
    assert (np.abs(image - exact) <= np.spacing(np.abs(exact))).all()
    assert int(found.frame_rejected_low.sum() + found.frame_rejected_high.sum()) == rejected.sum()
