"""Exact quantiles: the streams are drawn again, and what comes equals sorting all values."""

import dask
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import daskpar
from daskpar.analyses.monte_carlo import exact_quantiles
from daskpar.analyses.monte_carlo.kernel import selection
from daskpar.analyses.monte_carlo.kernel.streams import generator

FRACTIONS = (0.0, 0.001, 0.025, 0.5, 0.84, 0.999, 1.0)
TRIALS = {
    "normal": lambda rng, n: rng.normal(1000.0, 1.0, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "lognormal": lambda rng, n: rng.lognormal(0.0, 2.0, n),
    "constant": lambda rng, n: np.full(n, 3.7),
    "integers": lambda rng, n: rng.poisson(3.0, n),
    "columns": lambda rng, n: rng.normal(size=(n, 3)) * [1.0, 1e-8, -1e8],
}


def drawn(trial, n, size):
    parts = [trial(generator(1, b), min(size, n - size * b)) for b in range(-(-n // size))]
    return np.concatenate(parts).astype(float)


@pytest.mark.parametrize("most", [exact_quantiles.MOST, 50], ids=["at once", "narrowed"])
@pytest.mark.parametrize("name", TRIALS)
def test_exact_quantiles_equal_numpys(name, most, monkeypatch):
    monkeypatch.setattr(exact_quantiles, "MOST", most)
    n, size, trial = 20_013, 1000, TRIALS[name]
    with dask.config.set(scheduler="synchronous"):
        found = daskpar.simulate(trial, n, 1, size, quantiles=FRACTIONS, exact_quantiles=True)
    x = drawn(trial, n, size)
    np.testing.assert_array_equal(found["quantile"], np.quantile(x, FRACTIONS, axis=0))
    assert not found["quantile_bin_width"].values.any()
    assert "warning" not in found.attrs
    ordered = np.sort(x.reshape(n, -1), axis=0)
    _, low, high = selection.wanted_ranks(n, np.array(FRACTIONS), 1.95996398454)
    np.testing.assert_array_equal(found["quantile_low"].values.reshape(low.size, -1), ordered[low])
    np.testing.assert_array_equal(found["quantile_high"].values.reshape(low.size, -1), ordered[high])


def test_exact_quantiles_after_a_target_and_for_any_blocks():
    with dask.config.set(scheduler="synchronous"):
        arguments = {"n_samples": 10**6, "seed": 1, "batch_size": 500, "target_error": 0.005}
        found = [
            daskpar.simulate(TRIALS["normal"], **arguments, exact_quantiles=True, block_batches=b)
            for b in (1, 8)
        ]
    assert found[0].attrs["stopped_by"] == "target_error"
    n = int(found[0]["n_samples"])
    expected = np.quantile(drawn(TRIALS["normal"], n, 500), found[0]["q"])
    for one in found:
        np.testing.assert_array_equal(one["quantile"], expected)


floats = st.floats(-1e308, 1e308)


@given(st.lists(floats, min_size=1, max_size=60), st.integers(1, 5))
@example([1e308, -7.976931348623158e307], 1)  # farther apart than the largest number
@settings(max_examples=200)
def test_narrowing_any_values_ends_at_the_wanted_ranks(values, parts):
    x = np.array(values)[None, :] + 0.0
    n, ranks = x.size, np.unique(np.array([0, x.size // 3, x.size - 1]))
    found = {
        "column": np.zeros(1, np.int64), "low": x.min(axis=1), "high": np.nextafter(x.max(axis=1), np.inf),
        "below": np.zeros(1, np.int64), "count": np.array([n]), "atom": np.zeros(1, bool),
    }  # fmt: skip
    for _ in range(4):
        found = selection.narrowed(found, selection.count_finer(x, found, parts), ranks)
    picked = selection.together([selection.pick(part, found) for part in np.array_split(x, 2, axis=1)])
    np.testing.assert_array_equal(selection.at_ranks(found, picked, 0, ranks), np.sort(x[0])[ranks])
