"""Counts, estimates and covariances that other programs found, typed in from their output.

``tests/benchmarks/pair_oracles.py`` runs them anew: Corrfunc 2.5.3 on the mock, TreeCorr 5.1.4 on made-up
points. TreeCorr keeps weights in single precision, which is what the tolerances allow for.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from pair_samples import EDGES, GRID, patch_numbers, weighted_samples, with_self_pairs

import daskpar
from daskpar.analyses.pair_counts import steps
from daskpar.analyses.pair_counts.patches import assign_patches, box_centres

DATA = Path(os.environ.get("DASKPAR_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
XI = [10.537764570244144, 6.2365914855767635, 0.9078391859280286, -0.12225331438462178]
COVARIANCES = {
    "simple": [
        [4.8122919871218794e00, -9.3449552615533352e-02, -3.0203013068750567e-01, 1.0926297018987623e-01],
        [-9.3449552615533352e-02, 6.7607248794456820e-01, 9.9633397622525405e-03, 2.1130417959010658e-02],
        [-3.0203013068750567e-01, 9.9633397622525405e-03, 5.8360198703515019e-02, 2.8486021855723543e-03],
        [1.0926297018987623e-01, 2.1130417959010658e-02, 2.8486021855723543e-03, 7.7325064192757349e-03],
    ],
    "match": [
        [4.9818689720940519e00, -2.6154436972053097e-01, -2.4359668963740069e-01, 9.1240233046476965e-02],
        [-2.6154436972053097e-01, 3.3263876513057322e-01, -8.8279649843382938e-03, 1.4763215183073136e-02],
        [-2.4359668963740069e-01, -8.8279649843382938e-03, 5.1156368347033049e-02, 1.9499738630414736e-03],
        [9.1240233046476965e-02, 1.4763215183073136e-02, 1.9499738630414736e-03, 6.3064456686473492e-03],
    ],
}

# Ordered pairs and the sums of the products of their weights, the second axis varying fastest.
MOCK_EDGES = [0.3, 1.0, 1.5, 7.0, 22.0, 35.0]
MOCK_SECOND = {"r": {}, "rp_pi": {"pi_edges": [0, 1, 2, 3, 4]}, "s_mu": {"mu_edges": [0, 0.25, 0.5, 0.75, 1]}}
MOCK = {
    "r": (
        [3634, 5322, 253190, 2622922, 6026930],
        [925.9756599088291, 1302.3899216887219, 63260.14478298448, 656879.4425329365, 1511220.3275218518],
    ),
    "rp_pi": (
        [
            3750,
            3390,
            3088,
            2826,
            3174,
            3030,
            2700,
            2160,
            53238,
            51608,
            46598,
            42012,
            187612,
            188196,
            185912,
            180924,
            222666,
            223530,
            223106,
            221942,
        ],
        [
            954.0458189173773,
            870.9116886402336,
            764.3313951387158,
            692.5897733020238,
            764.2284220881083,
            739.6231651012381,
            643.5443691525666,
            540.9831554584702,
            13291.696159431656,
            13042.853257170469,
            11526.933203127166,
            10438.048559775358,
            46867.14312828987,
            46837.757885717474,
            46480.268306391656,
            45244.6633696139,
            55791.07413147437,
            56005.60831773577,
            56158.95551382763,
            55458.70841204516,
        ],
    ),
    "s_mu": (
        [
            642,
            676,
            728,
            1588,
            1044,
            1094,
            1036,
            2148,
            59192,
            58446,
            59462,
            76090,
            700706,
            678176,
            634440,
            609600,
            1597656,
            1546872,
            1480290,
            1402112,
        ],
        [
            180.92780704490386,
            168.6724408152602,
            178.28919548552167,
            398.0862165631455,
            240.90734882621297,
            279.4261586858629,
            240.51329605142286,
            541.5431181252233,
            14807.036432290734,
            14616.987484103398,
            14791.189723487449,
            19044.93114310283,
            174879.37082508949,
            170224.42988907237,
            159187.86534620562,
            152587.77647256327,
            400775.9028789769,
            387974.4703817056,
            370952.43414417777,
            351517.52011695027,
        ],
    ),
}


@pytest.mark.skipif(not (DATA / "cmass_mock.fits").exists(), reason="the mock catalog is not here")
@pytest.mark.parametrize("metric", MOCK)
def test_weighted_counts_of_corrfunc_on_the_mock(metric):
    columns = {"x": "X", "y": "Y", "z": "Z", "weight": "WEIGHT"}
    mock = daskpar.open_catalog(DATA / "cmass_mock.fits", columns=columns)
    found = daskpar.count_pairs(
        mock, edges=MOCK_EDGES, metric=metric, separations=False, **MOCK_SECOND[metric]
    ).compute(scheduler="threads")
    pairs, sums = MOCK[metric]
    np.testing.assert_array_equal(found["npairs"].values.ravel(), pairs)
    np.testing.assert_allclose(found["weight_sum"].values.ravel(), sums, rtol=1e-12)


@pytest.mark.parametrize(("treatment", "cross_weight"), [("simple", 1.0), ("match", "matched")])
def test_jackknife_covariance_of_treecorr(monkeypatch, treatment, cross_weight):
    (data, weights), (randoms, weights_randoms) = weighted_samples()
    monkeypatch.setattr(steps, "patch_weights", with_self_pairs)
    found = daskpar.correlation(
        data,
        randoms,
        EDGES,
        weights=weights,
        weights_randoms=weights_randoms,
        patch_grid=GRID,
        cross_weight=cross_weight,
    ).compute(scheduler="threads")
    np.testing.assert_allclose(found["xi"], XI, rtol=1e-7)
    expected = np.array(COVARIANCES[treatment])
    np.testing.assert_allclose(found["covariance"], expected, rtol=1e-6, atol=1e-8)


def test_patches_of_a_grid_are_its_boxes():
    (data, _), (randoms, _) = weighted_samples()
    low, high = randoms.min(axis=0), randoms.max(axis=0)
    found = assign_patches(data, box_centres(low, high, GRID))
    np.testing.assert_array_equal(found, patch_numbers(data, randoms))


def test_an_empty_box_and_other_faults_of_the_grid():
    points = np.random.default_rng(1).random((50, 3)) * 10
    with pytest.raises(daskpar.errors.RecipeError, match="hold no point"):
        daskpar.correlation(points, points, [1, 2], patch_grid=(9, 9, 9)).compute(scheduler="sync")
    with pytest.raises(daskpar.errors.RecipeError, match="boxes of patch_grid are the patches"):
        daskpar.correlation(points, points, [1, 2], patch_grid=(2, 2, 1), n_patches=3)
    with pytest.raises(daskpar.errors.RecipeError, match="three numbers of boxes"):
        daskpar.correlation(points, points, [1, 2], patch_grid=(2, 2))
    with pytest.raises(daskpar.errors.RecipeError, match="an integer from 1"):
        daskpar.correlation(points, points, [1, 2], split_randoms=0)
    with pytest.raises(daskpar.errors.RecipeError, match="no pairs of randoms"):
        daskpar.correlation(points, None, [1, 2], boxsize=10, split_randoms=2)
