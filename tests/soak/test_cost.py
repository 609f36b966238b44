"""What ledger, checksums and TLS cost, and what many workers would do; nothing else runs beside it."""

import shutil
import sys

import parts
import pytest

sys.path.insert(0, str(parts.ROOT / "tests" / "benchmarks"))

import bench_simulation
from bench_trust import cases, measured, said

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

PAIRS = 5


def test_costs(tally, tmp_path, request):
    recipes = list(cases(request.config.getoption("--soak-scale")).items())

    def attempt(number):
        name, recipe = recipes[number]
        folder = tmp_path / name
        folder.mkdir()
        try:
            figures = measured(recipe, folder, PAIRS)
        finally:
            shutil.rmtree(folder)  # gigabytes
        print(said(name, figures))
        return {"case": name, "ratio": round(figures["ratio"], 4), "share": round(figures["share"], 4)}

    tally("costs").each(attempt)


def test_sleepers(tally, request):
    workers = max(4, round(64 * request.config.getoption("--soak-scale")))

    def attempt(number):
        found = bench_simulation.asleep(workers, 2 * workers, 0.5)
        print(bench_simulation.said(found))
        assert abs(found["predicted"] / found["took"] - 1) < 0.5
        return {name: round(found[name], 3) for name in ("took", "predicted", "error")}

    tally("sleepers").each(attempt)
