"""Histograms with stored edges, and quantiles from them: against sorting."""

import numpy as np
import pytest
from scipy import stats

from daskpar.analyses.monte_carlo.kernel import arithmetic, finish, histogram, quantiles, tree

RNG = np.random.default_rng(11)
N = 20_000
SAMPLES = {
    "normal": RNG.normal(1000.0, 1.0, N),
    "cauchy": RNG.standard_cauchy(N),
    "lognormal": RNG.lognormal(0.0, 2.0, N),
    "constant": np.full(N, 3.7),
    "integers": RNG.poisson(3.0, N).astype(float),
    "rare": (RNG.random(N) < 1e-3).astype(float),
    "far": 1e9 + 1e-5 * RNG.normal(size=N),
    "tiny": 1e-300 * RNG.normal(size=N),
    "huge": 1e300 * RNG.normal(size=N),
    "one": np.array([2.5]),
}
FRACTIONS = np.array([0.0, 0.001, 0.025, 0.16, 0.5, 0.84, 0.975, 0.999, 1.0])


@pytest.mark.parametrize("name", SAMPLES)
def test_counts_equal_comparison_with_the_edges(name):
    x = SAMPLES[name]
    bins = histogram.make_bins(x[None, :500].copy())
    edges = bins["edges"][0]
    assert np.all(np.diff(edges) > 0)
    near = np.concatenate([edges[1:-1:97], np.nextafter(edges[1:-1:97], -np.inf)])
    values = np.concatenate([x, near, [-1.7e308, 1.7e308, 0.0]])
    counts = np.zeros((1, edges.size - 1), np.int64)
    histogram.count_into(values[None, :], bins["edges"], bins["guess"], counts)
    place = np.searchsorted(edges, values, side="right") - 1
    assert np.array_equal(counts[0], np.bincount(place, minlength=edges.size - 1))


def found_in(x):
    node = tree.partial(x[None, :].copy(), bins := histogram.make_bins(x[None, : max(N // 4, 1)].copy()))
    one = finish.finish(node)
    return quantiles.from_histogram(
        node["histogram"], bins, one.minimum, one.maximum, FRACTIONS, 1.959963984540054
    )


@pytest.mark.parametrize("name", SAMPLES)
def test_quantiles_lie_within_a_bin_of_the_sorted_values(name):
    x = SAMPLES[name]
    found = found_in(x)
    low, high = np.quantile(x, FRACTIONS, method="lower"), np.quantile(x, FRACTIONS, method="higher")
    width = found.bin_width[:, 0] + 4e-16 * np.abs(x).max()
    assert np.all((found.value[:, 0] >= low - width) & (found.value[:, 0] <= high + width))
    assert np.all(found.low <= found.value)
    assert np.all(found.value <= found.high)


def test_discrete_values_are_given_exactly():
    assert np.all(found_in(SAMPLES["constant"]).value == 3.7)
    found = found_in(SAMPLES["integers"])
    assert np.array_equal(
        found.value[1:-1, 0], np.quantile(SAMPLES["integers"], FRACTIONS[1:-1], method="inverted_cdf")
    )


def test_intervals_cover_the_true_quantile():
    """The 95 % interval of the median and of the 84 % quantile, over 400 repeats: binomial limits at 1e-6."""
    truth, hits = stats.norm.ppf([0.5, 0.84]), np.zeros(2)
    bins = histogram.make_bins(RNG.normal(size=(1, 5000)))
    for _ in range(400):
        x = RNG.normal(size=(1, 1000))
        node = tree.partial(x, bins)
        found = quantiles.from_histogram(
            node["histogram"], bins, x.min(axis=1), x.max(axis=1), np.array([0.5, 0.84]), 1.959963984540054
        )
        hits += (found.low[:, 0] <= truth) & (truth <= found.high[:, 0])
    low, high = stats.binom.ppf([1e-6, 1 - 1e-6], 400, 0.95)
    assert np.all((hits >= low) & (hits <= high))


def test_arithmetic_functions_equal_the_library_to_a_few_ulp():
    t = np.linspace(-40.0, 40.0, 4001)
    np.testing.assert_allclose(arithmetic.exp(t), np.exp(t), rtol=1e-15)
    np.testing.assert_allclose(arithmetic.sinh(t), np.sinh(t), rtol=1e-14, atol=2e-16)
    for z in (-1e17, -3.0, 0.0, 1e-3, 0.5, 1.0, 1e9):
        assert arithmetic.asinh(z) == pytest.approx(np.arcsinh(z), rel=1e-12)
    sine, cosine = arithmetic.sine_cosine(np.linspace(-3.0, 3.0, 1001))
    angle = 2 * np.pi * np.linspace(-3.0, 3.0, 1001)
    np.testing.assert_allclose(sine, np.sin(angle), atol=4e-15)
    np.testing.assert_allclose(cosine, np.cos(angle), atol=4e-15)
