"""Five real exposures of M 13: rejected is what astropy rejects, but for values at a bound."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip

from daskpar.analyses.image_stats import ANALYSIS, ImageStatsOptions, open_images
from daskpar.analysis import Where

FOLDER = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared/data"))
FILES = sorted(FOLDER.glob("M13_blue_000?.fits"))
REJECTED = 792_739


def at_a_bound(values, bounds):
    """Whether each value lies within 32 ulp of a bound of its pixel."""
    return np.any([np.abs(values - bound) <= 32 * np.spacing(np.abs(bound)) for bound in bounds], axis=0)


@pytest.mark.skipif(len(FILES) != 5, reason="the frames of M 13 are not here")
def test_m13_at_two_sigma(tmp_path, capsys):
    values = np.stack([fits.getdata(path) for path in FILES]).astype("f8")
    clipped, *bounds = sigma_clip(values, sigma=2, maxiters=5, axis=0, return_bounds=True)
    near = at_a_bound(values, bounds)
    where = Where(FOLDER, lambda files: [str(FOLDER / files)], tmp_path)
    record = open_images({"files": "M13_blue_000?.fits"}, where)
    options = ImageStatsOptions(combine={"sigma": 2, "maxiters": 5}, frame_stats=None)
    found = ANALYSIS.build(record, options).compute(scheduler="threads")
    by_astropy = [side.sum(axis=0) for side in (values < bounds[0], values > bounds[1])]
    ours = [found.rejected_low.values, found.rejected_high.values]
    apart = np.any([mine != theirs for mine, theirs in zip(ours, by_astropy, strict=True)], axis=0)
    with capsys.disabled():
        print(
            f"\nM 13, sigma 2: {sum(ours).sum()} values rejected, by astropy {clipped.mask.sum()}; "
            f"{near.sum()} values lie within 32 ulp of a bound, {apart.sum()} pixels differ"
        )
    assert not (apart & ~near.any(axis=0)).any()
    assert sum(ours).sum() == REJECTED
    exact = clipped.mean(axis=0).filled(np.nan)[~apart].astype("f4")
    image = found.combined.values[~apart]
    assert image.dtype == np.float32
    assert (np.abs(image - exact) <= np.spacing(np.abs(exact))).all()
    assert found.frame_rejected_low.sum() + found.frame_rejected_high.sum() == REJECTED
