"""Moments, their merging along the tree, and the streams: against exact sums and certified values."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskpar.analyses.monte_carlo.kernel import blocks, finish, histogram, pcg, streams, tree, two_values
from daskpar.analyses.monte_carlo.kernel.moments import FOURTH, MEAN, SECOND, THIRD, of_columns
from daskpar.analyses.monte_carlo.trials.pi import Pi


def exact_moments(x):
    """Mean and central sums to the fourth, in rational arithmetic."""
    values = [Fraction(v) for v in x.tolist()]
    mean = sum(values) / len(values)
    return [float(mean), *(float(sum((v - mean) ** p for v in values)) for p in (2, 3, 4))]


@pytest.mark.parametrize("n", [1, 2, 7, 1023, 1024, 1500, 4099])
def test_moments_equal_exact_sums(n):
    x = np.random.default_rng(n).normal(1e6, 1.0, n)
    found = of_columns(x[None, :])[:, 0]
    mean, second, third, fourth = exact_moments(x)
    assert found[MEAN] == pytest.approx(mean, rel=3e-16)
    assert found[SECOND] == pytest.approx(second, rel=1e-13, abs=1e-18)
    assert found[THIRD] == pytest.approx(third, rel=1e-9, abs=1e-12 * max(second, 1e-9))
    assert found[FOURTH] == pytest.approx(fourth, rel=1e-13, abs=1e-18)


def numacc(big, small):
    """NIST StRD NumAcc series of 1001 values: one in the middle, then alternating below and above it."""
    return np.array([float(big)] + [float(small[i % 2]) for i in range(1000)])


# Certified mean and standard deviation: https://www.itl.nist.gov/div898/strd/univ/homepage.html
NIST = {
    "NumAcc1": (np.array([10000001.0, 10000003.0, 10000002.0]), 10000002.0, 1.0, 15),
    "NumAcc2": (numacc("1.2", ("1.1", "1.3")), 1.2, 0.1, 13),
    "NumAcc3": (numacc("1000000.2", ("1000000.1", "1000000.3")), 1000000.2, 0.1, 9),
    "NumAcc4": (numacc("10000000.2", ("10000000.1", "10000000.3")), 10000000.2, 0.1, 8),
}


@pytest.mark.parametrize("name", NIST)
def test_nist_certified_values(name):
    """As many digits of the deviation as the rounding of the data to float64 leaves."""
    x, mean, deviation, digits = NIST[name]
    node = tree.merge([tree.partial(part[None, :].copy()) for part in np.array_split(x, min(8, x.size))])
    found = finish.finish(node)
    assert found.mean[0] == pytest.approx(mean, rel=2e-16)
    assert found.std[0] == pytest.approx(deviation, rel=10.0**-digits)


def batches(n_batches, size=37, k=2):
    rng = np.random.default_rng(5)
    return [rng.lognormal(size=(k, size if b < n_batches - 1 else 11)) for b in range(n_batches)]


def content(node):
    return {name: np.asarray(value).tobytes() for name, value in node.items()}


@given(st.integers(1, 70), st.floats(1e-4, 1.0))
@settings(max_examples=40)
def test_grouping_into_blocks_changes_no_bit(n_batches, seconds):
    leaves = [tree.partial(columns) for columns in batches(n_batches)]
    whole = tree.merge(leaves)
    runs = blocks.blocks(n_batches, seconds)
    grouped = [tree.merge(leaves[run.first : run.first + run.count]) for run in runs]
    assert content(tree.merge(grouped)) == content(whole)


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(1e-5, 2.0))
@settings(max_examples=60)
def test_blocks_are_aligned_and_stay_when_a_run_grows(short, more, seconds):
    found = blocks.blocks(short, seconds)
    assert [run.first for run in found] == np.cumsum([0] + [run.count for run in found[:-1]]).tolist()
    assert sum(run.count for run in found) == short
    assert all(run.count & (run.count - 1) == 0 and run.first % run.count == 0 for run in found)
    longer = blocks.blocks(short + more, seconds)
    tail = sum(run not in longer for run in found)
    largest = max(run.count for run in longer)
    assert tail <= largest.bit_length()


def test_merged_moments_and_covariance_equal_numpy_and_fsum():
    parts = batches(29, k=3)
    together = np.concatenate(parts, axis=1)
    found = finish.finish(tree.merge(map(tree.partial, parts)))
    for i, x in enumerate(together):
        assert found.mean[i] == pytest.approx(math.fsum(x) / x.size, rel=4e-16)
        deviations = x - math.fsum(x) / x.size
        third, fourth = math.fsum(deviations**3) / x.size, math.fsum(deviations**4) / x.size
        variance = math.fsum(deviations**2) / x.size
        assert found.skewness[i] == pytest.approx(third / variance**1.5, rel=1e-12)
        assert found.kurtosis[i] == pytest.approx(fourth / variance**2 - 3, rel=1e-12)
        assert (found.minimum[i], found.maximum[i]) == (x.min(), x.max())
    np.testing.assert_allclose(found.covariance, np.cov(together), rtol=1e-12)


@pytest.mark.parametrize("hits", [[700], [0, 250, 800], [1, 2, 3, 4, 5, 6, 70]])
def test_two_values_equal_the_general_partials_merged(hits):
    sizes = [1000] * (len(hits) - 1) + [800]
    samples = [np.repeat([0.0, 4.0], [n - k, k])[None, :] for k, n in zip(hits, sizes, strict=True)]
    bins = histogram.make_bins(samples[0])
    general = tree.merge(tree.partial(sample, bins) for sample in samples)
    counted = two_values.node_of_hits(np.array(hits), np.array(sizes), (0.0, 4.0), bins)
    assert general.keys() == counted.keys()
    for name, value in counted.items():
        np.testing.assert_allclose(value, general[name], rtol=1e-13, atol=1e-9, err_msg=name)


def test_the_stream_in_compiled_code_is_numpys():
    rng = streams.generator(12, 3)
    high, low, *step = pcg.words_at(rng)
    for number in rng.random(1000):
        found, *state = pcg.next_double(high, low, *step)
        high, low = map(np.uint64, state)
        assert found == number
    with pytest.raises(ValueError, match="PCG64DXSM"):
        pcg.words_at(np.random.default_rng(1))


@pytest.mark.parametrize("n", [1, 15, 16, 31, 1000, 65_536 + 5])
def test_points_in_the_circle_are_those_of_numpys_stream(n):
    trial = Pi()
    assert trial.hits(streams.generator(4, n), n) == np.count_nonzero(trial(streams.generator(4, n), n))


def test_values_that_are_not_finite_are_refused():
    x = np.zeros((2, 50))
    x[1, 7] = np.nan
    with pytest.raises(ValueError, match="1 of 100 values are not finite, the first nan at sample 7"):
        tree.partial(x)
    with pytest.raises(ValueError, match="too large"):
        tree.partial(np.full((1, 2000), 1e308))
