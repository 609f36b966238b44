"""`combine` on stacks of files: equal to astropy and to a whole read, lazy, small, known by what it is."""

import subprocess
import sys
import warnings

import cloudpickle
import dask
import numpy as np
import pytest
from astropy.io import fits
from astropy.stats import sigma_clip
from fits_maker import primary, wcs_keys, write

import daskpar
from daskpar.durable_graph import durable_graph
from daskpar.errors import InputError, RecipeError

SHAPE = (9, 60, 37)


@pytest.fixture
def pixels():
    rng = np.random.default_rng(7)
    values = rng.normal(1000, 20, SHAPE).astype(">f4")
    values[rng.random(SHAPE) < 0.03] += 900
    values[2, 5, 6], values[3, 5, 6], values[:, 8, 9] = np.nan, np.inf, np.nan
    return values


@pytest.fixture
def folder(tmp_path, pixels):
    for i, frame in enumerate(pixels):
        cards = primary(NAXIS1=SHAPE[2], NAXIS2=SHAPE[1], EXPTIME=10.0 + i, BUNIT="adu", **wcs_keys())
        write(tmp_path / f"f{i}.fits", cards, frame)
    return tmp_path


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of few rows, so that a small stack has several."""
    from daskpar.analyses.image_stats import partition as blocks

    monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", 10_000)


def opened(folder, **planes):
    return daskpar.open_stack(str(folder / "f*.fits"), **planes)


def clipped(values, sigma=2.0):
    """The mean of what astropy leaves, and how many it takes away."""
    values = np.where(np.isfinite(values), values.astype(np.float64), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = sigma_clip(values, sigma=sigma, maxiters=5, axis=0).filled(np.nan)
        return np.nanmean(kept, axis=0), (np.isfinite(values) & np.isnan(kept)).sum(axis=0)


def check(result, values, sigma=2.0):
    mean, gone = clipped(values, sigma)
    found = result.compute(scheduler="synchronous")
    np.testing.assert_array_equal(found.rejected_low + found.rejected_high, gone)
    np.testing.assert_allclose(found.combined, mean, rtol=3e-7)
    np.testing.assert_array_equal(found["count"], np.isfinite(values).sum(axis=0) - gone)
    assert found.frame_rejected_low.sum() + found.frame_rejected_high.sum() == gone.sum()
    return found


def test_equals_astropy_whatever_the_blocks(folder, pixels, monkeypatch):
    from daskpar.analyses.image_stats import partition as blocks

    found = []
    for least, most in ((4 << 20, 4 << 20), (10_000, 4 << 20), (1, 4 << 20), (1, 1)):
        monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", least)
        monkeypatch.setattr(blocks, "BAND_BYTES", most)  # 1: a row is a band, and a block has some
        found.append(check(daskpar.combine(opened(folder), sigma=2.0), pixels))
    assert all(found[0].identical(other) for other in found[1:])
    assert found[0].combined.dtype == np.float32
    assert found[0].combined.attrs["unit"] == "adu"


@pytest.mark.usefixtures("small_blocks")
def test_uint16_files_are_read_as_stored(tmp_path):
    values = np.random.default_rng(3).integers(0, 65535, SHAPE, np.uint16)
    for i, frame in enumerate(values):
        fits.writeto(tmp_path / f"f{i}.fits", frame)
    check(daskpar.combine(opened(tmp_path), sigma=1.5), values, 1.5)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(
    ("expression", "plain"),
    [
        (lambda s, b, f: (s - b) / f, lambda v, b, f: (v.astype("f4") - b) / f),
        (lambda s, b, f: 2 * s, lambda v, b, f: 2 * v.astype("f4")),
        (lambda s, b, f: s[::2, 10:50], lambda v, b, f: v[::2, 10:50]),
        (lambda s, b, f: s[1:, 7:31, 5:20], lambda v, b, f: v[1:, 7:31, 5:20]),
        (lambda s, b, f: s[::-1], lambda v, b, f: v[::-1]),
        (lambda s, b, f: s[:, ::3], lambda v, b, f: v[:, ::3]),
        (lambda s, b, f: s[:, ::-1, ::-2], lambda v, b, f: v[:, ::-1, ::-2]),
        (lambda s, b, f: s[[0, 4, 5, 8]], lambda v, b, f: v[[0, 4, 5, 8]]),
        (lambda s, b, f: s[::2, 10:50] - b[10:50], lambda v, b, f: v[::2, 10:50].astype("f4") - b[10:50]),
        (lambda s, b, f: s[:, 1:41] - s[:, 0:40].data, lambda v, b, f: v[:, 1:41] - v[:, 0:40]),
        (lambda s, b, f: s.astype("f8").chunk({"frame": 2, "x": 10}), lambda v, b, f: v.astype("f8")),
        (lambda s, b, f: s.compute(), lambda v, b, f: v),
    ],
    ids=map(str, range(12)),
)
def test_arithmetic_and_slices(folder, pixels, expression, plain):
    rng = np.random.default_rng(1)
    bias, flat = rng.normal(100, 3, SHAPE[1:]).astype("f4"), rng.normal(1, 0.1, SHAPE[1:]).astype("f4")
    with np.errstate(invalid="ignore"):
        check(daskpar.combine(expression(opened(folder), bias, flat), sigma=2.0), plain(pixels, bias, flat))


@pytest.mark.usefixtures("small_blocks")
def test_a_slice_opens_only_its_frames_and_reads_only_its_rows(folder, monkeypatch):
    from daskpar.inputs import image_read

    seen, original = [], image_read._read_stored

    def recorded(stack, file, frame, start, out, plane):
        seen.append((stack.paths[frame], start, start + len(out)))
        return original(stack, file, frame, start, out, plane)

    monkeypatch.setattr(image_read, "_read_stored", recorded)
    stack = opened(folder)
    for part in (stack[::2, 10:50], stack[::2, 10:50] * 2):
        seen.clear()
        daskpar.combine(part).compute(scheduler="synchronous")
        names = {path.rpartition("/")[2] for path, *_ in seen}
        assert names == {f"f{i}.fits" for i in (0, 2, 4, 6, 8)}
        assert sum(stop - start for _, start, stop in seen) == 5 * 40


def test_the_reference_pixel_moves_with_a_slice(folder):
    stack = opened(folder)
    before = fits.Header.fromstring(stack.attrs["wcs_header"])
    for part in (stack[:, 7:31, 5:20], stack[:, 7:31, 5:20] * 2):
        header = fits.Header.fromstring(daskpar.combine(part).attrs["wcs_header"])
        assert header["CRPIX1"] == before["CRPIX1"] - 5
        assert header["CRPIX2"] == before["CRPIX2"] - 7
        assert header["CRVAL1"] == before["CRVAL1"]
    assert not daskpar.combine(stack[:, ::2]).attrs.get("wcs_header")


@pytest.mark.usefixtures("small_blocks")
def test_arithmetic_needs_at_most_twice_the_tasks(folder):
    stack = opened(folder)
    bias = np.ones(SHAPE[1:], "f4")

    def tasks(part):
        return len(durable_graph(daskpar.combine(part), tasks, None).graph)

    plain = tasks(stack)
    assert plain > 10
    for part in (2 * stack, (stack - bias) / bias, stack[::2], (stack - bias)[::2], stack[:, 10:50] - 1):
        assert tasks(part) <= 2 * plain


def test_large_arrays_do_not_travel_in_the_graph(tmp_path):
    values = np.random.default_rng(2).normal(100, 3, (4, 700, 600)).astype("f4")
    for i, frame in enumerate(values):
        fits.writeto(tmp_path / f"f{i}.fits", frame)
    stack = opened(tmp_path)
    for part, plain in ((stack - values[0], values - values[0]), (stack.compute(), values)):
        result = daskpar.combine(part, rejection="none")
        assert len(cloudpickle.dumps(dict(result.__dask_graph__()))) < 200_000
        np.testing.assert_allclose(
            result.combined.compute(scheduler="synchronous"), plain.mean(axis=0, dtype="f8"), atol=1e-4
        )


@pytest.mark.usefixtures("small_blocks")
def test_building_computes_and_reads_nothing(folder):
    def refuse(*args, **kwargs):
        raise AssertionError("computed while building")

    stack, bias = opened(folder), np.ones(SHAPE[1:], "f4")
    seen = []
    sys.addaudithook(lambda event, args: seen.append(str(args[0])) if event == "open" else None)
    with dask.config.set(scheduler=refuse):
        daskpar.combine(stack)
        daskpar.combine((stack[::2] - bias) / bias, mask=bias > 3)
        daskpar.frame_stats(stack)
    assert not [path for path in seen if path.endswith(".fits")]


def test_the_graph_does_not_grow_with_the_frames(tmp_path):
    write(tmp_path / "f0.fits", primary(NAXIS1=512, NAXIS2=512), np.zeros((512, 512), ">f4"))
    for i in range(1, 400):
        (tmp_path / f"f{i}.fits").hardlink_to(tmp_path / "f0.fits")
    result = daskpar.combine(opened(tmp_path))
    graph = durable_graph(result, check, None)
    assert len(graph.nodes) == 25
    assert len(graph.graph) < 25 + 40
    assert len(cloudpickle.dumps(graph.graph)) < 250_000


KEYS = """
import sys, daskpar
from daskpar.durable_graph import durable_graph
stack = daskpar.open_stack(sys.argv[1])
for part in (stack, stack[::2, 3:9], 2 * stack - 1, stack[:3].load()):
    print(*durable_graph(daskpar.combine(part, sigma=2), print, None).nodes)
"""


def test_keys_are_the_same_in_every_process_and_follow_options(folder):
    done = subprocess.run(
        [sys.executable, "-c", KEYS, str(folder / "f*.fits")], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    stack = opened(folder)

    def nodes(part, **options):
        return list(durable_graph(daskpar.combine(part, **options), check, None).nodes)

    for line, part in zip(lines, (stack, stack[::2, 3:9], 2 * stack - 1, stack[:3].load()), strict=True):
        assert line == nodes(part, sigma=2)
    others = [{"sigma": 2.5}, {"sigma": 2, "mask": np.zeros(SHAPE[1:], bool)}, {"sigma": 2, "grow": 1}]
    for options in others:
        assert set(nodes(stack, **options)).isdisjoint(lines[0])


@pytest.mark.usefixtures("small_blocks")
def test_masks_weights_and_uncertainties(folder, pixels):
    rng = np.random.default_rng(5)
    stack, good = opened(folder), np.isfinite(pixels)
    error = rng.uniform(1, 3, SHAPE)
    mask = rng.random(SHAPE) < 0.2
    use = good & ~mask
    values = np.where(use, pixels, 0).astype("f8")
    w = use / error**2
    with np.errstate(invalid="ignore"):
        mean = (values * w).sum(axis=0) / w.sum(axis=0)
        sigma = np.sqrt((w**2 * error**2).sum(axis=0)) / w.sum(axis=0)
    lazy = dask.array.from_array(mask, chunks=(3, 7, 11))
    for masked in (mask, lazy):
        found = daskpar.combine(
            stack, rejection="none", mask=masked, uncertainty=error, weights="inverse_variance"
        ).compute(scheduler="synchronous")
        np.testing.assert_allclose(found.combined, mean, rtol=1e-6)
        np.testing.assert_allclose(found.uncertainty_propagated, sigma, rtol=1e-6)
        np.testing.assert_array_equal(found["count"], use.sum(axis=0))


@pytest.mark.usefixtures("small_blocks")
def test_scaling_and_zero(folder, pixels):
    scaling, zero = np.linspace(1, 2, SHAPE[0]), np.arange(SHAPE[0])
    found = daskpar.combine(opened(folder), rejection="none", scaling=scaling, zero=zero, method="sum")
    values = np.where(np.isfinite(pixels), pixels, np.nan).astype("f8")
    expected = np.nansum((values - zero[:, None, None]) * scaling[:, None, None], axis=0)
    expected[np.isnan(values).all(axis=0)] = np.nan
    np.testing.assert_allclose(found.combined.compute(scheduler="synchronous"), expected, rtol=1e-6)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("section", [None, (5, 41, 3, 30)])
def test_levels_from_statistics_and_exposures(folder, pixels, section):
    stack = opened(folder)
    top, bottom, left, right = section or (0, SHAPE[1], 0, SHAPE[2])
    cut = np.where(np.isfinite(pixels), pixels, np.nan).astype("f8")[:, top:bottom, left:right]
    median, mean = np.nanmedian(cut, axis=(1, 2)), np.nanmean(cut, axis=(1, 2))
    exposure = 10.0 + np.arange(SHAPE[0])
    for names, numbers in (
        ({"scaling": "median"}, {"scaling": median[0] / median}),
        ({"zero": "mean"}, {"zero": mean - mean[0]}),
        ({"scaling": "exposure"}, {"scaling": exposure[0] / exposure}),
    ):
        measured = daskpar.combine(stack, section=section, **names).compute(scheduler="synchronous")
        given = daskpar.combine(stack, **numbers).compute(scheduler="synchronous")
        np.testing.assert_allclose(measured.combined, given.combined, rtol=1e-6)
        np.testing.assert_array_equal(measured["count"], given["count"])


def test_growing_crosses_the_borders_of_blocks(folder, monkeypatch):
    from daskpar.analyses.image_stats import partition as blocks

    found = []
    for least, most in ((4 << 20, 4 << 20), (1, 4 << 20), (1, 1)):
        monkeypatch.setattr(blocks, "LEAST_BAND_BYTES", least)
        monkeypatch.setattr(blocks, "BAND_BYTES", most)
        for part in (opened(folder), opened(folder) * 1):
            found.append(daskpar.combine(part, sigma=2.5, grow=2.5).compute(scheduler="synchronous"))
    assert int(found[0].rejected_grown.sum()) > 0
    for other in found[1:]:
        for name in found[0].data_vars:
            np.testing.assert_array_equal(found[0][name], other[name], err_msg=name)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"method": "avarage"}, RecipeError),
        ({"rejection": "sigmaclip"}, RecipeError),
        ({"sigma": -1}, RecipeError),
        ({"nhih": 2}, RecipeError),
        ({"rejection": "minmax", "nlow": 9}, RecipeError),
        ({"weights": np.ones(9), "method": "median"}, RecipeError),
        ({"weights": "inverse_variance"}, RecipeError),
        ({"grow": -1}, RecipeError),
        ({"scaling": [1, 2]}, InputError),
        ({"scaling": "mode"}, RecipeError),
        ({"zero": "exposure"}, RecipeError),
        ({"zero": "median", "section": (0, 5, 30, 99)}, RecipeError),
        ({"align": "guess"}, RecipeError),
        ({"mask": np.zeros((3, 3), bool)}, InputError),
    ],
)
def test_wrong_options_are_refused_while_building(folder, options, error):
    with pytest.raises(error):
        daskpar.combine(opened(folder), **options)
