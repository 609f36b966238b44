"""`simulate` and the analysis: the same bits however it is run, stopping, extension, and what goes wrong."""

import dask
import numpy as np
import pytest

import daskpar
from daskpar.analyses.monte_carlo import tasks
from daskpar.analyses.monte_carlo.batches import Sampling
from daskpar.analyses.monte_carlo.planning import plan_of
from daskpar.errors import AnalysisError, RecipeError


def three(rng, n):
    return rng.normal(size=(n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]])


def content(dataset):
    return {str(name): dataset[name].values.tobytes() for name in dataset.data_vars}


@pytest.mark.parametrize("trial", ["pi", three])
def test_the_same_bits_for_schedulers_and_blocks(trial):
    arguments = {"n_samples": 77 * 500 + 13, "seed": 3, "batch_size": 500}
    found = []
    for scheduler, block in (("synchronous", None), ("threads", 1), ("threads", 8), ("synchronous", 2)):
        with dask.config.set(scheduler=scheduler):
            found.append(content(daskpar.simulate(trial, **arguments, block_batches=block).compute()))
    assert all(one == found[0] for one in found)


def test_simulate_is_lazy_and_right():
    calls = []

    def trial(rng, n):
        calls.append(n)
        return rng.normal(5.0, 2.0, n)

    lazy = daskpar.simulate(trial, 50_000, seed=1, batch_size=1000)
    assert calls == [8]
    found = lazy.compute(scheduler="synchronous")
    assert sum(calls[1:]) == 50_000  # every batch once, also that which set the bins
    assert abs(float(found["mean"]) - 5.0) < 5 * float(found["standard_error"])
    assert float(found["standard_error"]) == pytest.approx(2.0 / np.sqrt(50_000), rel=0.03)
    x = np.concatenate([trial(daskpar_stream(1, b), 1000) for b in range(50)])
    np.testing.assert_allclose(found["quantile"], np.quantile(x, found["q"]), atol=2e-3)
    assert float(found["std"]) == pytest.approx(x.std(ddof=1), rel=1e-12)


def daskpar_stream(seed, batch):
    return np.random.Generator(np.random.PCG64DXSM(np.random.SeedSequence(seed, spawn_key=(batch,))))


def test_a_target_stops_at_a_round_and_equals_a_run_of_that_size():
    with dask.config.set(scheduler="synchronous"):
        found = daskpar.simulate("pi", 10**7, seed=2, batch_size=1000, target_error=0.007)
        n = int(found["n_samples"])
        assert n in {32_000 * 2**i for i in range(9)}
        assert float(found["standard_error"]) <= 0.007
        assert found.attrs["stopped_by"] == "target_error"
        assert content(daskpar.simulate("pi", n, seed=2, batch_size=1000).compute()) == content(found)
        timed = daskpar.simulate("pi", 10**7, seed=2, batch_size=1000, max_time=1e-9)
        assert (int(timed["n_samples"]), timed.attrs["stopped_by"]) == (32_000, "max_time")


def test_a_longer_run_keeps_the_keys_of_the_blocks():
    def keys(n):
        from daskpar.analyses.monte_carlo.with_dask import stages

        plan = plan_of(three, n, 1, 100, block_batches=4)
        graph = next(stages(plan)).collection.__dask_graph__()
        return {key for key in graph if str(key).startswith("durable-batches")}

    assert len(keys(12_800) - keys(25_600)) == 0
    assert len(keys(12_850) - keys(25_600)) == 1  # the short last batch


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"n_samples": 0}, "n_samples"), ({"n_samples": 2.5}, "n_samples"), ({"seed": -1}, "seed"),
        ({"seed": 0.5}, "seed"), ({"batch_size": 0}, "batch_size"), ({"target_error": -1.0}, "target_error"),
        ({"confidence": 1.0}, "confidence"), ({"quantiles": [2.0]}, "quantile"),
        ({"block_batches": 3}, "power of two"),
        ({"trial": 7}, "trial"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(change, word):
    with pytest.raises(RecipeError, match=word):
        daskpar.simulate(**{"trial": three, "n_samples": 100, "seed": 1, **change})


@pytest.mark.parametrize(
    ("trial", "what"),
    [
        (lambda rng, n: 1 / 0, "raised ZeroDivisionError"),
        (lambda rng, n: np.full(n, np.nan), "not finite, the first nan at sample 0"),
        (lambda rng, n: np.zeros(n + 1), r"shape \(101,\) instead of \(100,\)"),
        (lambda rng, n: np.zeros(n) * 1j, "complex128"),
        (lambda rng, n: ["a"] * n, "real numbers"),
    ],
)
def test_a_bad_trial_is_named_with_its_stream(trial, what):
    sampling = Sampling(trial, 9, 100, 1000)
    with pytest.raises(AnalysisError, match=what) as caught:
        tasks.node_of_run(sampling, 4, 2, 1, None)
    assert "batch 4" in str(caught.value)
    assert "SeedSequence(9, spawn_key=(4,))" in str(caught.value)


def test_control_variates_through_simulate():
    def trial(rng, n):
        u = rng.random(n)
        return np.stack([u**2, u], axis=1)

    found = daskpar.simulate(trial, 20_000, seed=1, batch_size=1000, controls=[0.5]).compute(
        scheduler="synchronous"
    )
    assert abs(float(found["estimate"]) - 1 / 3) < 5 * float(found["estimate_standard_error"])
    assert float(found["variance_ratio"]) > 10
