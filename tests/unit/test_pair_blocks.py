"""Blocks are balanced whatever the clustering, need few cells, and count patches as the whole does."""

import os
from pathlib import Path

import numpy as np
import pytest
from pair_reference import brute

from daskpar.analyses.pair_counts import ANALYSIS, PairCountsOptions, balance, cells_stage, resampling
from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.blocks import (
    imbalance,
    needed_cells,
    number_of_blocks,
    partition,
    predict_cost,
)
from daskpar.analyses.pair_counts.kernel.by_block import by_block
from daskpar.analyses.pair_counts.kernel.cells import cell_numbers, pack
from daskpar.analyses.pair_counts.kernel.partial import Wanted, finish, merge, partial
from daskpar.analyses.pair_counts.kernel.survey import along_axes, corners, lay_out
from daskpar.analysis import Where

DATA = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
EDGES = np.geomspace(0.05, 2.0, 7)


def clustered(n, rng):
    centres = rng.uniform(1, 19, (20, 3))
    p = centres[rng.integers(0, 20, n)] + rng.normal(0, 0.8, (n, 3))
    p[: n // 4] = rng.uniform(0, 20, (n // 4, 3))
    return np.clip(p, 0, 20)


def blocks_of(sample, binning, blocks, boxsize=None):
    layout = lay_out(sample, None, binning, boxsize)
    counts = np.bincount(cell_numbers(sample, layout), minlength=layout.cells)
    cost = predict_cost(layout, binning.reach, counts, counts, half=True)
    return layout, cost, partition(cost, blocks)


def test_blocks_hold_every_cell_once_and_are_balanced():
    sample = clustered(20_000, np.random.default_rng(1))
    layout, cost, ranges = blocks_of(sample, Binning("r", EDGES), 32)
    covered = np.zeros(layout.cells, int)
    for first, last in ranges:
        covered[first:last] += 1
    assert (covered[cost > 0] == 1).all()
    assert covered.max() == 1
    assert imbalance(cost, ranges) < 1.3


def test_predicted_cost_is_close_to_the_distances_there_are():
    sample = np.random.default_rng(2).uniform(0, 20, (20_000, 3))
    binning = Binning("r", EDGES)
    _, cost, _ = blocks_of(sample, binning, 1, (20.0,) * 3)
    neighbours = 4 / 3 * np.pi * 2.0**3 * len(sample) / 20**3
    pairs = len(sample) * neighbours / 2
    assert pairs < cost.sum() < 20 * pairs


@pytest.mark.parametrize("share", [1, 3])
def test_a_plan_tells_how_balanced_the_blocks_of_a_clustered_catalog_are(monkeypatch, tmp_path, share):
    where = Where(tmp_path, lambda files: [files], tmp_path)
    made = {"kind": "clustered", "n_points": 30_000, "n_clusters": 500, "boxsize": 200, "cluster_sigma": 2}
    record = ANALYSIS.open_inputs({"synthetic": made}, where)
    options = PairCountsOptions(edges=(0.1, 5.0), boxsize=200, estimator="natural")
    monkeypatch.setattr(balance, "MOST_POINTS", 30_000 // share)
    monkeypatch.setattr(cells_stage, "number_of_blocks", lambda *_, **__: 200)
    found = balance.measured(record, options)
    blocks, rest = found["dd blocks"].split(", the dearest ")
    times, idle = rest.split(" times the mean, idle at the end ")
    assert 150 < int(blocks) <= 200
    assert 1.0 < float(times) < 3
    assert float(idle.split("%")[0]) < 2
    assert found["dd blocks"].endswith("(estimate)") == (share > 1)
    assert found["core_seconds"] > 0


def test_workers_wait_for_the_last_block():
    assert balance.idle_share(np.ones(8), 4) == 0
    assert balance.idle_share(np.array([1.0, 1, 2]), 2) == 1 - 4 / 6
    assert balance.idle_share(np.zeros(3), 2) == 0


def test_number_of_blocks_follows_cost():
    assert number_of_blocks(0.0) == 1
    assert number_of_blocks(1e8) == 2
    assert number_of_blocks(1e10) == 64
    assert abs(number_of_blocks(1e12) - 500) <= 1
    assert number_of_blocks(1e16) == 50_000


def test_nothing_to_partition():
    assert partition(np.zeros(5), 3) == []
    assert imbalance(np.zeros(5), []) == 1.0


@pytest.mark.parametrize("boxsize", [None, (20.0, 20.0, 20.0)])
def test_a_block_needs_only_cells_within_reach(boxsize):
    sample = np.random.default_rng(3).uniform(0, 20, (3000, 3))
    binning = Binning("r", EDGES)
    layout, _, ranges = blocks_of(sample, binning, 40, boxsize)
    cells = cell_numbers(sample, layout)
    share = []
    for first, last in ranges:
        needed = np.zeros(len(sample), bool)
        for a, b in needed_cells(layout, binning.reach, (first, last)):
            needed |= (cells >= a) & (cells < b)
        own = (cells >= first) & (cells < last)
        d = sample[own][:, None] - sample[None]
        if boxsize is not None:
            d -= 20 * np.round(d / 20)
        near = ((d**2).sum(axis=2) < 4.0).any(axis=0)
        assert needed[near].all()
        share.append(needed.mean())
    # In a periodic box a block that spans the end of a column needs whole columns.
    assert np.mean(share) < (0.5 if boxsize is None else 0.8)


@pytest.mark.parametrize("signed", [False, True])
def test_counts_between_patches(signed):
    rng = np.random.default_rng(4)
    sample, patch, weights = rng.uniform(0, 8, (300, 3)), rng.integers(0, 6, 300), rng.uniform(0, 2, 300)
    second = np.array([-2.0, 0, 2]) if signed else np.array([0, 1.0, 2])
    binning = Binning("rp_pi", np.array([0.1, 1, 2]), second, "y")
    layout, _, ranges = blocks_of(sample, binning, 9)
    turned = along_axes(sample, binning)
    packed = pack(turned, layout, weights, patch)
    counts = np.bincount(cell_numbers(turned, layout), minlength=layout.cells)
    cost = predict_cost(layout, binning.reach, counts, counts, half=not signed)
    wanted = Wanted(weights=True, separations=True, n_patches=6)
    parts = [partial(layout, block, packed, None, binning, wanted) for block in partition(cost, 9)]
    result = finish(merge(parts), doubled=not signed)
    whole = brute(sample, None, "rp_pi", binning.edges, second, los="y", weights=(weights, weights))
    np.testing.assert_array_equal(result["npairs"].sum(axis=0), whole[0])
    np.testing.assert_allclose(resampling.total(result["weight_sum"]), whole[1], rtol=1e-12)
    for (a, b), pairs in zip(result["patches"], result["npairs"], strict=True):
        i, j = patch == a, patch == b
        expected = brute(sample[i], None if a == b else sample[j], "rp_pi", binning.edges, second, los="y")[0]
        np.testing.assert_array_equal(pairs, expected)
    assert (
        np.lexsort((result["patches"][:, 1], result["patches"][:, 0])) == np.arange(len(result["patches"]))
    ).all()
    assert len(ranges) > 1


def test_sums_have_the_same_bits_whoever_computes_a_block():
    rng = np.random.default_rng(5)
    sample, weights = clustered(2000, rng), rng.uniform(0, 2, 2000)
    binning = Binning("s_mu", EDGES, np.linspace(0, 1, 6))
    layout, _, ranges = blocks_of(sample, binning, 7)
    cells = cell_numbers(sample, layout)
    whole = pack(sample, layout, weights)
    for block in ranges:
        keep = np.zeros(len(sample), bool)
        for first, last in needed_cells(layout, binning.reach, block):
            keep |= (cells >= first) & (cells < last)
        few = pack(sample[keep], layout, weights[keep])
        a, b = (partial(layout, block, packed, None, binning, Wanted(True, True)) for packed in (whole, few))
        assert all(a[name].tobytes() == b[name].tobytes() for name in a)


@pytest.mark.skipif(not (DATA / "cmass_mock.fits").exists(), reason="the mock catalog is not here")
def test_part_of_a_real_mock_against_brute_force():
    from astropy.io import fits

    table = fits.getdata(DATA / "cmass_mock.fits")
    sample = np.stack([np.asarray(table[name], np.float64) for name in "XYZ"], axis=1)
    near = (sample[:, :2] < 130).all(axis=1)
    sample, weights = sample[near], np.asarray(table["WEIGHT"], np.float64)[near]
    for form in (
        dict(metric="r", edges=np.geomspace(1, 40, 9)),
        dict(metric="rp_pi", edges=np.geomspace(1, 40, 9), second_edges=np.arange(0.0, 41, 10)),
        dict(metric="s_mu", edges=np.geomspace(1, 40, 9), second_edges=np.linspace(0, 1, 6)),
    ):
        binning = Binning(form["metric"], form["edges"], form.get("second_edges"))
        layout, cost, _ = blocks_of(sample, binning, 1)
        packed = pack(sample, layout, weights)
        parts = [partial(layout, block, packed, None, binning, Wanted(True)) for block in partition(cost, 5)]
        result = finish(merge(parts), doubled=True)
        pairs, products, _ = brute(sample, None, weights=(weights, weights), **form)
        np.testing.assert_array_equal(result["npairs"], pairs)
        np.testing.assert_allclose(result["weight_sum"], products, rtol=1e-12)


def test_edges_and_sines_are_rounded_once():
    from daskpar.analyses.pair_counts.kernel.rounded import geometric, sine

    edges = geometric(0.5, 40.0, 21)
    assert (edges[0], edges[-1]) == (0.5, 40.0)
    assert np.all(np.abs(edges - np.geomspace(0.5, 40.0, 21)) <= 4 * np.spacing(edges))
    angles = np.concatenate([[0.0, np.pi / 2], np.linspace(1e-9, 3.2, 200)])
    assert np.all(np.abs(sine(angles) - np.sin(angles)) <= np.spacing(np.abs(np.sin(angles))))
    assert sine(np.array([np.pi / 6]))[0] == 0.49999999999999994


@pytest.mark.parametrize("columns", [3, 5])
@pytest.mark.parametrize("starts", [[0], [4, 9, 10, 31], list(range(0, 64, 3))])
def test_points_by_block_are_those_of_a_stable_sort(starts, columns):
    rng = np.random.default_rng(len(starts))
    rows, cells = rng.random((1000, columns)), rng.integers(0, 64, 1000)
    block = np.maximum(np.searchsorted(starts, cells, side="right") - 1, 0)
    placed, bounds = by_block(rows, cells, np.array(starts))
    np.testing.assert_array_equal(placed, rows[np.argsort(block, kind="stable")])
    np.testing.assert_array_equal(np.diff(bounds), np.bincount(block, minlength=len(starts)))


def test_points_by_block_where_there_are_none():
    no_blocks, bounds = by_block(np.ones((2, 3)), np.zeros(2, np.int64), np.empty(0, np.int64))
    assert (len(no_blocks), bounds.tolist()) == (2, [0])
    no_points, bounds = by_block(np.empty((0, 3)), np.empty(0, np.int64), np.array([0, 5]))
    assert (len(no_points), bounds.tolist()) == (0, [0, 0, 0])


def test_corners_of_points():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(1001, 3))
    low, high = corners(points[::2])
    np.testing.assert_array_equal(low, points[::2].min(axis=0))
    np.testing.assert_array_equal(high, points[::2].max(axis=0))
    assert np.isnan(corners(np.array([[0, np.nan, 1], [0, 2, 3]]))).tolist() == [[False, True, False]] * 2
    assert np.isinf(corners(np.empty((0, 3)))).all()
