"""Estimators by definition, the analytic box, multipoles, and resampling against the long way."""

import numpy as np
import pytest
from numpy.polynomial import Legendre
from pair_reference import brute

from daskpar.analyses.pair_counts import resampling, statistics
from daskpar.analyses.pair_counts.patches import assign_patches, patch_centres


def test_estimators_by_hand():
    dd, dr, rr = np.array([4.0, 1.0]), np.array([1.5, 1.0]), np.array([1.0, 0.0])
    np.testing.assert_allclose(statistics.estimate("natural", dd, rr=rr), [3.0, np.nan])
    np.testing.assert_allclose(statistics.estimate("davis_peebles", dd, dr=dr), [4 / 1.5 - 1, 0.0])
    np.testing.assert_allclose(statistics.estimate("landy_szalay", dd, dr=dr, rr=rr), [2.0, np.nan])
    np.testing.assert_allclose(statistics.estimate("hamilton", dd, dr=dr, rr=rr), [4 / 2.25 - 1, -1.0])


@pytest.mark.parametrize("estimator", statistics.ESTIMATORS)
def test_no_clustering_is_zero(estimator):
    one = np.full(3, 0.25)
    np.testing.assert_array_equal(statistics.estimate(estimator, one, rr=one, dr=one), np.zeros(3))


def test_missing_counts_and_unknown_estimators():
    with pytest.raises(ValueError, match="needs dr and rr"):
        statistics.estimate("landy_szalay", np.ones(2))
    with pytest.raises(ValueError, match="none of natural"):
        statistics.estimate("landy", np.ones(2))


@pytest.mark.parametrize(
    ("metric", "second"),
    [
        ("r", None),
        ("rp_pi", [0, 1.5, 3.0]),
        ("rp_pi", [-2, 0, 1.0]),
        ("s_mu", [0, 0.4, 1]),
        ("s_mu", [-1, 0.2, 1]),
    ],
)
def test_random_pairs_in_a_box_are_those_of_uniform_points(metric, second):
    box = (8.0, 8.0, 9.0)
    one = np.random.default_rng(1).uniform(0, box, (1400, 3))
    edges = np.array([0.5, 1.5, 2.5, 3.5])
    pairs = brute(one, None, metric, edges, second, boxsize=box)[0]
    expected = statistics.random_pairs_in_box(
        metric, edges, box, None if second is None else np.array(second, float)
    )
    assert expected.shape == pairs.shape
    mean = expected * len(one) * (len(one) - 1)
    # Unordered pairs of uniform points are independent in pairs: Poisson to good accuracy.
    pull = (pairs - mean) / np.sqrt(2 * mean)
    assert np.abs(pull).max() < 4.5


def test_no_analytic_pairs_without_a_box():
    with pytest.raises(ValueError, match="periodic box"):
        statistics.random_pairs_in_box("r", np.array([0, 1.0]), (5.0, 5.0, 0.0))


def test_projection_counts_both_signs():
    xi = np.array([[1.0, 2.0], [0.0, 1.0]])
    np.testing.assert_array_equal(statistics.projected(xi, np.array([0, 1.0, 3.0])), [10.0, 4.0])
    both = np.concatenate([xi[:, ::-1], xi], axis=1)
    np.testing.assert_array_equal(statistics.projected(both, np.array([-3, -1.0, 0, 1, 3.0])), [10.0, 4.0])


@pytest.mark.parametrize("low", [0.0, -1.0])
def test_multipoles_of_known_multipoles(low):
    edges = np.linspace(low, 1, 401)
    centre = (edges[1:] + edges[:-1]) / 2
    xi = 2 * Legendre.basis(0)(centre) - 0.5 * Legendre.basis(2)(centre) + 0.1 * Legendre.basis(4)(centre)
    np.testing.assert_allclose(statistics.multipoles(xi[None], edges), [[2.0, -0.5, 0.1]], atol=2e-4)


def test_isotropic_has_no_other_multipoles():
    poles = statistics.multipoles(np.full((2, 5), 3.0), np.linspace(0, 1, 6))
    np.testing.assert_allclose(poles, [[3.0, 0, 0]] * 2, atol=1e-14)
    with pytest.raises(ValueError, match="odd"):
        statistics.multipoles(np.ones((1, 2)), np.array([0, 0.5, 1]), (1,))
    with pytest.raises(ValueError, match="from 0 to 1"):
        statistics.multipoles(np.ones((1, 2)), np.array([0, 0.5, 0.9]))


@pytest.fixture
def patched():
    """Points in patches, and their ordered pairs between patches."""
    rng = np.random.default_rng(2)
    one, patch, weights = rng.uniform(0, 6, (160, 3)), rng.integers(0, 5, 160), rng.uniform(0.5, 2, 160)
    edges = np.array([0.2, 1.0, 2.0])
    rows, values = [], []
    for a in range(5):
        for b in range(5):
            i, j = patch == a, patch == b
            pair = (weights[i], weights[j])
            rows.append((a, b))
            values.append(brute(one[i], None if a == b else one[j], "r", edges, weights=pair)[1])
    return one, patch, weights, edges, np.array(rows), np.array(values)


def test_jackknife_is_counting_without_the_patch(patched):
    one, patch, weights, edges, rows, values = patched
    left = resampling.jackknife(rows, values, 5)
    norm = resampling.jackknife(*resampling.all_pairs(resampling.patch_weights(patch, weights, 5)), 5)
    for k in range(5):
        keep = patch != k
        expected = brute(one[keep], None, "r", edges, weights=(weights[keep],) * 2)[1]
        np.testing.assert_allclose(left[k], expected, rtol=1e-12)
        np.testing.assert_allclose(norm[k], statistics.auto_pairs(weights[keep]), rtol=1e-12)


def test_bootstrap_is_the_weighted_sum_over_patches(patched):
    *_, rows, values = patched
    times = resampling.draw(5, 7, seed=3)
    assert (times.sum(axis=1) == 5).all()
    drawn = resampling.bootstrap(rows, values, times)
    expected = np.zeros_like(drawn)
    for (a, b), value in zip(rows, values, strict=True):
        expected += np.where(a == b, times[:, a], times[:, a] * times[:, b])[:, None] * value
    np.testing.assert_allclose(drawn, expected, rtol=1e-12)
    once = resampling.bootstrap(rows, values, np.ones((1, 5), int))[0]
    np.testing.assert_allclose(once, resampling.total(values), rtol=1e-12)
    np.testing.assert_array_equal(times[:3], resampling.draw(5, 3, seed=3))


def test_cross_normalisation(patched):
    _, patch, weights, *_ = patched
    sums = resampling.patch_weights(patch, weights, 5)
    rows, pairs = resampling.all_pairs(sums, sums)
    np.testing.assert_allclose(resampling.total(pairs), statistics.cross_pairs(weights, weights), rtol=1e-12)
    assert rows.shape == (25, 2)


def test_covariances_of_known_samples():
    values = np.random.default_rng(4).normal(size=(30, 3))
    np.testing.assert_allclose(resampling.bootstrap_covariance(values), np.cov(values.T), rtol=1e-12)
    # Leave-one-out means: the jackknife is then the covariance of the mean.
    left_out = (values.sum(axis=0) - values) / 29
    np.testing.assert_allclose(resampling.jackknife_covariance(left_out), np.cov(values.T) / 30, rtol=1e-12)


def test_matched_weight_and_its_limits():
    assert resampling.matched_cross_weight(1) == 0.5
    assert abs(resampling.matched_cross_weight(10**6) - 2**-0.5) < 1e-5


def test_coarser_bins_without_a_recount():
    counts = np.arange(12).reshape(2, 6)
    np.testing.assert_array_equal(resampling.rebinned(counts, np.array([0, 2, 5]), 1), [[1, 9], [13, 27]])


def test_patches_are_even_and_the_same_again():
    v = np.random.default_rng(5).normal(size=(4000, 3))
    v /= np.linalg.norm(v, axis=1)[:, None]
    centres = patch_centres(v, 12, seed=1)
    np.testing.assert_array_equal(centres, patch_centres(v, 12, seed=1))
    patch = assign_patches(v, centres)
    distance = ((v[:, None, :] - centres) ** 2).sum(axis=2)
    np.testing.assert_array_equal(patch, distance.argmin(axis=1))
    sizes = np.bincount(patch, minlength=12)
    assert sizes.min() > 0.5 * sizes.mean()
    assert sizes.max() < 1.6 * sizes.mean()
    with pytest.raises(ValueError, match="cannot be divided"):
        patch_centres(np.zeros((5, 3)), 3)
