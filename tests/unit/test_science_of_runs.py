"""At the end of a run of each shipped analysis, its Science panel shows what the result holds."""

import numpy as np
import pytest

from daskpar.dashboard.science import Science
from daskpar.dashboard.watching import Watcher
from daskpar.result import Result
from daskpar.rundir import find_run

IMAGES = """
name: field
analysis: image_stats
inputs: {synthetic: {n_frames: 8, shape: [96, 128], stars: 40, cosmic_rays: 30, seed: 3}}
options: {combine: {sigma: 2}}
"""
PAIRS = """
name: box
analysis: pair_counts
inputs:
  synthetic: {kind: clustered, n_points: 10000, boxsize: 200, n_clusters: 300, seed: 1}
  randoms: {synthetic: {kind: uniform, n_points: 15000, boxsize: 200, seed: 2}}
options:
  edges: {start: 0.5, stop: 20, bins: 12, log: true}
  boxsize: 200
  estimator: landy_szalay
  n_patches: 8
"""
SAMPLES = """
name: pi
analysis: monte_carlo
options: {trial: {kind: pi}, n_samples: 5000000, seed: 1, block_batches: 4}
"""


@pytest.fixture
def shown(cli, tmp_path, runs):
    """Run a recipe; return its result and its plots."""

    def run(recipe, *more):
        (tmp_path / "recipe.yaml").write_text(recipe)
        done = cli("run", "recipe.yaml", timeout=300)
        assert done.code == 0, done.stderr
        for arguments in more:
            done = cli("resume", "last", *arguments, timeout=300)
            assert done.code == 0, done.stderr
        directory = find_run("last", runs)
        science = Science(Watcher(directory).look_all())
        science.update()
        assert science.message == ""
        return Result(directory).dataset, science.plots

    return run


def test_images(shown):
    dataset, (picture, _, rejected, sky) = shown(IMAGES)
    image = dataset["combined"].values.astype(float)
    factor = image.shape[1] // picture.image.shape[1]
    squares = image.reshape(image.shape[0] // factor, factor, -1, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(picture.image, squares, atol=1e-3 * np.ptp(squares))
    lost = dataset["rejected_low"].values.sum() + dataset["rejected_high"].values.sum()
    used = dataset["count"].values.sum()
    assert np.mean(rejected.y) == pytest.approx(100 * lost / (lost + used), rel=0.05)
    np.testing.assert_allclose(sky.y, dataset["frame_clipped_median"].values, rtol=1e-5)


def test_pairs(shown):
    dataset, (function, *counts) = shown(PAIRS)
    np.testing.assert_allclose(function.y, dataset["xi"].values, rtol=1e-9)
    assert (function.error > 0).all()
    for curve, name in zip(counts, ("dd", "dr", "rr"), strict=True):
        np.testing.assert_array_equal(curve.y, dataset[name].values)


def test_samples_and_more_of_them(shown):
    dataset, (estimate, error) = shown(SAMPLES, ["--set", "options.n_samples=6000000"])
    assert estimate.x[-1] == int(dataset["n_samples"]) == 6_000_000
    assert estimate.y[-1] == pytest.approx(float(dataset["mean"].squeeze()), rel=1e-12)
    assert error.y[-1] == pytest.approx(float(dataset["standard_error"].squeeze()), rel=1e-9)
