"""Synthetic frames: known truth, the same bits for each frame alone, and valid FITS files."""

import hashlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.modeling.functional_models import Moffat2D
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy._core import _multiarray_umath as umath
from pydantic import ValidationError

from daskpar.errors import OutputError
from daskpar.inputs import images
from daskpar.inputs.synthetic import SyntheticImages, _add_star, synthetic_frame, synthetic_frames
from daskpar.inputs.synthetic_files import write_synthetic

CPU_FEATURES, DISPATCHED = umath.__cpu_features__, umath.__cpu_dispatch__
SMALL = SyntheticImages(n_frames=5, shape=(64, 80), stars=10, cosmic_rays=5, bad_pixels=7)


def digest(frames):
    return hashlib.sha256(b"".join(frame.data.tobytes() for frame in frames)).hexdigest()


@settings(max_examples=10)
@given(seed=st.integers(0, 2**70), dtype=st.sampled_from(["float32", "uint16"]))
def test_a_frame_alone_equals_the_frame_among_others(seed, dtype):
    spec = SMALL.model_copy(update={"dtype": dtype})
    frames = synthetic_frames(spec, seed)
    for i in (3, 0):
        alone = synthetic_frame(spec, i, seed)
        for one, other in zip(alone, frames[i], strict=True):
            np.testing.assert_array_equal(one, other)
    assert frames[0].data.dtype == dtype
    assert len({frame.data.tobytes() for frame in frames}) == 5


def test_more_frames_do_not_change_the_first():
    more = SMALL.model_copy(update={"n_frames": 9})
    assert digest(synthetic_frames(more)[:5]) == digest(synthetic_frames(SMALL))


def test_the_seed_of_the_description_is_the_default():
    default, one, two = (digest(synthetic_frames(SMALL, seed)) for seed in (None, 1, 2))
    assert default == one != two


@pytest.mark.parametrize("beta", [2, 3, 4])
@pytest.mark.parametrize(("y", "x"), [(50.25, 60.5), (0.0, 119.75), (-0.4, 30.0)])
def test_stars_have_the_profile_of_moffat(beta, y, x):
    image = np.zeros((101, 121))
    _add_star(image, y, x, 1e5, 4.0, beta)
    gamma = 4 / 2 / np.sqrt(2 ** (1 / beta) - 1)
    rows, columns = np.indices(image.shape)
    expected = Moffat2D(1e5 * (beta - 1) / (np.pi * gamma**2), x, y, gamma, beta)(columns, rows)
    lit = image > 0
    np.testing.assert_allclose(image[lit], expected[lit], rtol=1e-12)
    assert expected[~lit].max(initial=0) < expected.max() * 1e-4


def test_all_stars_are_in_the_truth():
    flux = {"stars": 40, "flux_min": 100, "flux_max": 100}
    spec = SyntheticImages(shape=(300, 300), sky=0, fwhm=2, moffat_beta=4, **flux)
    total = synthetic_frame(spec, 0).truth.sum()
    assert 0.8 * 4000 < total < 1.05 * 4000


def test_the_noise_has_the_variance_that_was_asked():
    spec = SyntheticImages(shape=(400, 400), stars=0, cosmic_rays=0, bad_pixels=0, sky_gradient=0.4)
    frame = synthetic_frame(spec, 0)
    pull = (frame.data - frame.truth) / np.sqrt(frame.truth / spec.gain + spec.read_noise**2)
    assert abs(pull.mean()) < 5 / 400
    assert abs(pull.std() - 1) < 5 / np.sqrt(2) / 400
    assert frame.truth[:, -1].mean() / frame.truth[:, 0].mean() == pytest.approx(1.2 / 0.8)


def test_the_truth_about_cosmic_rays_and_bad_pixels():
    spec = SyntheticImages(stars=0, shape=(300, 300), sky_gradient=0)
    frames = synthetic_frames(spec)[:3]
    for frame in frames:
        assert (frame.data[frame.bad_pixels] == 0).all()
        excess = (frame.data - frame.truth) / np.sqrt(300 / 1.5 + 25)
        assert (excess[frame.cosmic_rays] > 10).all()
        assert (excess[~frame.cosmic_rays & ~frame.bad_pixels] < 10).all()
        assert not (frame.cosmic_rays & frame.bad_pixels).any()
        assert frame.cosmic_rays.any()
    assert 0 < frames[0].bad_pixels.sum() <= 50
    np.testing.assert_array_equal(frames[0].bad_pixels, frames[2].bad_pixels)
    assert (frames[0].cosmic_rays != frames[1].cosmic_rays).any()


def test_the_truth_is_shared_and_cannot_be_spoilt():
    frame = synthetic_frame(SMALL, 0)
    with pytest.raises(ValueError, match="read-only"):
        frame.truth[0, 0] = 1


def test_bright_pixels_saturate():
    spec = SMALL.model_copy(update={"dtype": "uint16", "sky": 65000.0})
    data = synthetic_frame(spec, 0).data
    assert data.max() == 65535


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_frames": 0}, {"shape": (4, 512)}, {"shape": (512,)}, {"dtype": "int8"}, {"fwhm": 0}, {"gain": -1},
        {"sky": float("nan")}, {"seed": -1}, {"seed": 1.5}, {"moffat_beta": 5}, {"star": 3},
        {"exposure": float("inf")}, {"read_noise": -1}, {"sky_gradient": 2}, {"flux_min": 10, "flux_max": 5},
    ],
)  # fmt: skip
def test_descriptions_are_checked(wrong):
    with pytest.raises(ValidationError):
        SyntheticImages(**wrong)


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_files_hold_the_frames(tmp_path, dtype):
    spec = SMALL.model_copy(update={"dtype": dtype})
    paths = write_synthetic(spec, tmp_path / "deep" / "down", seed=5)
    assert [os.path.basename(path) for path in paths] == [f"frame_{i:05d}.fits" for i in range(5)]
    assert sorted(os.listdir(tmp_path / "deep" / "down")) == [os.path.basename(path) for path in paths]
    for i, path in enumerate(paths):
        with fits.open(path) as hdus:
            hdus.verify("exception")
            np.testing.assert_array_equal(hdus[0].data, synthetic_frame(spec, i, 5).data)
            assert os.stat(path).st_size % 2880 == 0
    stack = images.scan_images(paths)
    assert (stack.dtype, stack.shape, stack.unit, stack.filter[0]) == (dtype, (64, 80), "adu", "V")
    np.testing.assert_allclose(np.diff(stack.mid_time) * 86400, 40, atol=1e-4)
    assert stack.mid_time[0] == pytest.approx(Time("2025-03-01T20:00:15").mjd, abs=1e-9)
    assert stack.warnings == ()
    np.testing.assert_array_equal(images.wcs_shifts(stack), 0)


def test_files_are_the_same_bytes_each_time_and_stay_when_they_are_there(tmp_path):
    first = write_synthetic(SMALL, tmp_path / "a")
    second = write_synthetic(SMALL, tmp_path / "b")
    for one, other in zip(first, second, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()
    identity = images.scan_images(first, root=tmp_path / "a").identity()
    os.truncate(first[1], 3000)
    before = [os.stat(path).st_mtime_ns for path in first]
    write_synthetic(SMALL, tmp_path / "a")
    after = [os.stat(path).st_mtime_ns for path in first]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True, True]
    write_synthetic(SMALL, tmp_path / "a", seed=2)
    assert images.scan_images(first, root=tmp_path / "a").identity() != identity


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot write") as error:
        write_synthetic(SMALL, tmp_path / "file")
    assert error.value.exit_code == 5


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_synthetic(SMALL, tmp_path)
    assert os.listdir(tmp_path) == []


def test_another_kind_of_cpu_makes_the_same_bits():
    code = """
        import hashlib
        from daskpar.inputs.synthetic import SyntheticImages, synthetic_frame
        for beta in (2, 3, 4):
            spec = SyntheticImages(shape=(200, 200), bad_pixels=9, moffat_beta=beta)
            frame = synthetic_frame(spec, 2)
            print(hashlib.sha256(frame.data.tobytes() + frame.truth.tobytes()).hexdigest())
    """
    found = set()
    # Features that this CPU has, so that numpy does not complain about disabling what is absent.
    dispatched = [name for name in DISPATCHED if CPU_FEATURES.get(name)]
    for features in ("", " ".join(dispatched)):
        environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": features}
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1
