"""Files opened, counted where the interpreter opens them, against what the plan said."""

import gzip
import sys

import numpy as np
import pytest
from fits_maker import primary, write

from daskpar.analyses.image_stats import ANALYSIS, ImageStatsOptions, cost, open_images
from daskpar.analysis import Where
from daskpar.execution import each_stage

SHAPE = (6, 64, 48)
SEEN: list[str] | None = None


def heard(event, arguments):
    """Note what is opened, while somebody wants to know; a hook stays for ever."""
    if event == "open" and SEEN is not None:
        SEEN.append(str(arguments[0]))


@pytest.fixture(scope="module")
def _hears():
    sys.addaudithook(heard)


@pytest.fixture
def opens(monkeypatch, _hears):
    """Names of all files, as they are opened."""
    monkeypatch.setattr(f"{__name__}.SEEN", [])
    return SEEN


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(6)
    for i in range(SHAPE[0]):
        cards = primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], EXPTIME=10.0)
        write(tmp_path / f"f{i}.fits", cards, rng.normal(500, 5, SHAPE[1:]).astype(">f4"))
        write(tmp_path / f"m{i}.fits", cards, np.zeros(SHAPE[1:], ">f4"))
    for name in ("bias", "flat"):
        write(tmp_path / f"{name}.fits", cards, np.ones(SHAPE[1:], ">f4"))
    return tmp_path


@pytest.mark.parametrize("inputs", [{}, {"mask": "m?.fits"}, {"bias": "bias.fits"}])
@pytest.mark.parametrize("how", ["direct", "staged", "gzip"])
def test_opens_are_those_of_the_plan(folder, opens, monkeypatch, how, inputs):
    planned, seen = opens_planned_and_seen(folder, opens, monkeypatch, how, inputs)
    assert len(seen) == planned


@pytest.mark.parametrize("room", [0, 1 << 20])
def test_calibration_frames_are_read_once_where_they_fit_in_memory(folder, opens, monkeypatch, room):
    from daskpar.analyses.image_stats import calibration

    monkeypatch.setattr(calibration, "KEPT_BYTES", room)
    inputs, options = {"bias": "bias.fits", "flat": "flat.fits"}, ImageStatsOptions(combine=None)
    planned, seen = opens_planned_and_seen(folder, opens, monkeypatch, "direct", inputs, options)
    assert len(seen) == planned == SHAPE[0] + 2 * (1 if room else SHAPE[0])
    assert calibration._KEPT.nbytes <= room


def opens_planned_and_seen(folder, opens, monkeypatch, how, inputs, options=None):
    """Return how many opens the plan says, and the input files that the analysis opens."""
    from daskpar.analyses.image_stats import partition
    from daskpar.inputs import reading_plan, staging

    monkeypatch.setattr(partition, "LEAST_BAND_BYTES", 12_000)
    monkeypatch.setattr(staging, "LEAST_BYTES", 30_000)
    monkeypatch.setattr(reading_plan, "MIN_READ", 1 << 30 if how == "staged" else 100)
    if how == "gzip":
        for path in folder.glob("f*.fits"):
            (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    where = Where(folder, lambda files: [str(folder / files)], folder / "scratch")
    given = {"mask": str(folder / inputs["mask"])} if "mask" in inputs else inputs
    record = open_images({"files": "f?.fits*", **given}, where)
    options = options or ImageStatsOptions()
    planned = cost(record, options)
    assert planned["reading"].startswith("direct" if how == "direct" else "staged")
    opens.clear()
    stages = each_stage(ANALYSIS.build(record, options))
    stage = next(stages)
    while stage is not None:
        result = stage.collection.compute(scheduler="synchronous")
        stage = stages.send(result)
    return planned["input_opens"], [path for path in opens if ".fits" in path]
