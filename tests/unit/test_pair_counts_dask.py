"""Pair counts through the graph against brute force, and correlation functions against a known truth."""

from __future__ import annotations

import numpy as np
import pytest
from pair_reference import brute

import daskpar
from daskpar.analyses.pair_counts.patches import assign_patches
from daskpar.analyses.pair_counts.splits import split_numbers
from daskpar.analyses.pair_counts.with_dask import counting
from daskpar.analyses.pair_counts.with_dask.samples import find_centres
from daskpar.errors import InputError, RecipeError, UsageError
from daskpar.inputs import catalog_record
from daskpar.inputs.catalogs import read_piece
from daskpar.inputs.synthetic_catalogs import SyntheticCatalog, expected_pairs, generate

EDGES = np.array([0.0, 1.0, 3.0, 7.0, 12.0])


@pytest.fixture
def ragged(monkeypatch):
    """Many small pieces and blocks, so that pairs cross them."""
    monkeypatch.setattr(catalog_record.Catalog.pieces, "__defaults__", (3000,))
    monkeypatch.setattr(counting, "POINTS_A_SLOT", 20)


def clustered(n, seed=0, side=100.0):
    rng = np.random.default_rng(seed)
    points = rng.random((n, 3)) * side
    points[: n // 3] = np.clip(points[:1] + rng.normal(0, 3, (n // 3, 3)), 0, side)
    points[5] = points[6]
    points[7] = (0.0, 0.0, side)
    return points


def check(dataset, reference, weighted=False):
    counts, sums, separations = reference
    np.testing.assert_array_equal(dataset["npairs"], counts)
    assert dataset["npairs"].dtype == np.int64
    if weighted:
        np.testing.assert_allclose(dataset["weight_sum"], sums, rtol=1e-12)
    with np.errstate(invalid="ignore"):
        mean = np.where(counts > 0, separations / counts, np.nan)
    np.testing.assert_allclose(dataset["separation_mean"], mean, rtol=1e-12)


@pytest.mark.usefixtures("ragged")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"boxsize": 100.0},
        {"boxsize": (100.0, 0, 120.0)},
        {"metric": "rp_pi", "pi_edges": [0, 5, 20.0], "boxsize": 100.0},
        {"metric": "rp_pi", "pi_edges": [-5, 0, 5.0], "los": "midpoint"},
        {"metric": "s_mu", "mu_edges": [0, 0.5, 1.0], "los": "x"},
    ],
)
@pytest.mark.parametrize("cross", [False, True])
def test_counts_equal_brute_force(settings, cross):
    one, two = clustered(700), clustered(400, 1) if cross else None
    settings = dict(settings)
    second = settings.get("pi_edges", settings.get("mu_edges"))
    box = settings.get("boxsize")
    box = box if box is None or isinstance(box, tuple) else (box,) * 3
    rng = np.random.default_rng(5)
    w1, w2 = rng.random(700), rng.random(400) if cross else None
    expected = brute(
        one,
        two,
        settings.get("metric", "r"),
        EDGES,
        second,
        settings.get("los", "z"),
        box,
        (w1, w2 if cross else w1),
    )
    found = daskpar.count_pairs(one, two, EDGES, weights1=w1, weights2=w2, **settings)
    check(found.compute(scheduler="threads"), expected, weighted=True)


@pytest.mark.usefixtures("ragged")
def test_angles_equal_brute_force_at_poles_and_across_zero():
    rng = np.random.default_rng(2)
    sky = np.stack([rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))], axis=1)
    sky[:6] = [(0, 90), (120, 90), (0, -90), (360, 3), (0, 3), (359.9, 3)]
    catalog = daskpar.open_catalog(sky)
    vectors = np.concatenate([read_piece(catalog, piece).positions for piece in catalog.pieces()])
    edges = [0.0, 0.05, 1.0, 10.0, 60.0]
    found = daskpar.count_pairs(sky, edges=edges, metric="theta").compute(scheduler="threads")
    np.testing.assert_array_equal(found["npairs"], brute(vectors, None, "theta", edges)[0])
    deep = daskpar.open_catalog(
        {"ra": sky[:, 0], "dec": sky[:, 1], "redshift": np.ones(500)}, cosmology="Planck18"
    )
    again = daskpar.count_pairs(deep, edges=edges, metric="theta").compute(scheduler="threads")
    np.testing.assert_array_equal(found["npairs"], again["npairs"])


@pytest.mark.parametrize("n", [1, 2, 9])
def test_a_few_points(n):
    points = np.zeros((n, 3))
    found = daskpar.count_pairs(points, edges=[0.0, 1.0]).compute(scheduler="sync")
    assert found["npairs"].values.tolist() == [n * (n - 1)]


def test_any_cut_into_pieces_and_blocks_counts_the_same(monkeypatch):
    points = clustered(2000)
    found = []
    for piece, slot in ((10**7, 10**6), (4000, 100), (1111, 7)):
        monkeypatch.setattr(catalog_record.Catalog.pieces, "__defaults__", (piece,))
        monkeypatch.setattr(counting, "POINTS_A_SLOT", slot)
        dataset = daskpar.count_pairs(points, edges=EDGES, boxsize=100.0).compute(scheduler="threads")
        found.append(dataset["npairs"].values)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_nothing_is_computed_before_it_is_asked_for(tmp_path):
    points = clustered(300)
    before = points.copy()
    np.save(tmp_path / "a.npy", points)
    import dask

    def refuse(*args, **kwargs):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        dataset = daskpar.count_pairs(tmp_path / "a.npy", edges=EDGES)
        daskpar.correlation(points, edges=EDGES, boxsize=100.0, n_patches=4)
    np.testing.assert_array_equal(points, before)
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.npy"):
        dataset.compute(scheduler="sync")


def test_the_graph_holds_descriptions_not_points():
    import cloudpickle

    dataset = daskpar.count_pairs(np.random.default_rng(1).random((100_000, 3)), edges=[0.0, 0.01])
    assert len(cloudpickle.dumps(dataset)) < 300_000


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"edges": [1.0]}, "at least two"),
        ({"edges": [1.0, 1.0]}, "strictly increasing"),
        ({"edges": [2.0, 1.0]}, "strictly increasing"),
        ({"edges": [0.0, np.nan]}, "finite"),
        ({"edges": [-1.0, 1.0]}, "between"),
        ({"edges": "wide"}, "edges"),
        ({"edges": [0.0, 60.0], "boxsize": 100}, "period"),
        ({"edges": [0.0, 1.0], "boxsize": -1}, "finite and positive"),
        ({"edges": [0.0, 1.0], "boxsize": [1, 2]}, "one number or three"),
        ({"edges": [0.0, 1.0], "metric": "rp_pi"}, "needs pi_edges"),
        ({"edges": [0.0, 1.0], "pi_edges": [0, 1]}, "belong to the metric rp_pi"),
        ({"edges": [0.0, 1.0], "metric": "q"}, "none of"),
    ],
)
def test_wrong_settings_end_with_exit_code_2(settings, error):
    with pytest.raises(RecipeError, match=error) as caught:
        daskpar.count_pairs(np.zeros((2, 3)), **settings)
    assert caught.value.exit_code == 2


def test_samples_that_do_not_fit():
    with pytest.raises(UsageError, match="no distances"):
        daskpar.count_pairs(np.zeros((2, 2)), edges=EDGES)
    with pytest.raises(UsageError, match="on the sky"):
        daskpar.count_pairs(np.zeros((2, 3)), edges=EDGES, metric="theta")
    with pytest.raises(InputError, match="period"):
        daskpar.count_pairs(np.diag([300.0, 0, 0]), edges=EDGES, boxsize=100).compute(scheduler="sync")
    with pytest.raises(RecipeError, match="without randoms"):
        daskpar.correlation(np.zeros((2, 3)), edges=EDGES)
    with pytest.raises(InputError, match="different lengths"):
        daskpar.count_pairs(np.zeros((2, 3)), edges=EDGES, weights1=[1.0])
    with pytest.raises(InputError, match="weight is below 0 in row 1: -1"):
        daskpar.count_pairs(np.zeros((2, 3)), edges=EDGES, weights1=[1.0, -1.0]).compute(scheduler="sync")


def test_a_clustered_box_has_the_correlation_it_was_made_with():
    spec = SyntheticCatalog(kind="clustered", n_points=20_000, n_clusters=2000, boxsize=200.0, seed=3)
    points = np.stack(generate(spec, 0, spec.n_points), axis=1)
    edges = np.array([1.0, 3, 5, 8, 12])
    found = daskpar.correlation(points, edges=edges, boxsize=200.0, n_patches=27, estimator="natural")
    found = found.compute(scheduler="threads")
    volume = 4 / 3 * np.pi * np.diff(edges**3) / spec.boxsize**3
    truth = expected_pairs(spec, edges) / (spec.n_points * (spec.n_points - 1)) / volume - 1
    assert np.all(np.abs(found["xi"] - truth) < 5 * found["xi_error"])
    assert np.all(found["xi_error"] < 0.2 * truth.max())
    np.testing.assert_allclose(np.diag(found["covariance"]), found["xi_error"] ** 2)


@pytest.mark.parametrize("estimator", ["natural", "davis_peebles", "landy_szalay", "hamilton"])
def test_estimators_and_jackknife_equal_whole_recounts(estimator):
    data, randoms = clustered(400), np.random.default_rng(9).random((700, 3)) * 100
    edges = [2.0, 8.0, 15.0, 30.0]
    wd, wr = np.random.default_rng(1).random(400), np.random.default_rng(2).random(700)
    found = daskpar.correlation(
        data, randoms, edges, estimator=estimator, weights=wd, weights_randoms=wr, n_patches=5
    )
    found = found.compute(scheduler="threads")
    centres = find_centres([{"positions": randoms}], 5, 0)["centres"]
    pd, pr = (assign_patches(sample, centres) for sample in (data, randoms))

    def xi(d, r):
        w = {"d": wd[d], "r": wr[r]}
        p = {"d": data[d], "r": randoms[r]}

        def pairs(a, b):
            same = a == b
            count = brute(p[a], None if same else p[b], "r", edges, weights=(w[a], w[b]))[1]
            return count / (w[a].sum() * w[b].sum() - same * (w[a] ** 2).sum())

        dd, dr, rr = pairs("d", "d"), pairs("d", "r"), pairs("r", "r")
        return {
            "natural": dd / rr - 1,
            "davis_peebles": dd / dr - 1,
            "landy_szalay": (dd - 2 * dr + rr) / rr,
            "hamilton": dd * rr / dr**2 - 1,
        }[estimator]

    np.testing.assert_allclose(found["xi"], xi(slice(None), slice(None)), rtol=1e-10, atol=1e-12)
    left = np.stack([xi(pd != k, pr != k) for k in range(5)])
    covariance = np.cov(left.T, ddof=0) * 4
    np.testing.assert_allclose(found["covariance"], covariance, rtol=1e-8, atol=1e-12)


def test_split_randoms_are_counted_inside_parts_only():
    data, randoms = clustered(400), np.random.default_rng(9).random((700, 3)) * 100
    edges = np.array([2.0, 8.0, 15.0, 30.0])
    wd, wr = np.random.default_rng(1).random(400), np.random.default_rng(2).random(700)
    weights = {"weights": wd, "weights_randoms": wr}
    found = daskpar.correlation(data, randoms, edges, **weights, n_patches=5, split_randoms=3)
    found = found.compute(scheduler="threads")
    part = split_numbers(randoms, 3)
    assert np.bincount(part).min() > 200
    centres = find_centres([{"positions": randoms}], 5, 0)["centres"]
    pd, pr = (assign_patches(sample, centres) for sample in (data, randoms))

    def xi(d, r):
        w, p = {"d": wd[d], "r": wr[r]}, {"d": data[d], "r": randoms[r]}
        dd = brute(p["d"], None, "r", edges, weights=(w["d"], w["d"]))[1]
        dr = brute(p["d"], p["r"], "r", edges, weights=(w["d"], w["r"]))[1] / w["d"].sum() / w["r"].sum()
        rr, all_rr = 0, 0
        for k in range(3):
            one = part[r] == k
            rr = rr + brute(p["r"][one], None, "r", edges, weights=(w["r"][one],) * 2)[1]
            all_rr += w["r"][one].sum() ** 2 - (w["r"][one] ** 2).sum()
        dd = dd / (w["d"].sum() ** 2 - (w["d"] ** 2).sum())
        return (dd - 2 * dr + rr / all_rr) / (rr / all_rr)

    everyone = np.ones(400, bool), np.ones(700, bool)
    np.testing.assert_allclose(found["xi"], xi(*everyone), rtol=1e-10)
    left = np.stack([xi(pd != k, pr != k) for k in range(5)])
    np.testing.assert_allclose(found["covariance"], np.cov(left.T, ddof=0) * 4, rtol=1e-8, atol=1e-12)
    assert np.all(found["rr"] < 0.5 * daskpar.correlation(data, randoms, edges, **weights)["rr"].compute())


def test_projected_function_and_multipoles_have_their_shapes():
    data = clustered(300)
    wp = daskpar.correlation(
        data,
        clustered(300, 4),
        EDGES,
        "rp_pi",
        pi_edges=[0, 5, 10, 20.0],
        n_patches=3,
        resampling="bootstrap",
    ).compute(scheduler="threads")
    assert wp["wp"].dims == ("rp",)
    assert wp["wp_error"].shape == (4,)
    assert wp["xi"].dims == ("rp", "pi")
    ell = daskpar.correlation(data, None, EDGES, "s_mu", mu_edges=[0, 0.5, 1.0], boxsize=100.0)
    ell = ell.compute(scheduler="threads")
    np.testing.assert_allclose(ell["xi0"], ell["xi"].mean("mu"))
    assert {"xi2", "xi4"} <= set(ell.data_vars)


def result_of(inputs, options, folder):
    """Drive the stages of the analysis as a run does, without a cluster."""
    import dask

    from daskpar.analyses.pair_counts import ANALYSIS, PairCountsOptions
    from daskpar.analysis import Where

    where = Where(folder, lambda files: [str(folder / files)], folder / "scratch")
    options = PairCountsOptions.model_validate(options)
    record = ANALYSIS.open_inputs(inputs, where)
    assert ANALYSIS.cost(record, options)["points"] > 0
    stages = ANALYSIS.build(record, options)
    answer = next(stages)
    while True:
        try:
            answer = stages.send(dask.compute(answer.collection, scheduler="threads")[0])
        except StopIteration as end:
            return dask.compute(end.value, scheduler="threads")[0]


def test_the_analysis_gives_what_the_function_gives(tmp_path):
    data, randoms = clustered(500), np.random.default_rng(9).random((600, 3)) * 100
    np.save(tmp_path / "data.npy", data)
    np.save(tmp_path / "randoms.npy", randoms)
    edges = [2.0, 8.0, 15.0, 30.0]
    inputs = {"files": "data.npy", "randoms": {"files": "randoms.npy"}}
    options = {"patch_grid": (2, 2, 1), "split_randoms": 2}
    found = result_of(inputs, {"edges": edges, **options}, tmp_path)
    again = daskpar.correlation(data, randoms, edges, **options).compute(scheduler="threads")
    assert found["rr_split_sums"].shape == (2, 4, 2)
    assert found["rr_split_sums"].sum("split").equals(found["r_patch_sums"])
    for name in again.data_vars:
        np.testing.assert_array_equal(found[name], again[name])
    np.testing.assert_array_equal(found["dr_patch_pairs"].sum("dr_row"), again["dr"])
    assert found.attrs["dd_imbalance"] >= 1
    np.testing.assert_array_equal(found["rr_patch_pairs"].sum("rr_row"), again["rr"])
    bare = result_of(inputs, {"edges": edges, "estimator": None}, tmp_path)
    np.testing.assert_array_equal(bare["npairs"], brute(data, randoms, "r", edges)[0])


@pytest.mark.parametrize("kind", ["r", "multipoles", "image"])
def test_a_picture_is_drawn(kind, tmp_path):
    from matplotlib.figure import Figure

    from daskpar.analyses.pair_counts.plot import draw

    options = {
        "r": {"edges": {"start": 1, "stop": 20, "bins": 5, "log": True}, "n_patches": 3},
        "multipoles": {"metric": "s_mu", "edges": [1, 5, 20], "mu_edges": {"start": 0, "stop": 1, "bins": 4}},
        "image": {"metric": "rp_pi", "edges": [1, 5, 20], "pi_edges": [0, 5, 10], "estimator": None},
    }[kind]
    inputs = {"synthetic": {"kind": "clustered", "n_points": 2000, "boxsize": 100, "n_clusters": 50}}
    figure = Figure()
    draw(result_of(inputs, {**options, "boxsize": 100}, tmp_path), figure)
    assert figure.axes
