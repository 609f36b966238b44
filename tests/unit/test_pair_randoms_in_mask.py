"""Random points in a survey mask as the randoms of pair counts, from a recipe."""

import json

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from scipy import stats

import daskpar
from daskpar.analyses.monte_carlo.trials.survey import Box, SurveyMask, longitude_latitude, random_catalog
from daskpar.analyses.pair_counts.masked import MaskedRandoms, depths, write_masked

AREA = {"ra": [350, 380], "dec": [-10, 20]}
HOLE = {"ra": 5, "dec": 5, "radius": 6}


def test_points_fill_the_mask_and_its_depth(tmp_path):
    import pyarrow.parquet as parquet

    spec = MaskedRandoms(areas=[AREA], holes=[HOLE], n_points=3000, seed=4, redshift=(0.2, 0.5))
    path = write_masked(spec, tmp_path)
    table = parquet.read_table(path)
    assert table.column_names == list(spec.columns) == ["ra", "dec", "redshift"]
    ra, dec, z = (table[name].to_numpy() for name in spec.columns)
    assert ra.size == 3000
    assert np.all((ra >= 350 - 1e-9) | (ra <= 20 + 1e-9))
    assert np.all((dec >= -10 - 1e-9) & (dec <= 20 + 1e-9))
    near = (ra - 5) ** 2 + (dec - 5) ** 2 < 5.5**2  # small enough for the plane
    assert not near.any()
    share = (z**3 - 0.2**3) / (0.5**3 - 0.2**3)
    assert stats.kstest(share, "uniform").pvalue > 1e-4
    before = (tmp_path / "masked.parquet").stat().st_mtime_ns
    assert write_masked(spec, tmp_path) == path
    assert (tmp_path / "masked.parquet").stat().st_mtime_ns == before
    np.testing.assert_array_equal(depths(4, 1000, (0.2, 0.5))[:10], z[:10])


def test_what_contradicts_itself_is_refused():
    with pytest.raises(ValidationError, match="keep one"):
        MaskedRandoms(areas=[AREA], redshift=(0.1, 0.2), distance=(1, 2))
    with pytest.raises(ValidationError, match="rise"):
        MaskedRandoms(areas=[AREA], distance=(2, 1))


def test_a_recipe_counts_pairs_with_them(tmp_path, cli):
    points = longitude_latitude(
        random_catalog(SurveyMask((Box((350.0, 380.0), (-10.0, 20.0)),)), 800, seed=9)
    )
    lines = ["ra,dec", *(f"{ra!r},{dec!r}" for ra, dec in points.tolist())]
    (tmp_path / "galaxies.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "threads.yaml").write_text("kind: local\nworkers: 1\nprocesses: false\ndashboard: false\n")
    edges = [0.5, 1.0, 2.0, 4.0]
    mask = {"areas": [AREA], "n_points": 3000, "seed": 2}
    recipe = {
        "name": "survey", "analysis": "pair_counts", "outputs": ["xi.nc"],
        "inputs": {
            "files": "galaxies.csv", "columns": {"ra": "ra", "dec": "dec"}, "randoms": {"mask": mask},
        },
        "options": {"metric": "theta", "edges": edges},
    }  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = cli("run", "recipe.yaml", "-p", "threads.yaml", "--json")
    assert done.code == 0, done.stderr
    found = daskpar.open_run(json.loads(done.stdout)["path"]).result().dataset.compute()
    randoms = longitude_latitude(
        random_catalog(SurveyMask((Box((350.0, 380.0), (-10.0, 20.0)),)), 3000, seed=2)
    )
    expected = daskpar.correlation(points, randoms, edges=edges, metric="theta").compute(
        scheduler="synchronous"
    )
    np.testing.assert_array_equal(found["xi"], expected["xi"])
    assert np.all(np.abs(found["xi"].values) < 0.2)  # unclustered
    again = cli("resume", "last", "--json")
    assert again.code == 0, again.stderr
    assert cli("verify", "last", "--json").code == 0
