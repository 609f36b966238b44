"""FITS outputs as astropy reads them: values, checksums, headers, tables."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs_data import FRAMES, image, map_result, record, stack_result

from daskpar.errors import RecipeError
from daskpar.outputs import bands, fits_stream, read_provenance, write_outputs


def written(dataset: xr.Dataset, folder: Path, name: str = "combined.fits") -> Path:
    return write_outputs(dataset, [name], folder, overwrite=True, provenance=record())[0]


def test_a_stack_as_astropy_reads_it(tmp_path: Path) -> None:
    dataset = stack_result()
    path = written(dataset, tmp_path)
    with fits.open(path, checksum=True) as opened:  # a wrong checksum warns, and warnings are errors
        opened.verify("exception")
        assert [hdu.name for hdu in opened] == [
            "PRIMARY", "SCI", "COUNT", "ERR", "REJLOW", "REJHIGH", "FRAME", "Q", "PROVENANCE"
        ]  # fmt: skip
        for extension, name in (("SCI", "combined"), ("ERR", "uncertainty"), ("COUNT", "count")):
            np.testing.assert_array_equal(opened[extension].data, dataset[name].values)
            assert opened[extension].data.dtype.newbyteorder("=") == dataset[name].dtype
        primary, science = opened[0].header, opened["SCI"].header
    assert primary["NCOMBINE"] == FRAMES
    assert primary["EXPTIME"] == 60
    assert primary["MJD-AVG"] == 60003
    assert primary["IMCMB007"] == r"night 1/\xfc6.fits"
    assert "name: m13" in primary["HISTORY"]
    assert science["BUNIT"] == "adu"
    assert "DATE" not in primary
    expected = WCS(fits.Header.fromstring(dataset["combined"].attrs["wcs_header"]))
    assert WCS(science).wcs.compare(expected.wcs)
    assert read_provenance(path) == record()


def test_the_bytes_depend_on_the_result_only(tmp_path: Path) -> None:
    one = written(stack_result(), tmp_path).read_bytes()
    rechunked = stack_result().chunk({"y": 7, "x": 11})
    assert written(rechunked, tmp_path).read_bytes() == one
    assert written(stack_result().compute(), tmp_path).read_bytes() == one


@pytest.mark.parametrize("dtype", ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    dataset = xr.Dataset({"any": image(dtype)})
    with fits.open(written(dataset, tmp_path), checksum=True) as opened:
        opened.verify("exception")
        np.testing.assert_array_equal(opened["SCI"].data, dataset["any"].values)


def test_other_dimensions_and_names(tmp_path: Path) -> None:
    planes = np.arange(24.0).reshape(2, 3, 4)
    dataset = xr.Dataset(
        {
            "planes": (("k", "y", "x"), planes),
            "covariance": (("bin", "bin2"), np.eye(3), {"extname": "COVAR"}),
            "xi": ("bin", [1.0, 2.0, 3.0]),
            "total": ((), 5, {"unit": "adu"}),
        }
    )
    with fits.open(written(dataset, tmp_path), checksum=True) as opened:
        np.testing.assert_array_equal(opened["SCI"].data, planes)
        np.testing.assert_array_equal(opened["COVAR"].data, np.eye(3))
        assert opened["BIN"].columns.names == ["xi"]
        assert Table.read(opened["SCALARS"])["total"][0] == 5


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    dataset = xr.Dataset({"a": image("f4", extname="X"), "b": image("f4", extname="X")})
    with pytest.raises(RecipeError, match="two images would be called X"):
        written(dataset, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ended", ["2026-11-21T02:20:37.763+00:00", "2026-11-21T02:20:37Z"])
def test_the_date_is_that_of_fits(tmp_path: Path, ended: str) -> None:
    (path,) = write_outputs(
        stack_result(), ["a.fits"], tmp_path, overwrite=True, provenance=record(ended=ended)
    )
    assert fits.getheader(path)["DATE"] == "2026-11-21T02:20:37"


def test_the_main_image_comes_first(tmp_path: Path) -> None:
    dataset = xr.Dataset(
        {"b": image("f4"), "a": image("f4", extname="SCI"), "combined": image("f4", extname="OLD")}
    )
    with fits.open(written(dataset, tmp_path)) as opened:
        assert [hdu.name for hdu in opened] == ["PRIMARY", "SCI", "B", "OLD", "PROVENANCE"]


def test_tables_keep_units_text_and_missing_values(tmp_path: Path) -> None:
    with fits.open(written(map_result(), tmp_path), checksum=True) as opened:
        opened.verify("exception")
        table = Table.read(opened["ITEM"])
    assert table["value"].unit == "adu / s"
    assert table["value"].mask.tolist() == [False, True, False, True]
    assert table["value"][2] == 2
    assert table["item"].tolist()[1] == r"\xfc.fits"
    assert table["name"].tolist() == ["a", "b c", "", 'd,"e" #']
    assert table["vector"].shape == (4, 2)
    assert table["ok"].tolist() == [True, False, True, False]
    assert "value_mask" not in table.colnames


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
@settings(max_examples=100)
def test_the_sum_of_pieces_is_that_of_the_whole(data: bytes, cuts: list[int]) -> None:
    words = np.frombuffer(data + bytes(-len(data) % 4), dtype=">u4")
    total = sum(words.tolist())
    while total > 0xFFFFFFFF:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    running = fits_stream.OnesSum()
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(places):
        running.add(data[start:stop])
    assert running.value == total


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=200)
def test_encoded_sums_are_legible_and_equal_those_of_astropy(value: int) -> None:
    text = fits_stream.encode(value)
    assert text.isascii()
    assert text.isalnum()
    oracle = fits.ImageHDU()._char_encode(value)
    assert text == oracle


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 400))
@settings(max_examples=60)
def test_bands_are_the_array_in_order(chunks: list[int], most: int) -> None:
    values = np.arange(sum(chunks) * 3.0).reshape(-1, 3)
    lazy = xr.DataArray(dask.array.from_array(values, chunks=(tuple(chunks), (2, 1))), dims=("y", "x"))
    pieces = list(bands.bands(lazy, most))
    np.testing.assert_array_equal(np.concatenate(pieces), values)
    assert all(piece.nbytes <= 4 * max(most, 24) for piece in pieces)


def test_a_wrong_number_of_bytes_is_noticed(tmp_path: Path) -> None:
    header = fits.ImageHDU(np.zeros((2, 3))).header
    with open(tmp_path / "x", "wb") as stream, pytest.raises(ValueError, match="40 bytes of 48"):
        fits_stream.write_hdu(stream, header, [np.zeros(5)])
