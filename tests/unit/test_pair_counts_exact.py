"""The kernel counts what brute force counts, to the last integer, however the work is cut."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pair_reference import brute

from daskpar.analyses.pair_counts.kernel.binning import Binning
from daskpar.analyses.pair_counts.kernel.blocks import needed_cells
from daskpar.analyses.pair_counts.kernel.cells import cell_numbers, pack
from daskpar.analyses.pair_counts.kernel.partial import Wanted, finish, merge, partial
from daskpar.analyses.pair_counts.kernel.survey import along_axes, lay_out

LOGARITHMIC = np.geomspace(0.05, 3.0, 9)
FORMS = {
    "r": dict(metric="r", edges=LOGARITHMIC),
    "r from zero": dict(metric="r", edges=[0.0, 0.5, 1.0, 2.0]),
    "r linear": dict(metric="r", edges=np.linspace(0, 3, 31)),
    "rp_pi": dict(metric="rp_pi", edges=LOGARITHMIC, second_edges=np.linspace(0, 4, 9)),
    "rp_pi x": dict(metric="rp_pi", edges=[0, 1, 2], second_edges=[0.5, 1, 2, 4], los="x"),
    "rp_pi signed": dict(metric="rp_pi", edges=[0, 1, 3], second_edges=[-4.0, -1, 0, 1, 2], los="y"),
    "s_mu": dict(metric="s_mu", edges=LOGARITHMIC, second_edges=np.linspace(0, 1, 11)),
    "s_mu x": dict(metric="s_mu", edges=[0, 1, 3], second_edges=[0, 0.6, 0.8, 1.0], los="x"),
    "s_mu signed": dict(metric="s_mu", edges=[0, 1, 3], second_edges=[-1, -0.6, 0, 0.6, 1.0], los="y"),
    "midpoint rp_pi": dict(metric="rp_pi", edges=[0, 1, 3], second_edges=[0, 1, 2, 4], los="midpoint"),
    "midpoint signed": dict(metric="rp_pi", edges=[0, 1, 3], second_edges=[-4, 0, 4.0], los="midpoint"),
    "midpoint s_mu": dict(metric="s_mu", edges=LOGARITHMIC, second_edges=[0, 0.5, 1.0], los="midpoint"),
    "midpoint mu signed": dict(metric="s_mu", edges=[0, 3.0], second_edges=[-1, 0, 1.0], los="midpoint"),
}


def binning_of(form):
    second = None if form.get("second_edges") is None else np.asarray(form["second_edges"], float)
    return Binning(form["metric"], np.asarray(form["edges"], float), second, form.get("los", "z"))


def counted(one, two, form, boxsize=None, weights=(None, None), separations=False, cuts=None):
    """The kernel's count of two samples, in blocks that each see only the cells they need."""
    binning = binning_of(form)
    layout = lay_out(one, two, binning, boxsize)
    samples = [along_axes(sample, binning) for sample in (one, two) if sample is not None]
    wanted = Wanted(weights=weights[0] is not None, separations=separations)
    edges = (
        [0, layout.cells]
        if cuts is None
        else sorted({0, layout.cells, *(int(c * layout.cells) for c in cuts)})
    )
    parts = []
    for block in pairwise(edges):
        needed = needed_cells(layout, binning.reach, block)
        packed = []
        for sample, weight in zip(samples, weights, strict=False):
            cells = cell_numbers(sample, layout)
            keep = np.zeros(len(sample), bool)
            for first, last in needed:
                keep |= (cells >= first) & (cells < last)
            packed.append(pack(sample[keep], layout, None if weight is None else weight[keep]))
        parts.append(
            partial(layout, block, packed[0], packed[1] if two is not None else None, binning, wanted)
        )
    return finish(merge(parts), doubled=two is None and not binning.signed)


def points(seed, n, kind):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0, 9.0, (n, 3))
    if kind == "lattice":
        p = np.round(p * 2) / 2
    if kind == "duplicates":
        p[n // 2 :] = p[: n - n // 2]
    if kind == "clustered":
        p = np.clip(p[rng.integers(0, min(8, n), n)] + rng.normal(0, 0.3, (n, 3)), 0, 9)
    if kind == "plane":
        p[:, rng.integers(0, 3)] = 3.0
    return p


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["uniform", "lattice", "duplicates", "clustered", "plane"])
def test_every_form_equals_brute_force(name, kind):
    form = FORMS[name]
    one, two = points(1, 230, kind), points(2, 170, kind)
    for box in (None, (9.0, 9.0, 9.0), (9.0, 0.0, 10.0)):
        if box is not None and "midpoint" in name:
            continue
        for second in (None, two):
            expected = brute(one, second, boxsize=box, **form)
            np.testing.assert_array_equal(counted(one, second, form, box)["npairs"], expected[0])


@pytest.mark.parametrize("name", FORMS)
def test_sums_agree_to_rounding(name):
    form = FORMS[name]
    one, two = points(3, 200, "uniform"), points(4, 150, "uniform")
    rng = np.random.default_rng(5)
    weights = rng.uniform(0, 2, 200), rng.uniform(0, 2, 150)
    for second, pair in ((None, (weights[0], weights[0])), (two, weights)):
        pairs, products, separations = brute(one, second, weights=pair, **form)
        result = counted(one, second, form, weights=pair, separations=True, cuts=(0.3, 0.31, 0.8))
        np.testing.assert_array_equal(result["npairs"], pairs)
        np.testing.assert_allclose(result["weight_sum"], products, rtol=1e-12)
        with np.errstate(invalid="ignore"):
            np.testing.assert_allclose(result["separation_mean"], separations / pairs, rtol=1e-12)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 120),
    kind=st.sampled_from(["uniform", "lattice", "clustered", "duplicates"]),
    name=st.sampled_from(sorted(FORMS)),
    periodic=st.booleans(),
    cuts=st.lists(st.floats(0, 1), max_size=6),
)
def test_ragged_partitions_change_nothing(seed, n, kind, name, periodic, cuts):
    form = FORMS[name]
    one = points(seed, n, kind)
    box = (9.0, 9.0, 9.0) if periodic and "midpoint" not in name else None
    result = counted(one, None, form, box, cuts=cuts)
    np.testing.assert_array_equal(result["npairs"], brute(one, None, boxsize=box, **form)[0])


def sphere(kind, n, rng):
    longitude, z = rng.uniform(0, 360, n), rng.uniform(-1, 1, n)
    latitude = np.degrees(np.arcsin(z))
    if kind == "pole":
        latitude = rng.choice([-1, 1], n) * rng.uniform(88, 90, n)
        latitude[:3] = 90.0
    if kind == "wrap":
        longitude, latitude = rng.uniform(-3, 3, n) % 360, rng.uniform(-3, 3, n)
    if kind == "lattice":
        longitude, latitude = rng.integers(0, 40, n) * 0.1, rng.integers(-20, 20, n) * 0.1
    a, b = np.radians(longitude), np.radians(latitude)
    return np.stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)], axis=1)


@pytest.mark.parametrize("kind", ["sky", "pole", "wrap", "lattice"])
@pytest.mark.parametrize("edges", [np.geomspace(0.05, 4, 9), [0.0, 0.1, 0.2, 0.5], [1.0, 90.0, 180.0]])
def test_angles_equal_brute_force(kind, edges):
    rng = np.random.default_rng(7)
    one, two = sphere(kind, 300, rng), sphere(kind, 200, rng)
    form = dict(metric="theta", edges=edges)
    for second in (None, two):
        expected = brute(one, second, **form)
        result = counted(one, second, form, separations=True)
        np.testing.assert_array_equal(result["npairs"], expected[0])
        with np.errstate(invalid="ignore"):
            mean = expected[2] / expected[0]
        np.testing.assert_allclose(result["separation_mean"], mean, rtol=1e-12)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points(n):
    one = points(9, 20, "uniform")[:n]
    for second in (None, points(10, 3, "uniform")):
        expected = brute(one, second, **FORMS["r"])[0]
        np.testing.assert_array_equal(counted(one, second, FORMS["r"])["npairs"], expected)


def test_reach_of_half_the_box_and_points_on_its_faces():
    one = np.concatenate([points(11, 80, "lattice"), [[0, 0, 0], [9, 9, 9], [9, 0, 4.5], [0, 9, 0]]])
    form = dict(metric="r", edges=[0.0, 1.0, 4.5])
    box = (9.0, 9.0, 9.0)
    np.testing.assert_array_equal(
        counted(one, None, form, box)["npairs"], brute(one, None, boxsize=box, **form)[0]
    )


def test_separations_beyond_half_the_box_are_refused():
    one = points(12, 30, "uniform")
    with pytest.raises(ValueError, match="period"):
        counted(one, None, dict(metric="r", edges=[0, 5.0]), (9.0, 9.0, 9.0))
    with pytest.raises(ValueError, match="period"):
        counted(one, None, FORMS["r"], (8.0, 9.0, 9.0))


@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_far_from_the_origin_and_at_any_scale(scale):
    one = (points(13, 150, "uniform") + 1e4) * scale
    form = dict(metric="r", edges=LOGARITHMIC * scale)
    np.testing.assert_array_equal(counted(one, None, form)["npairs"], brute(one, None, **form)[0])


def test_outliers_do_not_make_a_huge_grid():
    one = np.concatenate([points(14, 150, "uniform"), [[1e7, -1e7, 1e7]]])
    np.testing.assert_array_equal(counted(one, None, FORMS["r"])["npairs"], brute(one, None, **FORMS["r"])[0])


def test_the_callers_arrays_are_untouched():
    one = points(15, 100, "uniform")
    before = one.copy()
    one.setflags(write=False)
    counted(one, None, FORMS["s_mu x"], (9.0, 9.0, 9.0), cuts=(0.5,))
    np.testing.assert_array_equal(one, before)
