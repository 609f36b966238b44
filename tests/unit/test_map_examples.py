"""The functions that ship for `map`, against astropy."""

import asyncio

import pytest
from astropy import units
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits
from astropy.stats import sigma_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from daskpar.analyses.map.examples import SPEED_OF_LIGHT, comoving_distance, sky_background, waiting
from daskpar.inputs.synthetic import SyntheticImages
from daskpar.inputs.synthetic_files import write_synthetic


@settings(max_examples=30)
@given(st.floats(0, 10), st.floats(20, 120), st.floats(0.01, 1))
def test_distances(redshift, hubble, omega):
    found = comoving_distance({"redshift": redshift, "hubble": hubble, "omega_matter": omega})
    # Without radiation, as Tcmb0=0 says.
    truth = FlatLambdaCDM(H0=hubble, Om0=omega, Tcmb0=0)
    for name, expected in (
        ("comoving", truth.comoving_distance(redshift)),
        ("luminosity", truth.luminosity_distance(redshift)),
    ):
        assert found[name].unit == units.Mpc
        assert found[name].value == pytest.approx(expected.to_value(units.Mpc), rel=1e-8, abs=1e-9)
    assert [found[name] for name in ("redshift", "hubble", "omega_matter")] == [redshift, hubble, omega]


@pytest.mark.parametrize("redshift", [0.0, 0.5, 10.0])
@pytest.mark.parametrize(("omega", "power"), [(1.0, -0.5), (0.0, 1.0)])
def test_distances_in_closed_form(redshift, omega, power):
    """Einstein and de Sitter: powers of the expansion."""
    found = comoving_distance({"redshift": redshift, "hubble": 70, "omega_matter": omega})
    expected = SPEED_OF_LIGHT / 70 * ((1 + redshift) ** power - 1) / power
    assert found["comoving"].value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "wrong", [{"redshift": -1}, {"hubble": 0}, {"omega_matter": 1.1}, {"redshift": float("nan")}]
)
def test_parameters_out_of_range(wrong):
    with pytest.raises(ValueError, match="out of range"):
        comoving_distance({"redshift": 1, "hubble": 70, "omega_matter": 0.3, **wrong})


def test_waiting():
    assert asyncio.run(waiting({"seconds": 0, "number": 3})) == {"seconds": 0, "number": 3}
    with pytest.raises(ValueError, match="out of range"):
        asyncio.run(waiting({"seconds": -1}))


def test_sky(tmp_path):
    (path,) = write_synthetic(SyntheticImages(n_frames=1, shape=(96, 128), dtype="uint16"), tmp_path)
    found = sky_background(path)
    kept = sigma_clip(fits.getdata(path).astype(float), sigma=3, maxiters=None, masked=False, axis=None)
    assert found["used"] == kept.size / (96 * 128)
    assert found["sky"] == pytest.approx(float(sorted(kept)[kept.size // 2]), abs=0.5)
    assert found["noise"] == pytest.approx(kept.std(), rel=1e-12)


def test_sky_of_nothing(tmp_path):
    fits.PrimaryHDU([[float("nan")]]).writeto(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match="no finite pixel"):
        sky_background(tmp_path / "empty.fits")
