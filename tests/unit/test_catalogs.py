"""Catalogs read from files and memory, against astropy and numpy."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy.cosmology import FlatLambdaCDM, Planck18, w0waCDM
from astropy.table import Table

from daskpar.errors import InputError, RecipeError
from daskpar.inputs import catalog_arrays
from daskpar.inputs.catalogs import open_catalog, read_piece, scan_catalog


@pytest.fixture
def table():
    rng = np.random.default_rng(7)
    n = 1000
    return Table(
        {
            "name": [f"g {i}" for i in range(n)],
            "X": rng.normal(0, 100, n),
            "Y": rng.normal(0, 100, n).astype("f4"),
            "Z": rng.integers(-500, 500, n).astype("i2"),
            "POS": rng.normal(0, 1, (n, 3)),
            "WEIGHT": rng.random(n),
            "FLAG": rng.integers(0, 2, n).astype(bool),
        }
    )


def all_rows(catalog, size=4096):
    parts = [read_piece(catalog, piece) for piece in catalog.pieces(size)]
    assert len(parts) > 1
    weights = None if parts[0].weights is None else np.concatenate([part.weights for part in parts])
    return np.concatenate([part.positions for part in parts]), weights


def written(table, path, suffix):
    file = path / f"cat{suffix}"
    if suffix == ".npy":
        np.save(file, table["name", "X", "Y", "Z", "POS", "WEIGHT"].as_array())
    elif suffix in (".csv", ".ecsv"):
        flat = table.copy()
        flat.remove_column("POS")
        flat.write(file, format="ascii" + suffix)
    elif suffix == ".parquet":
        plain = {name: np.asarray(table[name]) for name in ("name", "X", "Y", "Z", "WEIGHT")}
        pq.write_table(pa.table(plain), file, row_group_size=300)
    elif suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(file, "w") as hdf:
            for name in ("X", "Y", "Z", "POS", "WEIGHT"):
                hdf[f"cat/{name}"] = np.asarray(table[name])
    else:
        table.write(file)
    return file


@pytest.mark.parametrize("suffix", [".fits", ".npy", ".csv", ".ecsv", ".parquet", ".h5"])
def test_every_format_gives_the_same_numbers(table, tmp_path, suffix):
    file = written(table, tmp_path, suffix)
    inside = "cat/" if suffix == ".h5" else ""
    columns = {"x": "X", "y": "Y", "z": "Z", "weight": "WEIGHT"}
    catalog = scan_catalog(file, {role: inside + name for role, name in columns.items()})
    positions, weights = all_rows(catalog)
    expected = np.stack([np.asarray(table[name], float) for name in "XYZ"], axis=1)
    if "csv" in suffix:  # as text, a float32 is the shortest decimal
        np.testing.assert_allclose(positions, expected, rtol=1e-7)
    else:
        np.testing.assert_array_equal(positions, expected)
    np.testing.assert_array_equal(weights, table["WEIGHT"])
    assert positions.dtype == np.float64
    assert positions.flags.c_contiguous
    assert pickle.loads(pickle.dumps(catalog)).identity() == catalog.identity()
    if suffix not in (".csv", ".ecsv", ".parquet"):
        vector = scan_catalog(file, {role: f"{inside}POS[{k}]" for k, role in enumerate("xyz")})
        np.testing.assert_array_equal(all_rows(vector)[0], table["POS"])


@pytest.mark.parametrize("size", [1, 100, 777, 100_000])
def test_text_is_cut_at_lines_wherever_pieces_begin(tmp_path, size):
    rows = np.arange(300).reshape(100, 3) / 7
    lines = [",".join(map(repr, map(float, row))) for row in rows]
    (tmp_path / "a.csv").write_text("# made by hand\nx,y,z\n" + "\n".join(lines))
    catalog = scan_catalog("a.csv", root=tmp_path)
    parts = [read_piece(catalog, piece).positions for piece in catalog.pieces(size)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)


def test_fits_scaled_unsigned_and_missing_as_astropy_reads_them(tmp_path):
    from astropy.io import fits

    columns = [
        fits.Column("X", "J", array=np.arange(5, dtype=np.uint32) + 2**31, bzero=2**31),
        fits.Column("Y", "I", array=np.arange(5)),
        fits.Column("Z", "K", array=[1, 2, -99, 4, 5], null=-99),
        fits.Column("flags", "11X", array=np.zeros((5, 11), bool)),
        fits.Column("W", "E", array=np.ones(5)),
    ]
    fits.BinTableHDU.from_columns(columns, name="CAT").writeto(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "TSCAL2", value=0.5, ext=1)
    fits.setval(tmp_path / "a.fits", "TZERO2", value=3.0, ext=1)
    catalog = scan_catalog(f"{tmp_path}/a.fits[CAT]", {"x": "X", "y": "Y", "z": "W"})
    positions = read_piece(catalog, catalog.pieces()[0]).positions
    np.testing.assert_array_equal(positions[:, 0], np.arange(5) + 2.0**31)
    np.testing.assert_array_equal(positions[:, 1], np.arange(5) * 0.5 + 3)
    np.testing.assert_array_equal(positions[:, 2], 1)
    holed = scan_catalog(f"{tmp_path}/a.fits[CAT]", {"x": "X", "y": "Y", "z": "Z"})
    with pytest.raises(InputError, match=r"\[1\] Z: z has no value in row 2"):
        read_piece(holed, holed.pieces()[0])


def test_several_files_follow_in_natural_order(tmp_path):
    for number in (2, 10, 1):
        np.save(tmp_path / f"part{number}.npy", np.full((number, 3), float(number)))
    catalog = scan_catalog("part*.npy", root=tmp_path)
    assert catalog.rows == 13
    read = [read_piece(catalog, piece).positions[0, 0] for piece in catalog.pieces()]
    assert read == [1, 2, 10]


@pytest.mark.parametrize(
    "cosmology", [Planck18, FlatLambdaCDM(H0=70, Om0=0.3), w0waCDM(70, 0.3, 0.7, w0=-0.9)]
)
@pytest.mark.parametrize("unit", ["Mpc", "Mpc/h"])
def test_the_sky_in_space_equals_astropy(cosmology, unit):
    rng = np.random.default_rng(3)
    ra, dec, z = rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50), rng.uniform(0.01, 2, 50)
    ra[:3], dec[:3] = (0, 360, 10), (90, -90, 0)
    catalog = scan_catalog({"RA": ra, "DEC": dec, "Z": z}, cosmology=cosmology, distance_unit=unit)
    distance = cosmology.comoving_distance(z) * (cosmology.h if unit == "Mpc/h" else 1)
    truth = SkyCoord(ra * units.deg, dec * units.deg, distance).cartesian.xyz.to_value("Mpc").T
    positions = read_piece(catalog, catalog.pieces()[0]).positions
    np.testing.assert_allclose(positions, truth, rtol=0, atol=1e-11 * distance.value.max())
    assert catalog.unit == unit


def test_directions_without_redshift_lie_on_the_unit_sphere_and_units_count():
    ra, dec = np.array([0.0, 6.0, 23.0]), np.array([-1.0, 0.5, 1.5])
    table = Table({"ra": ra * units.hourangle, "dec": dec * units.rad})
    catalog = open_catalog(table)
    assert catalog.angular
    truth = SkyCoord(table["ra"], table["dec"]).cartesian.xyz.value.T
    np.testing.assert_allclose(read_piece(catalog, catalog.pieces()[0]).positions, truth, atol=1e-15)


def test_lengths_are_turned_into_the_unit_of_the_first(tmp_path):
    table = Table({"x": [1.0] * units.Mpc, "y": [1000.0] * units.kpc, "z": [1e6] * units.pc})
    for source in (table, tmp_path / "a.fits"):
        if source is not table:
            table.write(source)
        catalog = open_catalog(source)
        np.testing.assert_allclose(read_piece(catalog, catalog.pieces()[0]).positions, 1.0, rtol=1e-15)
        assert catalog.unit == "Mpc"


def test_arrays_above_a_megabyte_go_to_scratch_once_and_never_travel(tmp_path):
    points = np.random.default_rng(1).random((60_000, 3))
    before = points.copy()
    catalog = scan_catalog(points, scratch=tmp_path)
    assert len(pickle.dumps(catalog)) < 4000
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    again = scan_catalog(np.asfortranarray(points), scratch=tmp_path)
    assert again.identity() == catalog.identity()
    assert file.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(all_rows(catalog, 1 << 18)[0], points)
    np.testing.assert_array_equal(points, before)
    assert scan_catalog(points + 1, scratch=tmp_path).identity() != catalog.identity()


def test_small_and_large_arrays_read_alike(monkeypatch):
    points = np.random.default_rng(1).random((100, 3)).astype("f4")
    small = scan_catalog(points)
    monkeypatch.setattr(catalog_arrays, "INLINE_BYTES", 10)
    large = scan_catalog(points)
    assert (small.tables[0].form, large.tables[0].form) == ("memory", "scratch")
    for catalog in (small, large):
        np.testing.assert_array_equal(read_piece(catalog, catalog.pieces()[0]).positions, points)


def test_identity_knows_content_columns_units_and_cosmology_but_not_the_root(tmp_path):
    import shutil

    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "c.npy", np.ones((4, 3)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    sky = {"ra": "0", "dec": "1", "redshift": "2"}
    first = scan_catalog("c.npy", root=tmp_path / "a")
    assert scan_catalog("c.npy", root=tmp_path / "b").identity() == first.identity()
    others = [
        scan_catalog("c.npy", sky, cosmology=world, distance_unit=unit, root=tmp_path / "a")
        for world, unit in ((Planck18, "Mpc"), (Planck18, "Mpc/h"), (FlatLambdaCDM(70, 0.3), "Mpc"))
    ]
    same = scan_catalog("c.npy", sky, cosmology="Planck18", root=tmp_path / "a")
    named = {"class": "FlatLambdaCDM", "H0": 70, "Om0": 0.3}
    alike = scan_catalog("c.npy", sky, cosmology=named, root=tmp_path / "a")
    assert same.identity() == others[0].identity()
    assert alike.identity() == others[2].identity()
    assert len({first.identity(), *(other.identity() for other in others)}) == 4


def test_a_catalog_is_not_read_when_it_is_opened(table, tmp_path):
    import sys

    table.write(tmp_path / "a.fits")
    reads = []
    sys.addaudithook(
        lambda event, args: reads.append(args) if event == "open" and "a.fits" in str(args) else None
    )
    catalog = open_catalog(tmp_path / "a.fits")
    opened = len(reads)
    assert catalog.rows == 1000
    assert len(catalog.pieces()) == 1
    assert len(reads) == opened


def test_wrong_settings_are_refused():
    points = np.zeros((2, 3))
    with pytest.raises(RecipeError, match="did you mean 'weight'"):
        open_catalog(points, {"x": "0", "y": "1", "z": "2", "weights": "2"})
    with pytest.raises(RecipeError, match="no cosmology 'Plank18'"):
        open_catalog({"ra": [1.0], "dec": [1.0], "redshift": [0.1]}, cosmology="Plank18")
    with pytest.raises(RecipeError, match="redshifts need a cosmology"):
        open_catalog({"ra": [1.0], "dec": [1.0], "redshift": [0.1]})
    with pytest.raises(RecipeError, match="distance_unit"):
        open_catalog(points, distance_unit="kpc")
