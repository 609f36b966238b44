"""Catalogs that must be refused, with their first five rows and nothing repaired."""

from __future__ import annotations

import os

import numpy as np
import pytest

from daskpar.errors import InputError
from daskpar.inputs.catalogs import read_piece, scan_catalog

SKY = {"ra": "ra", "dec": "dec", "weight": "w"}


def sky(**changed):
    columns = {"ra": np.linspace(0, 359, 20), "dec": np.linspace(-90, 90, 20), "w": np.ones(20)}
    for name, (rows, value) in changed.items():
        columns[name][list(rows)] = value
    return columns


def read(source, columns=None, **more):
    catalog = scan_catalog(source, columns, **more)
    return [read_piece(catalog, piece) for piece in catalog.pieces()]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ra": ([3, 5], 361.0)}, "ra: ra is outside -180 to 360 degrees in row 3: 361, row 5: 361;"),
        ({"ra": ([0], -180.5)}, "row 0: -180.5"),
        (
            {"dec": (range(1, 20, 2), 90.25)},
            "row 1: 90.25, row 3: 90.25, row 5: 90.25, row 7: 90.25, row 9: 90.25, and 5 more",
        ),
        ({"dec": ([7], np.nan)}, "dec is not finite in row 7: nan"),
        ({"ra": ([7], np.inf)}, "ra is not finite in row 7: inf"),
        ({"w": ([2], -0.5)}, "w: weight is below 0 in row 2: -0.5; weights must be zero or more"),
        ({"w": ([2], np.nan)}, "weight is not finite in row 2"),
    ],
)
def test_values_out_of_range_are_refused_with_their_rows(changed, message):
    columns = sky(**changed)
    before = {name: values.copy() for name, values in columns.items()}
    with pytest.raises(InputError) as caught:
        read(columns, SKY)
    assert message in str(caught.value)
    assert caught.value.exit_code == 3
    for name, values in before.items():
        np.testing.assert_array_equal(columns[name], values)


def test_all_columns_are_looked_at():
    with pytest.raises(InputError) as caught:
        read(sky(ra=([1], 400.0), dec=([2], 100.0), w=([3], -1.0)), SKY)
    assert len(caught.value.faults) == 3


def test_masked_values_are_missing_not_zero():
    values = np.ma.MaskedArray(np.zeros(4), [False, True, False, False])
    with pytest.raises(InputError, match="row 1"):
        read({"x": values, "y": np.zeros(4), "z": np.zeros(4)})


def test_rows_of_files_are_named(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n0,0,0\n1,,1\n2,2,nan\n")
    with pytest.raises(InputError) as caught:
        read(str(tmp_path / "a.csv"))
    text = str(caught.value)
    assert f"{tmp_path}/a.csv y: y has no value in line 3: nan" in text
    assert "z is not finite in line 4: nan" in text


def test_lines_behind_the_first_piece_keep_their_numbers(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n" + "1,2,3\n" * 50 + "inf,0,0\n")
    catalog = scan_catalog(str(tmp_path / "a.csv"))
    with pytest.raises(InputError, match="line 52: inf"):
        [read_piece(catalog, piece) for piece in catalog.pieces(100)]


def test_one_row_is_a_catalog():
    (part,) = read(np.array([[1.0, 2.0, 3.0]]))
    assert part.positions.shape == (1, 3)


def test_empty_catalogs_are_refused(tmp_path):
    (tmp_path / "empty.csv").write_text("x,y,z\n")
    np.save(tmp_path / "empty.npy", np.empty((0, 3)))
    for source in (np.empty((0, 3)), tmp_path / "empty.csv", tmp_path / "empty.npy"):
        with pytest.raises(InputError, match="no rows"):
            scan_catalog(source)


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    from astropy.table import Table

    Table({"RA": [1.0], "DEC": [2.0], "REDSHIFT": [0.5]}).write(tmp_path / "a.fits")
    with pytest.raises(InputError, match=r"a\.fits\[1\] columns: .*'REDSHFT'.*did you mean 'REDSHIFT'"):
        scan_catalog(tmp_path / "a.fits", {"ra": "RA", "dec": "DEC", "redshift": "REDSHFT"})
    with pytest.raises(InputError, match=r"no columns are named x, y, z or ra, dec.*there are a, b"):
        scan_catalog({"a": np.ones(2), "b": np.ones(2)})


def test_unequal_lengths_are_refused():
    with pytest.raises(InputError, match="different lengths: x: 2, y: 3, z: 2"):
        scan_catalog({"x": np.zeros(2), "y": np.zeros(3), "z": np.zeros(2)})


@pytest.mark.parametrize(
    "values",
    [np.zeros(3), np.zeros((2, 4)), np.zeros((2, 3, 1)), np.array([["a", "b", "c"]]), np.zeros((2, 3), "O")],
)
def test_arrays_of_other_shapes_are_refused(values):
    with pytest.raises(InputError):
        scan_catalog(values)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.fits", b""),
        ("a.fits", b"nonsense"),
        ("a.npy", b"nonsense"),
        ("a.parquet", b"nonsense, and long enough to be looked at"),
        ("a.csv", b"\n\n"),
        ("a.csv", b"1" * (1 << 20)),
        ("a.ecsv", b"# %ECSV 1.0\n# ---\n# datatype: 5\nx y z\n"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        scan_catalog(name, root=tmp_path)


def test_cut_files_are_refused(tmp_path):
    from astropy.table import Table

    Table({"x": np.zeros(2000), "y": np.zeros(2000), "z": np.zeros(2000)}).write(tmp_path / "a.fits")
    np.save(tmp_path / "a.npy", np.zeros((2000, 3)))
    for name in ("a.fits", "a.npy"):
        os.truncate(tmp_path / name, 20_000)
        with pytest.raises(InputError, match=name):
            scan_catalog(name, root=tmp_path)


def test_no_pickle_is_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        scan_catalog("a.npy", root=tmp_path)


def test_images_and_missing_tables_list_the_hdus(tmp_path):
    from astropy.io import fits

    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "a.fits")
    with pytest.raises(InputError, match="no HDU holds a binary table; the file has: 0 image 3 x 3"):
        scan_catalog("a.fits", root=tmp_path)
    with pytest.raises(InputError, match=r"\[0\].* holds an image, not a binary table; .*has: 0 image 3 x 3"):
        scan_catalog("a.fits[0]", root=tmp_path)


def test_a_changed_file_is_noticed(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    catalog = scan_catalog("a.npy", root=tmp_path)
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    with pytest.raises(InputError, match=r"a\.npy: the file changed since it was scanned"):
        read_piece(catalog, catalog.pieces()[0])


def test_angles_in_a_unit_that_is_no_angle_are_refused():
    from astropy import units
    from astropy.table import Table

    with pytest.raises(InputError, match="not a unit like 'deg'"):
        scan_catalog(Table({"ra": [1.0] * units.m, "dec": [1.0] * units.deg}))
    with pytest.raises(InputError, match="some have none"):
        scan_catalog(Table({"x": [1.0] * units.m, "y": [1.0], "z": [1.0]}))
