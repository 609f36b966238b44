"""Stopping, variance reduction, resampling, periodograms, masks, formulas: by distribution, against peers."""

import numpy as np
import pytest
from scipy import stats

from daskpar.analyses.monte_carlo.expression import Expression
from daskpar.analyses.monte_carlo.kernel import (
    estimators,
    finish,
    pcg,
    periodogram,
    points,
    resampling,
    sphere,
    stopping,
    streams,
    tree,
)  # fmt: skip
from daskpar.analyses.monte_carlo.table_columns import Columns
from daskpar.analyses.monte_carlo.trials.false_alarm import FalseAlarm
from daskpar.analyses.monte_carlo.trials.integral import Integral
from daskpar.analyses.monte_carlo.trials.pi import Pi
from daskpar.analyses.monte_carlo.trials.propagation import Measured, Propagation
from daskpar.analyses.monte_carlo.trials.resampled import Bootstrap, Permutation
from daskpar.analyses.monte_carlo.trials.survey import (
    Box,
    Circle,
    SurveyMask,
    longitude_latitude,
    random_catalog,
)
from daskpar.errors import RecipeError


def covered(draw, truth, target, relative, rng, repeats=25, batch=4, most=2**9):
    """In how many of some repeats, side by side as columns, the 95 % interval holds the truth at the end."""
    nodes, made, going, hits = [], 0, np.ones(repeats, bool), 0
    for end in stopping.round_ends(most):
        nodes = [
            tree.merge([*nodes, *(tree.partial(draw(rng, (repeats, batch))) for _ in range(end - made))])
        ]
        made = end
        found = finish.finish(nodes[0])
        inside = (found.low <= truth) & (truth <= found.high)
        for i in np.flatnonzero(going):
            one = [part[i : i + 1] for part in (found.mean, found.standard_error, found.variance_error)]
            if end == most or stopping.precise_enough(*one, target, relative):
                going[i] = False
                hits += bool(inside[i])
    return hits


@pytest.mark.parametrize(
    ("draw", "truth", "target", "relative"),
    [
        (lambda rng, s: rng.normal(1.0, 1.0, s), 1.0, 0.06, True),
        (lambda rng, s: rng.exponential(size=s), 1.0, 0.05, False),
        (lambda rng, s: 4.0 * (rng.random(s) < np.pi / 4), np.pi, 0.07, False),
    ],
    ids=["normal", "exponential", "pi"],
)
def test_coverage_under_stopping(draw, truth, target, relative):
    rng = np.random.default_rng(77)
    hits = sum(covered(draw, truth, target, relative, rng) for _ in range(40))
    assert 930 <= hits <= 970


def test_a_value_never_varying_never_stops_a_run():
    found = finish.finish(tree.merge([tree.partial(np.ones((1, 64))) for _ in range(64)]))
    assert not stopping.precise_enough(found.mean, found.standard_error, found.variance_error, 1.0)
    assert list(stopping.round_ends(200)) == [32, 64, 128, 200]


@pytest.mark.parametrize("method", points.METHODS)
def test_points_are_uniform(method):
    drawn = points.points(streams.generator(5, 0), 4096, 2, method)
    assert drawn.shape == (4096, 2)
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    # Every coordinate is uniform; methods that spread points evenly pass even better.
    assert all(stats.kstest(drawn[:, i], "uniform").pvalue > 1e-4 for i in range(2))


@pytest.mark.parametrize("method", points.METHODS[1:])
def test_variance_reduction_is_right_and_worth_it(method):
    def error(kind):
        trial = Integral("x * y + x", (("x", 0.0, 1.0), ("y", 0.0, 2.0)), kind)
        nodes = [
            tree.partial(np.asarray(trial(streams.generator(1, b), 256), float)[None, :].copy())
            for b in range(64)
        ]
        return finish.finish(tree.merge(nodes), independent=False)

    plain, better = error("plain"), error(method)
    assert abs(better.mean[0] - 2.0) < 5 * better.standard_error[0]
    assert better.standard_error[0] < 0.6 * plain.standard_error[0]


def test_batch_sizes_that_a_method_cannot_use_are_named():
    assert "power of two" in points.fault(100, 2, "sobol")
    assert "even" in points.fault(101, 2, "antithetic")
    assert "such as 81" in points.fault(99, 2, "stratified")
    assert points.fault(100, 2, "stratified") == ""


def test_control_variates_equal_least_squares():
    rng = np.random.default_rng(3)
    controls = rng.normal(size=(2, 5000))
    y = 3.0 + controls[0] - 0.5 * controls[1] + 0.1 * rng.normal(size=5000)
    columns = np.stack([y, *controls])
    found = estimators.control_variate(columns.mean(axis=1), np.cov(columns), 5000, np.zeros(2))
    design = np.stack([np.ones(5000), *controls], axis=1)
    fit, rest = np.linalg.lstsq(design, y, rcond=None)[:2]
    assert found.value == pytest.approx(fit[0], rel=1e-12)
    assert found.standard_error == pytest.approx(np.sqrt(rest[0] / (5000 - 3) / 5000), rel=1e-9)
    assert found.gain > 50


def test_importance_sampling_covers_and_knows_its_sample_size():
    rng, hits = np.random.default_rng(8), 0
    for _ in range(300):
        x = rng.normal(0.5, 1.5, 1000)
        weight = 7.0 * stats.norm.pdf(x) / stats.norm.pdf(x, 0.5, 1.5)
        columns = np.stack([weight * x**2, weight])
        found = estimators.importance(columns.mean(axis=1), np.cov(columns), 1000, normalised=False)
        hits += abs(found.value - 1.0) < 1.96 * found.standard_error
        assert found.gain * 1000 == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-9)
    assert 265 <= hits <= 299


def test_bootstrap_agrees_with_scipy():
    x = np.random.default_rng(2).gamma(2.0, size=60)
    trial = Bootstrap(Columns.of(x), "mean")
    drawn = trial.bind(trial.prepare())(streams.generator(9, 0), 20_000)
    peer = stats.bootstrap((x,), np.mean, n_resamples=20_000, rng=1).bootstrap_distribution
    assert stats.ks_2samp(drawn, peer).pvalue > 1e-4
    for name in resampling.STATISTICS:
        data = np.random.default_rng(1).normal(size=(25, 2))
        assert np.isfinite(resampling.bootstrap(pcg.words_at(streams.generator(1, 1)), data, name, 50)).all()


@pytest.mark.parametrize("statistic", ["difference_of_means", "correlation"])
def test_permutation_p_values_agree_with_scipy(statistic):
    rng = np.random.default_rng(4)
    x = rng.normal(size=20)
    y = 0.4 * x + rng.normal(size=20) + (0.4 if statistic == "difference_of_means" else 0.0)
    trial = Permutation(Columns.of(x, y), statistic)
    drawn = trial.bind(trial.prepare())(streams.generator(9, 0), 20_000)
    if statistic == "correlation":
        peer = stats.permutation_test((y,), lambda v: stats.pearsonr(x, v).statistic,
                                      permutation_type="pairings",
                                      n_resamples=4000, rng=1)  # fmt: skip
    else:
        peer = stats.permutation_test((x, y), lambda a, b, axis: a.mean(axis) - b.mean(axis), vectorized=True,
                                      n_resamples=20_000, rng=1)  # fmt: skip
    assert drawn[:, 1].mean() == pytest.approx(peer.pvalue, abs=0.03)


def test_power_equals_astropys_and_noise_is_beta_distributed():
    from astropy.timeseries import LombScargle

    rng = np.random.default_rng(6)
    times, errors = np.sort(rng.uniform(0, 50, 40)), rng.uniform(0.5, 1.5, 40)
    values = np.sin(times) + errors * rng.normal(size=40)
    grid = np.linspace(0.05, 1.0, 60)
    table = periodogram.basis(times, errors, grid)
    ours = periodogram.powers(table, (values - values.mean()) / errors)
    theirs = LombScargle(times, values, errors).power(grid, method="cython", assume_regular_frequency=True)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    series = rng.normal(size=(40, 200))
    largest = [periodogram.powers(table, series[:, i].copy()).max() for i in range(200)]
    np.testing.assert_allclose(periodogram.largest_powers(table, series), largest, rtol=1e-12)
    single = FalseAlarm(Columns.of(times, values, errors), 0.159, 0.159, 1)
    drawn = single.bind(single.prepare())(streams.generator(1, 0), 4000)
    assert stats.kstest(drawn[:, 0], stats.beta(1.0, 0.5 * (40 - 3)).cdf).pvalue > 1e-4


def test_random_catalog_fills_the_mask_uniformly():
    mask = SurveyMask((Box((350.0, 380.0), (-10.0, 20.0)),), (Circle(5.0, 5.0, 3.0),))
    vectors = random_catalog(mask, 3000, seed=1, batch_size=4096)
    assert np.array_equal(random_catalog(mask, 1000, seed=1, batch_size=4096), vectors[:1000])
    place = longitude_latitude(vectors)
    longitude = (place[:, 0] + 180.0) % 360.0 - 180.0
    assert longitude.min() >= -10.0 - 1e-9
    assert longitude.max() <= 20.0 + 1e-9
    centre = sphere.directions(pcg.words_at(streams.generator(0, 0)), 4)
    np.testing.assert_allclose(np.linalg.norm(centre, axis=1), 1.0, rtol=1e-14)
    hole = [np.cos(np.radians(5)) ** 2, np.cos(np.radians(5)) * np.sin(np.radians(5)), np.sin(np.radians(5))]
    assert (vectors @ hole).max() <= np.cos(np.radians(3.0)) + 1e-12
    whole = SurveyMask((Box((0.0, 30.0), (-10.0, 20.0)),))
    hits = whole.hits(streams.generator(2, 0), 200_000)
    share = np.radians(30.0) * (np.sin(np.radians(20)) + np.sin(np.radians(10))) / (4 * np.pi)
    assert stats.binomtest(hits, 200_000, share).pvalue > 1e-4


def test_pi_counts_what_the_array_version_returns():
    n = 10_000
    assert Pi().hits(streams.generator(1, 5), n) == np.count_nonzero(Pi()(streams.generator(1, 5), n))


def test_error_propagation_equals_astropys_distributions():
    from astropy import uncertainty as unc
    from astropy import units as u

    trial = Propagation(
        "4 * pi * d**2 * f",
        (Measured("d", 10.0, 0.5, "Mpc"), Measured("f", 1e-15, 1e-16, "W / m2")),
        unit="solLum",
    )
    drawn = trial(streams.generator(1, 0), 20_000)
    d, f = (
        unc.normal(10 * u.Mpc, std=0.5 * u.Mpc, n_samples=20_000),
        unc.normal(1e-15 * u.W / u.m**2, std=1e-16 * u.W / u.m**2, n_samples=20_000),
    )
    peer = (4 * np.pi * d**2 * f).to(u.solLum).distribution.value
    assert stats.ks_2samp(drawn, peer).pvalue > 1e-4
    assert trial.same_bits


def test_correlated_errors_and_wrong_units():
    pair = (Measured("a", 3.0, 0.5), Measured("b", 1.0, 0.5))
    drawn = Propagation("a - b", pair, (("a", "b", 0.9),))(streams.generator(1, 0), 50_000)
    assert drawn.std() == pytest.approx(np.sqrt(0.05), rel=0.02)
    with pytest.raises(RecipeError, match="units"):
        Propagation("a + b", (Measured("a", 1.0, 0.1, "m"), Measured("b", 1.0, 0.1, "s")))
    with pytest.raises(RecipeError, match="no measured value"):
        Propagation("a + c", pair)
    with pytest.raises(RecipeError, match="correlation"):
        Propagation("a + b", pair, (("a", "b", 1.5),))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "a.b", "x[0]", "(lambda: 1)()", "exp(x, y)", "xp(x)",
        "1 if x else 2",
        "'a'", "x < y < z", "f'{x}'", "[1]", "True", "1e999999", "x" * 3000, "x := 1", "sqrt", "exp(*x)",
        "a and b",
        "not a", "a @ b", "a // b", "-" * 200 + "1", "1j", "",
    ],
)  # fmt: skip
def test_formulas_allow_nothing_but_arithmetic(text):
    with pytest.raises(RecipeError):
        Expression(text)


def test_formulas_equal_python():
    values = {"x": np.array([0.5, 2.0]), "y": np.array([3.0, -1.0])}
    x, y = values["x"], values["y"]
    expected = {
        "x**3 / (1 + y**2) - -y": x**3 / (1 + y**2) + y,
        "where(x < 1, x, sqrt(x))": np.where(x < 1, x, np.sqrt(x)),
        "x**-2 + 2**x + pi": x**-2.0 + 2**x + np.pi,
        "arctan2(y, x)": np.arctan2(y, x),
    }
    for text, wanted in expected.items():
        np.testing.assert_allclose(Expression(text)(values), wanted, rtol=1e-15)
    assert Expression("x**2 + sqrt(y)").same_bits
    assert not Expression("x**y").same_bits
    assert Expression("a * sin(b) + pi").variables == ("a", "b")
