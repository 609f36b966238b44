"""A few hundred inputs with random bytes changed; the long tests try them for ten minutes."""

import pytest
from fuzzing import KINDS, fuzz


@pytest.mark.parametrize(("kind", "cases"), [("images", 150), ("catalogs", 100), ("recipes", 40)])
def test_changed_bytes_are_refused_or_read_as_others_read_them(tmp_path, kind, cases):
    counts = fuzz(kind, tmp_path, seed=1, cases=cases)
    assert counts["cases"] == cases
    assert counts["refused"] > cases // 10
    assert counts["same"] > cases // 50
    assert set(KINDS) == {"images", "catalogs", "recipes"}
