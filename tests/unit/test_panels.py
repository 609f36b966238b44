"""What the Science panels show equals the merge of the receipts, and that what the blocks computed."""

import json
from itertools import pairwise

import numpy as np
import pytest

from daskpar.analyses.image_stats.preview import MOST_COLUMNS, MOST_SQUARES, factor_for
from daskpar.analyses.image_stats.preview import preview as image_preview
from daskpar.analyses.map.preview import preview as map_preview
from daskpar.analyses.pair_counts.cells_stage import count_block, sort_piece
from daskpar.analyses.pair_counts.estimates import Estimation, correlate
from daskpar.analyses.pair_counts.preview import preview as pairs_preview
from daskpar.analyses.pair_counts.settings import make_binning, make_box
from daskpar.analyses.pair_counts.steps import finished, questions, summed, weigh
from daskpar.analyses.pair_counts.with_dask.counting import plan_pairs
from daskpar.analyses.pair_counts.with_dask.samples import Shared
from daskpar.analysis import BUILT_IN, load_analysis
from daskpar.block import PREVIEW_LIMIT, limited_preview
from daskpar.dashboard.image_panel import Canvas, decoded, image_panel
from daskpar.dashboard.map_panel import map_panel
from daskpar.dashboard.monte_carlo_panel import monte_carlo_panel
from daskpar.dashboard.pairs_panel import pairs_panel
from daskpar.dashboard.plots import Bars, Curve, Picture, as_plots
from daskpar.dashboard.science import Science, panel_of
from daskpar.dashboard.watching import Watcher
from daskpar.errors import AnalysisError


def through_json(preview):
    text = json.dumps(preview)
    assert len(text) <= PREVIEW_LIMIT
    return json.loads(text)


def band(image, start, stop, rejected=1):
    part = image[start:stop]
    ones = np.ones(part.shape, np.int32)
    return {"combined": part, "count": 8 * ones, "rejected_low": 0 * ones, "rejected_high": rejected * ones}


def band_receipt(image, start, stop, **more):
    return {
        "label": f"combine rows {start}:{stop}",
        "preview": through_json(image_preview(band(image, start, stop, **more))),
    }


def binned(image, factor):
    rows, columns = (-(-length // factor) for length in image.shape)
    squares = np.full((rows, columns), np.nan)
    for y, x in np.ndindex(rows, columns):
        square = image[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        if np.isfinite(square).any():
            squares[y, x] = np.nanmean(square, dtype=np.float64)
    return squares


@pytest.mark.parametrize("analysis", sorted(BUILT_IN))
def test_every_analysis_has_a_preview_and_a_panel(analysis):
    found = load_analysis(analysis)
    assert found.preview is not None
    assert callable(panel_of(found))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (64, 1024), (1, 100_000), (4000, 3), (513, 257)])
def test_a_band_fits_its_receipt(shape):
    factor = factor_for(*shape)
    squares = [-(-length // factor) for length in shape]
    assert squares[1] <= MOST_COLUMNS
    assert squares[0] * squares[1] <= MOST_SQUARES
    image = np.random.default_rng(2).normal(1e6, 1e5, shape)
    shown = decoded(through_json(image_preview(band(image, 0, shape[0]))))
    exact = binned(image, factor)
    np.testing.assert_allclose(shown, exact, atol=1e-3 * np.abs(exact - np.median(exact)).max() + 1e-6)


def test_the_sky_stays_smooth_beside_a_star():
    image = np.full((16, 64), 300.0) + np.linspace(0, 0.01, 64)
    image[5, 5] = 60_000.0
    shown = decoded(image_preview(band(image, 0, 16)))
    sky = np.abs(shown - image) / np.maximum(np.abs(image - np.median(image)), 1e-12)
    assert np.delete(sky.ravel(), 5 * 64 + 5).max() < 2e-2
    assert shown[5, 5] == pytest.approx(60_000, rel=1e-3)


def test_the_canvas_fills_to_the_image_in_any_order_of_bands():
    rng = np.random.default_rng(3)
    image = rng.normal(100, 5, (300, 500)).astype(np.float32)
    image[40:90, 100:200] = np.nan
    edges = [0, 32, 64, 100, 132, 164, 200, 232, 264, 300]
    receipts = [band_receipt(image, a, b) for a, b in pairwise(edges)]
    state = {"planned": {"rows": 300}}
    part = image_panel([receipts[2]], state)[0]
    assert isinstance(part, Picture)
    factor = receipts[2]["preview"]["factor"]
    known = np.isfinite(part.image)
    assert known.any(axis=1).nonzero()[0].tolist() == list(range(64 // factor, -(-100 // factor)))
    order = rng.permutation([0, 1, *range(3, 9)])
    picture, histogram, rejected, *_ = image_panel([receipts[k] for k in order], state)
    assert factor == 4
    assert picture.image.shape == (75, 125)
    np.testing.assert_allclose(picture.image, binned(image, 4), atol=0.05, equal_nan=True)
    assert isinstance(histogram, Bars)
    assert histogram.heights.sum() == pytest.approx(np.isfinite(picture.image).sum(), rel=0.02)
    np.testing.assert_allclose(rejected.y, 100 / 9)
    assert "11.111% high" in rejected.title


def test_bands_whose_rows_do_not_meet_the_squares():
    image = np.arange(60.0)[:, None] + np.zeros((60, 1000))
    canvas = Canvas(60)
    for start in range(0, 60, 5):
        canvas.add(start, image_preview(band(image, start, start + 5)))
    shown = canvas.image()
    assert canvas.factor == 8
    assert np.isfinite(shown).all()
    np.testing.assert_allclose(shown.mean(axis=1)[:-1], [3.5 + 8 * k for k in range(7)], atol=2.5)
    coarser = Canvas(64)
    coarser.add(0, image_preview(band(np.ones((2, 128)), 0, 2)))
    coarser.add(2, image_preview(band(np.ones((64, 128)), 2, 64)))
    np.testing.assert_allclose(coarser.image(), 1.0, err_msg="a taller band has larger squares")


def test_pairs_are_summed_to_ordered_pairs():
    rng = np.random.default_rng(4)
    patches = rng.integers(0, 9, (3, 2))
    blocks = [{"npairs": rng.integers(0, 1000, (3, 20)), "patches": patches} for _ in range(4)]
    receipts = [
        {"label": f"pairs dd {k}", "preview": through_json(pairs_preview(b))} for k, b in enumerate(blocks)
    ]
    options = {"edges": {"start": 1, "stop": 30, "bins": 20, "log": True}, "metric": "r"}
    state = {"options": options, "planned": {"points": 10, "randoms": 0}}
    pairs_panel(receipts[:1], state)
    (curve,) = pairs_panel(receipts[1:], state)
    total = sum(block["npairs"].sum(axis=0) for block in blocks)
    np.testing.assert_array_equal(curve.y, 2 * total)
    np.testing.assert_allclose(curve.error, 2 * np.sqrt(total))
    assert len(curve.x) == 20
    assert f"{2 * total.sum():,}" in curve.title


def receipts_of_counts(metric, edges, box, samples, **axes):
    """Real blocks as receipts, five a count, and what the run makes of them: the oracle."""
    binning = make_binning(metric, edges, axes.get("pi_edges"), axes.get("mu_edges"), "z")
    how = Estimation(binning, "landy_szalay", make_box(box), "weights" in samples["d"])
    receipts, counts = [], {}
    for name, question in questions(how, analytic="r" not in samples).items():
        one, two = [samples[name[0]]], [] if question.auto else [samples[name[1]]]
        plan = plan_pairs(Shared(question), one, two, 1)
        cells = np.linspace(0, plan["ranges"].max(), 6).astype(int)
        plan["ranges"] = np.stack([cells[:-1], cells[1:]], axis=1)
        first, second = ([sort_piece(question, plan, piece) for piece in sample] for sample in (one, two))
        blocks = [count_block(question, plan, first, second, k) for k in range(5)]
        counts[name] = finished(blocks, question.doubled)
        shown = {f"plan {name}": plan} | {f"pairs {name} {k}": block for k, block in enumerate(blocks)}
        receipts += [{"label": k, "preview": through_json(pairs_preview(one))} for k, one in shown.items()]
    sums = {letter: summed([weigh(piece, None, 0)]) for letter, piece in samples.items()}
    return receipts, correlate(how, counts, sums)["xi"]


def points_in_space(n, seed, **more):
    return {"positions": np.random.default_rng(seed).random((n, 3)) * 40, **more}


@pytest.mark.parametrize("weights", [False, True])
def test_the_correlation_function_so_far(weights):
    more = {"weights": np.random.default_rng(9).uniform(0.5, 2, 900)} if weights else {}
    samples = {"d": points_in_space(900, 7, **more), "r": points_in_space(1500, 8)}
    edges = [1.0, 3.0, 6.0, 10.0]
    receipts, xi = receipts_of_counts("r", edges, None, samples)
    options = {"edges": edges, "metric": "r", "estimator": "landy_szalay", "boxsize": None}
    state = {"options": options, "planned": {"points": 900, "randoms": 1500}}
    by_label = {receipt["label"]: receipt for receipt in receipts}
    some = [f"{what} {name}{k}" for name in ("dd", "dr", "rr") for what, k in
            (("plan", ""), ("pairs", " 0"), ("pairs", " 1"), ("pairs", " 3"))]  # fmt: skip
    plots = pairs_panel([by_label[label] for label in some[:-2]], state)
    assert [plot.title.split(" ")[0] for plot in plots] == ["Data–data", "Data–random", "Random"], (
        "one block of a count is too few"
    )
    early, *_ = pairs_panel([by_label[label] for label in some[-2:]], state)
    kind = "weight_sum" if weights else "npairs"
    so_far = {
        name: 5 / 3 * sum(np.array(by_label[f"pairs {name} {k}"]["preview"][kind]) for k in (0, 1, 3))
        for name in ("dd", "dr", "rr")
    }
    w = more.get("weights", np.ones(900))
    every = {"dd": w.sum() ** 2 - (w**2).sum(), "dr": 1500 * w.sum(), "rr": 1500 * 1499}
    dd, dr, rr = (so_far[name] * (1 if name == "dr" else 2) / every[name] for name in so_far)
    np.testing.assert_allclose(early.y, (dd - 2 * dr + rr) / rr, rtol=1e-12)
    assert "from 60% of the blocks" in early.title
    last, *counts = pairs_panel([r for r in receipts if r["label"] not in some], state)
    np.testing.assert_allclose(last.y, xi, rtol=1e-9, atol=1e-12)
    assert (last.error < early.error).all()
    assert (last.error >= (1 + last.y) / np.sqrt(counts[0].y / 2)).all(), "not below Poisson's of the data"
    assert (last.error < 2.5 * (1 + last.y) / np.sqrt(counts[0].y / 2)).all()


def test_the_correlation_function_of_a_box_needs_no_random_pairs():
    samples, edges, mu = {"d": points_in_space(900, 7)}, [1.0, 4.0, 8.0], [0.0, 0.5, 1.0]
    options = {"edges": edges, "estimator": "landy_szalay", "boxsize": 40.0}
    receipts, xi = receipts_of_counts("r", edges, 40.0, samples)
    function, counts = pairs_panel(receipts, {"options": {**options, "metric": "r"}, "planned": {}})
    np.testing.assert_allclose(function.y, xi, rtol=1e-9)
    np.testing.assert_allclose(function.error, (1 + xi) / np.sqrt(counts.y / 2))
    receipts, wedges = receipts_of_counts("s_mu", edges, 40.0, samples, mu_edges=mu)
    state = {"options": {**options, "metric": "s_mu", "mu_edges": mu}, "planned": {}}
    function, _ = pairs_panel(receipts, state)
    np.testing.assert_allclose(function.y, wedges.mean(axis=1), rtol=1e-9)
    assert "over all µ" in function.title


def test_pairs_of_two_axes_and_many_bins():
    block = {"npairs": np.ones((1000, 7), np.int64), "weight_sum": np.ones((1000, 7))}
    found = through_json(pairs_preview(block))
    assert sum(found["npairs"]) == 7000
    assert len(found["npairs"]) <= 80
    state = {"options": {"edges": list(range(1001)), "metric": "rp_pi"}, "planned": {"randoms": 5}}
    cross = {"label": "pairs dr 0", "preview": found}
    (curve,) = pairs_panel([cross], state)
    assert curve.y.sum() == 7000, "pairs of two samples are ordered already"
    assert pairs_preview({"first": np.ones(3)}) is None


def test_monte_carlo_merges_blocks_and_leaves_merged_nodes_out():
    rng = np.random.default_rng(5)
    values = rng.normal(10, 3, (40, 500))
    receipts = [
        {
            "label": f"batches {k}-{k}",
            "preview": {"count": 500, "mean": [x.mean()], "second": [float(((x - x.mean()) ** 2).sum())]},
        }
        for k, x in enumerate(values)
    ]
    receipts.insert(7, {**receipts[0], "label": "merge batches 0-1"})
    state = {"options": {"target_error": 0.01, "target": "relative"}}
    monte_carlo_panel(receipts[:11], state)
    estimate, error = monte_carlo_panel(receipts[11:], state)
    assert estimate.x[-1] == values.size
    assert estimate.y[-1] == pytest.approx(values.mean(), rel=1e-12)
    assert error.y[-1] == pytest.approx(values.std(ddof=1) / np.sqrt(values.size), rel=1e-10)
    assert error.target == pytest.approx(0.01 * values.mean())
    assert estimate.y[0] == pytest.approx(values[0].mean())


def test_monte_carlo_of_an_extended_run_counts_no_sample_twice():
    def block(first, last, count):
        return {
            "label": f"batches {first}-{last}",
            "preview": {"count": count, "mean": [2.0], "second": [1.0]},
        }

    state = {"options": {}}
    monte_carlo_panel([block(4, 7, 40), block(0, 3, 40), block(8, 9, 15)], state)
    assert state["total"][0] == 95
    estimate, _ = monte_carlo_panel([block(8, 11, 40), block(12, 15, 40)], state)
    assert estimate.x[-1] == 160
    estimate, _ = monte_carlo_panel([block(6, 6, 10)], state)
    assert estimate.x[-1] == 130, "what overlaps is replaced, never added"


def test_monte_carlo_keeps_few_points_of_many_blocks():
    block = {"count": 10, "mean": [1.0], "second": [2.0]}
    receipts = [{"label": f"batches {k}-{k}", "preview": block} for k in range(20_000)]
    estimate, _ = monte_carlo_panel(receipts, {"options": {}})
    assert len(estimate.x) < 1500
    assert estimate.x[-1] == 200_000


def test_map_shows_columns_by_item():
    def partial(first, n, failed=()):
        index = np.arange(first, first + n)
        errors = np.array(["OSError" if k in failed else "" for k in index])
        good = np.flatnonzero(errors == "")
        return {"index": index, "error": errors, "value:sky": index[good] * 2.0, "rows:sky": good}

    parts = [partial(0, 3), partial(3, 2, failed=(4,))]
    receipts = [{"label": "map", "preview": through_json(map_preview(part))} for part in parts]
    (curve,) = map_panel(receipts, {})
    assert curve.x.tolist() == [0, 1, 2, 3]
    assert curve.y.tolist() == [0, 2, 4, 6]
    assert "1 failed" in curve.title
    large = through_json(map_preview(partial(0, 10_000)))
    assert large["columns"]["sky"] == [[4999.5], [9999.0]]


def test_a_preview_that_is_large_or_fails_costs_no_block():
    assert limited_preview(lambda partial: "x" * 5000, {}) is None
    assert limited_preview(lambda partial: 1 / 0, {}) is None
    assert limited_preview(lambda partial: {1, 2}, {}) is None
    assert limited_preview(lambda partial: [1], {}) == [1]


def test_plots_may_be_dicts():
    curve, bars, picture = as_plots([
        {"x": [1, 2], "y": [3, 4], "title": "t"},
        {"edges": [0, 1, 2], "heights": [5, 6]},
        Picture("p", np.zeros((2, 2))),
    ])  # fmt: skip
    assert isinstance(curve, Curve)
    assert curve.y.dtype == np.float64
    assert isinstance(bars, Bars)
    assert isinstance(picture, Picture)
    assert len(as_plots({"image": [[1.0]]})) == 1
    for wrong in (
        3,
        {"x": [1]},
        {"x": [1], "y": [1, 2]},
        {"x": [1], "y": [1], "colour": "red"},
        {"image": [1.0]},
    ):
        with pytest.raises(AnalysisError):
            as_plots(wrong)


FLATS = """
import numpy as np
import xarray as xr
from daskpar.analysis import Analysis
from daskpar.durable import collect, durable


def level(number):
    return {"level": np.array(float(number))}


def gather(levels):
    return {"level": np.array([float(one["level"]) for one in levels])}


def build(inputs, options):
    return collect(gather, [durable(level, k, key=k, label=f"level {k}") for k in range(5)])


def preview(partial):
    return float(partial["level"])


def panel(receipts, state):
    levels = state.setdefault("levels", {})
    levels |= {int(one["label"].split()[1]): one["preview"] for one in receipts}
    return {"x": list(levels), "y": list(levels.values()), "title": "levels"}


ANALYSIS = Analysis(build=build, preview=preview, panel=panel)
"""


RECIPE = "name: flats\nanalysis: 'flats:ANALYSIS'\ninputs: {files: flats.py}\n"


def test_a_users_own_analysis_gives_one_function(tmp_path, cli, runs):
    (tmp_path / "flats.py").write_text(FLATS)
    (tmp_path / "flats.yaml").write_text(RECIPE)
    done = cli("run", "flats.yaml", "--allow-code")
    assert done.code == 0, done.stderr
    from daskpar.rundir import find_run

    watcher = Watcher(find_run("last", runs)).look_all()
    science = Science(watcher)
    assert science.update()
    (curve,) = science.plots
    assert dict(zip(curve.x, curve.y, strict=True)) == {k: float(k) for k in range(5)}
    assert not science.update(), "nothing new"


def test_a_panel_that_fails_says_so(tmp_path, cli, runs):
    (tmp_path / "flats.py").write_text(FLATS.replace("levels |=", "levels |= 1 /"))
    (tmp_path / "flats.yaml").write_text(RECIPE)
    assert cli("run", "flats.yaml", "--allow-code").code == 0
    from daskpar.rundir import find_run

    science = Science(Watcher(find_run("last", runs)).look_all())
    science.update()
    assert science.message.startswith("the panel failed: TypeError")
    assert science.plots == []


def test_a_large_image_stays_small_to_draw():
    rng = np.random.default_rng(6)
    block = image_preview(band(rng.normal(size=(2, 5000)), 0, 2))
    receipts = [{"label": f"combine rows {2 * k}:{2 * k + 2}", "preview": block} for k in range(10_000)]
    state = {"planned": {"rows": 20_000}}
    picture, _, rejected = image_panel(receipts, state)
    assert picture.image.size <= 1024 * 128
    assert np.isfinite(picture.image).all()
    assert len(rejected.y) <= 1000
    assert state["canvas"].used == 10_000 * block["used"]


def test_a_run_that_died_before_it_could_tell_shows_all_blocks(tmp_path, cli, runs):
    """A driver that is killed loses the events of its last half second, never the blocks."""
    (tmp_path / "flats.py").write_text(FLATS)
    (tmp_path / "flats.yaml").write_text(RECIPE)
    assert cli("run", "flats.yaml", "--allow-code").code == 0
    from daskpar.rundir import find_run

    run = find_run("last", runs)
    events = [event for event, _ in run.events()]
    (run.path / "events.jsonl").unlink()
    run.append_events([event for event in events if event.get("label") not in ("level 2", "level 4")])
    run.write_state({**run.read_state(), "state": "interrupted"})
    done = cli("resume", "last")
    assert done.code == 0, done.stderr
    assert sum(event["event"] == "recovered" for event, _ in run.events()) == 2
    science = Science(Watcher(run).look_all())
    science.update()
    (curve,) = science.plots
    assert dict(zip(curve.x, curve.y, strict=True)) == {k: float(k) for k in range(5)}
