"""The finished result on disk: a hash as promised, the memory of a band, files that are complete."""

import hashlib
import itertools
import json
import os
import subprocess
import sys

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from conftest import environment

from daskpar import dataset_store
from daskpar.dataset_store import bands, open_saved, save, whole
from daskpar.errors import AnalysisError, OutputError


def hash_by_definition(dataset):
    """SHA-256 over sorted variable names, dims, shapes, little-endian dtypes and bytes; one NaN, +0.0."""
    whole = hashlib.sha256()
    for name in sorted(dataset.data_vars):
        array = np.asarray(dataset[name].values)
        array = array.astype(array.dtype.newbyteorder("<"))
        own = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
        for value in array.reshape(-1):
            own.update(one_value(value, array.dtype))
        whole.update(f"{name} {dataset[name].dims} {array.shape} {own.hexdigest()}\n".encode())
    return whole.hexdigest()


def one_value(value, dtype):
    if dtype.kind == "c":
        half = np.dtype(f"<f{dtype.itemsize // 2}")
        return one_value(half.type(value.real), half) + one_value(half.type(value.imag), half)
    if dtype.kind == "f":
        value = dtype.type(np.nan) if value != value else dtype.type(0.0) if value == 0 else value
    return np.asarray([value], dtype).tobytes()


def variety():
    rng = np.random.default_rng(1)
    return xr.Dataset(
        {
            "flux": (("y", "x"), np.where(rng.random((5, 7)) < 0.3, np.nan, rng.normal(size=(5, 7)))),
            "count": (("y", "x"), rng.integers(0, 9, (5, 7)).astype(np.int32)),
            "flag": ("x", rng.random(7) < 0.5),
            "name": ("y", np.array(["a", "bé", "", "☃", "long name"])),
            "total": ((), np.float32(2.5)),
            "when": ("y", np.array(["2026-01-01"] * 4 + ["NaT"], "M8[ns]")),
            "visibility": ("x", rng.normal(size=7) + 1j * rng.normal(size=7)),
            "none": (("y", "z"), np.empty((5, 0))),
        },
        {"x": np.arange(7.0), "label": ("y", list("abcde"))},
        {"unit": "Jy", "edges": np.arange(3), "deep": {"n": np.int64(4)}},
    )


def test_the_hash_is_that_of_its_definition(tmp_path):
    dataset = variety()
    assert save(dataset, tmp_path / "d") == hash_by_definition(dataset)


def test_what_is_saved_opens_again(tmp_path):
    dataset = variety()
    save(dataset, tmp_path / "d")
    opened = open_saved(tmp_path / "d")
    xr.testing.assert_equal(opened, dataset)
    assert opened.attrs == {"unit": "Jy", "edges": [0, 1, 2], "deep": {"n": 4}}
    assert set(opened.coords) == set(dataset.coords)
    assert dask.is_dask_collection(opened["flux"].data)
    for name in dataset.variables:
        assert opened[name].dtype == dataset[name].dtype
        assert opened[name].dims == dataset[name].dims


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "c8", "c16"])
def test_zeros_and_nans_of_any_bits_are_equal(tmp_path, dtype):
    size = np.dtype(dtype).itemsize // (2 if dtype[0] == "c" else 1)
    payload = np.array([np.nan], f"<f{size}").view(f"<u{size}") | 1 | (1 << (8 * size - 1))
    odd = payload.view(f"<f{size}")[0]
    one = np.array([0.0, np.nan, 1.0], dtype)
    two = one.copy()
    two[0] = -0.0
    parts = two.view(f"<f{size}")
    parts[np.isnan(parts)] = odd
    assert one.tobytes() != two.tobytes()
    hashes = {save(xr.Dataset({"a": ("x", a)}), tmp_path / str(i)) for i, a in enumerate([one, two])}
    assert len(hashes) == 1
    assert hashes == {hash_by_definition(xr.Dataset({"a": ("x", two)}))}
    assert np.load(tmp_path / "1" / "0000.npy").tobytes() == two.tobytes()  # the data are kept as they are


def test_the_hash_knows_no_byte_order_chunks_coordinates_or_attributes(tmp_path):
    values = np.arange(24.0).reshape(6, 4)
    made = [
        xr.Dataset({"a": (("y", "x"), values)}),
        xr.Dataset({"a": (("y", "x"), values.astype(">f8"))}),
        xr.Dataset({"a": (("y", "x"), np.asfortranarray(values))}),
        xr.Dataset({"a": (("y", "x"), da.from_array(values, chunks=(4, 3)))}, {"path": "/tmp"}, {"t": 1}),
        xr.Dataset({"a": (("y", "x"), da.from_array(values.astype(">f8"), chunks=(1, 1)))}),
    ]
    assert len({save(dataset, tmp_path / str(i)) for i, dataset in enumerate(made)}) == 1
    opened = [open_saved(tmp_path / str(i)) for i in range(len(made))]
    for dataset in opened:
        np.testing.assert_array_equal(dataset["a"].values, values)


def test_the_hash_knows_everything_else(tmp_path):
    base = np.arange(6.0)
    made = [
        {"a": ("x", base)},
        {"b": ("x", base)},
        {"a": ("y", base)},
        {"a": ("x", base.astype("f4"))},
        {"a": ("x", base.view("i8"))},
        {"a": ("x", base[::-1])},
        {"a": (("x", "y"), base.reshape(2, 3))},
        {"a": (("x", "y"), base.reshape(3, 2))},
        {"a": ("x", np.nextafter(base, 9))},
        {"a": ("x", base), "b": ((), 0)},
        {},
    ]
    hashes = [save(xr.Dataset(data), tmp_path / str(i)) for i, data in enumerate(made)]
    assert len(set(hashes)) == len(made)


def test_order_of_variables_does_not_matter(tmp_path):
    data = {name: ("x", np.arange(3) + i) for i, name in enumerate("cab")}
    orders = [xr.Dataset({n: data[n] for n in order}) for order in itertools.permutations("cab")]
    assert len({save(dataset, tmp_path / str(i)) for i, dataset in enumerate(orders)}) == 1


def test_bands_come_in_order_and_cover_all(monkeypatch):
    monkeypatch.setattr(dataset_store, "BAND_BYTES", 200)
    values = np.arange(17 * 5.0).reshape(17, 5)
    for chunks in [(17, 5), (1, 1), (4, 2), ((3, 1, 13), (5,))]:
        found = list(bands(da.from_array(values, chunks=chunks)))
        np.testing.assert_array_equal(np.concatenate(found), values)
    assert [len(band) for band in bands(da.from_array(values, chunks=(2, 5)))] == [4, 4, 4, 5]
    assert [band.shape for band in bands(da.ones((), chunks=()))] == [()]
    assert sum(band.size for band in bands(da.ones((0, 4), chunks=(1, 4)))) == 0


def test_the_whole_of_an_array_is_put_together_from_its_chunks():
    values = np.arange(17 * 6.0).reshape(17, 6)
    for chunks in [(17, 6), (1, 1), (4, 2), ((3, 1, 13), (6,))]:
        np.testing.assert_array_equal(whole(da.from_array(values, chunks=chunks)), values)
    np.testing.assert_array_equal(whole(da.arange(10, chunks=3)), np.arange(10))
    cube = values.reshape(17, 2, 3)
    np.testing.assert_array_equal(whole(da.from_array(cube, chunks=(5, 1, 2))), cube)
    assert whole(da.ones((), chunks=())) == 1.0
    assert whole(da.ones((0, 4), chunks=(1, 4))).shape == (0, 4)
    np.testing.assert_array_equal(whole(values), values)


def test_a_chunk_that_fails_is_told_by_the_whole():
    def fail(block):
        raise ValueError("no such chunk")

    with pytest.raises(ValueError, match="no such chunk"):
        whole(da.ones(10, chunks=2).map_blocks(fail, dtype=float))


MEMORY = """
import resource, sys
from pathlib import Path
import dask.array as da, numpy as np, xarray as xr
from daskpar import dataset_store
def chunk(block_info=None):
    (a, b), _ = block_info[None]["array-location"]
    return np.full((b - a, 2048), a, np.float64)
def dataset(rows):
    array = da.map_blocks(chunk, chunks=((64,) * (rows // 64), 2048), dtype=float)
    return xr.Dataset({"a": (("y", "x"), array)})
def peak():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
dataset_store.save(dataset(4096), Path(sys.argv[1]) / "small")
first = peak()
dataset_store.save(dataset(40960), Path(sys.argv[1]) / "large")
print(peak() - first)
"""


def test_memory_does_not_depend_on_the_size_of_the_result(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    large = 40960 * 2048 * 8
    assert os.path.getsize(tmp_path / "large" / "0000.npy") > large
    assert int(done.stdout) < 100e6 < large / 6


def test_a_failure_leaves_what_was_there(tmp_path):
    folder = tmp_path / "d"
    first = save(xr.Dataset({"a": ("x", np.arange(3))}), folder)

    def fail(block):
        raise ZeroDivisionError

    broken = da.map_blocks(fail, da.ones(4, chunks=2), dtype=float, meta=np.empty(0))
    with pytest.raises(ZeroDivisionError):
        save(xr.Dataset({"a": ("x", da.concatenate([da.zeros(2), broken]))}), folder)
    assert json.loads((folder / "dataset.json").read_text())["result_hash"] == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]
    with dask.config.set(scheduler="synchronous"):
        assert open_saved(folder)["a"].values.tolist() == [0, 1, 2]


def test_a_later_result_takes_the_place_of_an_earlier_one(tmp_path):
    folder = tmp_path / "d"
    save(variety(), folder)
    second = save(xr.Dataset({"a": ("x", np.arange(3))}), folder)
    assert json.loads((folder / "dataset.json").read_text())["result_hash"] == second
    assert sorted(path.name for path in folder.iterdir()) == ["0000.npy", "dataset.json"]


def test_objects_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(AnalysisError, match="array of object"):
        save(xr.Dataset({"a": ("x", np.array([{}, None]))}), tmp_path / "d")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_gone_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="make the folder first"):
        save(xr.Dataset({"a": ("x", np.arange(3))}), tmp_path / "none" / "d")
