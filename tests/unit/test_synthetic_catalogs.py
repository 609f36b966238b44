"""Seeded catalogs: any part alone, the same bits, and the truth they promise."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial import cKDTree

from daskpar.inputs.catalogs import read_piece, scan_catalog
from daskpar.inputs.synthetic_catalogs import CHUNK, SyntheticCatalog, expected_pairs, generate


@pytest.mark.parametrize("kind", ["uniform", "clustered", "sky"])
def test_any_part_can_be_made_alone(kind):
    spec = SyntheticCatalog(kind=kind, n_points=CHUNK + 5000)
    whole = np.stack(generate(spec, 0, spec.n_points))
    cuts = [0, 17, CHUNK - 1, CHUNK + 3, spec.n_points]
    parts = [np.stack(generate(spec, a, b)) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    other = SyntheticCatalog(kind=kind, n_points=100, seed=2)
    assert not np.array_equal(np.stack(generate(other, 0, 100)), whole[:, :100])


def test_pieces_of_a_record_are_the_catalog():
    spec = SyntheticCatalog(n_points=3000, survey=True)
    catalog = scan_catalog(spec)
    parts = [read_piece(catalog, piece).positions for piece in catalog.pieces(10_000)]
    together = np.concatenate(parts)
    np.testing.assert_array_equal(together.T, np.stack(generate(spec, 0, 3000)))
    distance = np.sqrt((together**2).sum(axis=1)) / spec.boxsize
    assert 300 < len(together) < 2000
    assert distance.min() >= 0.45
    assert distance.max() < 0.95


@pytest.mark.parametrize("kind", ["uniform", "clustered"])
def test_pair_counts_follow_the_truth(kind):
    edges = np.array([0.5, 2, 4, 6, 8, 12, 20.0])
    counts = []
    for seed in range(12):
        spec = SyntheticCatalog(kind=kind, n_points=4000, n_clusters=400, boxsize=200, seed=seed)
        tree = cKDTree(np.stack(generate(spec, 0, 4000), axis=1), boxsize=spec.boxsize)
        counts.append(np.diff(tree.count_neighbors(tree, edges)))
    truth = expected_pairs(spec, edges)
    error = np.std(counts, axis=0, ddof=1) / np.sqrt(len(counts))
    assert np.all(np.abs(np.mean(counts, axis=0) - truth) < 5 * error + 0.01 * truth)


def test_skies_are_uniform_on_the_sphere_and_in_volume():
    spec = SyntheticCatalog(kind="sky", n_points=20_000, dec=(-90, 90), ra=(0, 360), redshift=(0, 1))
    ra, dec, z = generate(spec, 0, 20_000)
    for fractions in (ra / 360, (np.sin(np.radians(dec)) + 1) / 2, z**3):
        histogram = np.histogram(fractions, 20, (0, 1))[0]
        assert ((histogram - 1000) ** 2 / 1000).sum() < 60  # chi² with 19 degrees of freedom


def test_points_have_the_same_bits_on_a_lesser_cpu():
    code = (
        "import hashlib, numpy as np\n"
        "from daskpar.inputs.synthetic_catalogs import SyntheticCatalog, generate\n"
        "for kind in ('uniform', 'clustered', 'sky'):\n"
        "    made = generate(SyntheticCatalog(kind=kind, n_points=5000, survey=kind != 'sky'), 0, 5000)\n"
        "    print(hashlib.sha256(np.stack(made).tobytes()).hexdigest())\n"
    )

    def run(**env):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, **env},
            capture_output=True,
            check=True,
        )
        return done.stdout

    assert run() == run(NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR")


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_points": 0},
        {"boxsize": 0},
        {"seed": -1},
        {"dec": (0, 91)},
        {"ra": (5, 5)},
        {"kind": "sky", "survey": True},
    ],
)
def test_descriptions_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        SyntheticCatalog(**wrong)
