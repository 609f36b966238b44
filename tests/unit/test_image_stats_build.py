"""The analysis `image_stats`: its stages, its plan, its options, and one run through a cluster."""

import gzip
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from fits_maker import primary, wcs_keys, write
from test_image_stats import check, clipped

import daskpar
from daskpar import ledger
from daskpar.analyses import image_stats
from daskpar.analyses.image_stats import ImageStatsOptions, with_dask
from daskpar.analyses.image_stats.steps import Problem
from daskpar.durable_graph import durable_graph
from daskpar.errors import InputError
from daskpar.execution import each_stage
from daskpar.inputs.images import scan_images
from daskpar.verification import verify

SHAPE = (8, 64, 48)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    from daskpar.analyses.image_stats import partition as blocks
    from daskpar.inputs import reading_plan, staging

    monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", 12_000)
    monkeypatch.setattr(reading_plan, "MIN_READ", 100)
    monkeypatch.setattr(staging, "LEAST_BYTES", 30_000)


@pytest.fixture
def pixels():
    rng = np.random.default_rng(11)
    values = rng.normal(500, 5, SHAPE).astype(">f4")
    values[rng.random(SHAPE) < 0.05] += 400
    return values


@pytest.fixture
def zipped(tmp_path, pixels):
    for i, frame in enumerate(pixels):
        path = write(tmp_path / f"f{i}.fits", primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1]), frame)
        with open(path, "rb") as source, gzip.open(f"{path}.gz", "wb") as target:
            shutil.copyfileobj(source, target)
        path.unlink()
    return tmp_path


def combining(**options):
    return ImageStatsOptions(combine={"sigma": 2, **options}, frame_stats=None)


def through_stages(record, options):
    """Every stage computed in this process, as a run would."""
    stages, names = each_stage(with_dask.build(record, options)), []
    stage = next(stages)
    while stage is not None:
        names.append(stage.name)
        result = stage.collection.compute(scheduler="synchronous")
        stage = stages.send(result)
    return result, names


@pytest.fixture
def opens(monkeypatch):
    """Names of the input files, as they are opened."""
    from daskpar.inputs import image_read

    seen, original = [], image_read.opened

    def recorded(path):
        seen.append(path)
        return original(path)

    monkeypatch.setattr(image_read, "opened", recorded)
    return seen


def test_compressed_frames_are_decoded_once_in_a_stage_of_their_own(zipped, pixels, opens):
    record = scan_images(str(zipped / "*.gz"))
    opens.clear()
    result, names = through_stages(record, combining())
    assert names == ["staging", "combining"]
    check(result, pixels)
    assert sorted(opens) == sorted(str(zipped / f"f{i}.fits.gz") for i in range(len(pixels)))
    assert len(opens) == image_stats.cost(record, combining())["input_opens"]
    stage = next(with_dask.build(record, combining()))
    graph = durable_graph(stage.collection, check, None)
    assert {graph.label(key).split()[0] for key in graph.nodes} == {"decode"}
    assert list(graph.nodes) == list(durable_graph(stage.collection, check, None).nodes)


def test_compressed_frames_are_decoded_once_without_a_run(zipped, pixels, opens):
    stack = daskpar.open_stack(str(zipped / "*.gz"))
    for part, values in ((stack, pixels), (stack[1:6, 5:50, 7:40], pixels[1:6, 5:50, 7:40])):
        opens.clear()
        check(daskpar.combine(part, sigma=2), values)
        assert len(opens) == len(values)


def test_narrow_bands_are_staged(tmp_path, pixels, monkeypatch):
    from daskpar.inputs import reading_plan

    monkeypatch.setattr(reading_plan, "MIN_READ", 1 << 30)
    for i, frame in enumerate(pixels):
        write(tmp_path / f"f{i}.fits", primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1]), frame)
    result, names = through_stages(scan_images(str(tmp_path / "*.fits")), combining())
    assert names == ["staging", "combining"]
    check(result, pixels)


@pytest.mark.parametrize("staged", [False, True])
def test_masks_and_uncertainties_of_the_inputs(tmp_path, pixels, staged):
    rng = np.random.default_rng(1)
    flags = rng.choice([0, 0, 0, 1, 2, 4], SHAPE).astype(np.int16)
    error = rng.uniform(1, 2, SHAPE).astype("f4")
    end = "fits.gz" if staged else "fits"
    for i in range(SHAPE[0]):
        planes = [
            fits.PrimaryHDU(pixels[i]),
            fits.ImageHDU(flags[i], name="DQ"),
            fits.ImageHDU(error[i], name="ERR"),
        ]
        fits.HDUList(planes).writeto(tmp_path / f"f{i}.{end}")
    record = scan_images(str(tmp_path / "f*"), None, "DQ", [1, 4], "ERR")
    combine = {"rejection": "none", "weights": "inverse_variance"}
    result, names = through_stages(record, ImageStatsOptions(combine=combine))
    assert len(names) == 1 + staged
    use = (flags & 5) == 0
    weight = use / error.astype("f8") ** 2
    with np.errstate(invalid="ignore"):
        mean = (weight * pixels).sum(axis=0) / weight.sum(axis=0)
        sigma = np.sqrt((weight**2 * error.astype("f8") ** 2).sum(axis=0)) / weight.sum(axis=0)
    np.testing.assert_allclose(result.combined, mean, rtol=1e-6)
    np.testing.assert_allclose(result.uncertainty_propagated, sigma, rtol=1e-5)
    np.testing.assert_array_equal(result["count"], use.sum(axis=0))
    np.testing.assert_array_equal(result["frame_count"], use.sum(axis=(1, 2)))
    median = np.nanmedian(np.where(use, pixels, np.nan), axis=(1, 2))
    np.testing.assert_allclose(result["frame_median"], median, rtol=1e-6)
    by_hand = Problem(record, ImageStatsOptions(combine=None)).statistics((0, SHAPE[0]))
    np.testing.assert_array_equal(by_hand["median"], result["frame_median"])
    opened = daskpar.open_stack(str(tmp_path / "f*"), mask="DQ", dq_bits=[1, 4])
    np.testing.assert_array_equal(daskpar.frame_stats(opened)["median"], result["frame_median"])


def test_frames_that_are_not_aligned_are_refused(tmp_path, pixels):
    for i, frame in enumerate(pixels):
        cards = primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], **wcs_keys(shift=0.5 * (i == 3)))
        write(tmp_path / f"f{i}.fits", cards, frame)
    record = scan_images(str(tmp_path / "*.fits"))
    stack = daskpar.open_stack(str(tmp_path / "*.fits"))
    for attempt in (
        lambda: with_dask.build(record, combining()),
        lambda: daskpar.combine(stack),
        lambda: daskpar.combine(2 * stack),
    ):
        with pytest.raises(InputError, match=r"f3\.fits.*0\.50 pixels off"):
            attempt()
    check(with_dask.build(record, combining(align="pixels")), pixels)
    check(daskpar.combine(stack[:3], sigma=1.1), pixels[:3], 1.1)


def test_a_run_through_a_cluster_writes_what_it_should(zipped, pixels, runs):
    recipe = {
        "name": "staged",
        "analysis": "image_stats",
        "inputs": {"files": str(zipped / "*.gz")},
        "options": {"combine": {"sigma": 2}, "frame_stats": None},
        "outputs": ["combined.fits", "preview.png"],
    }
    result = daskpar.run(recipe)
    mean, gone = clipped(pixels)
    with fits.open(result.run.path / "results" / "combined.fits") as written:
        names = [hdu.name for hdu in written]
        assert names[1:6] == ["SCI", "ERR", "COUNT", "REJLOW", "REJHIGH"]
        assert written[0].header["NCOMBINE"] == SHAPE[0]
        np.testing.assert_allclose(written["SCI"].data, mean, rtol=3e-7)
        np.testing.assert_array_equal(written["REJLOW"].data + written["REJHIGH"].data, gone)
        table = written["FRAME"].data
        assert (table["frame_rejected_low"] + table["frame_rejected_high"]).sum() == gone.sum()
    assert (result.run.path / "results" / "preview.png").stat().st_size > 1000
    assert sys.modules["daskpar"] is daskpar


@pytest.mark.parametrize("packed", ["f*.fits.gz", "f*.fits.fz", "f*.fits[SCI,2]"])
def test_what_was_decoded_is_removed_when_the_run_is_done(tmp_path, runs, packed):
    values = np.random.default_rng(5).integers(900, 1100, (4, 520, 530)).astype(np.float32)
    for i, frame in enumerate(values):
        name, image = tmp_path / f"f{i}.fits", fits.ImageHDU(frame, name="SCI")
        if packed.endswith("fz"):
            image = fits.CompImageHDU(frame.astype(np.int32), compression_type="RICE_1")
        more = [fits.ImageHDU(frame + 7, name="SCI", ver=2)] if packed.endswith("]") else []
        ending = ".fz" if packed.endswith("fz") else ""
        fits.HDUList([fits.PrimaryHDU(), image, *more]).writeto(f"{name}{ending}")
        if packed.endswith("gz"):
            with open(name, "rb") as source, gzip.open(f"{name}.gz", "wb") as target:
                shutil.copyfileobj(source, target)
    recipe = {
        "name": "packed",
        "analysis": "image_stats",
        "inputs": {"files": str(tmp_path / packed)},
        "options": {"combine": {"rejection": "none"}, "frame_stats": None},
        "outputs": ["combined.fits"],
    }
    run = daskpar.run(recipe).run
    expected = values.astype("f8").mean(axis=0) + 7 * packed.endswith("]")
    written = fits.getdata(run.path / "results" / "combined.fits", "SCI")
    np.testing.assert_allclose(written, expected, rtol=1e-6)
    labels = {e["key"]: e["label"] for e, _ in run.events() if e["event"] == "block"}
    staged = {label.split()[0] for label in labels.values()} == {"decode", "combine"}
    assert staged != packed.endswith("]")
    # What was decoded is gone, and nobody misses it.
    assert {labels[key].split()[0] for key in ledger.scan(run.ledger)[0]} == {"combine"}
    assert {finding.state for finding in verify(run.path)} <= {"ok", "note"}
    assert daskpar.run(run).run.path == run.path
