"""Pictures and grids: deterministic, right in shape and place, readable by others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs_data import map_result, record, stack_result, wcs_header

from daskpar.outputs import pictures, plot_image, write_outputs
from daskpar.outputs.names import engine


def written(dataset: xr.Dataset, folder: Path, name: str, **options: Any) -> Path:
    return write_outputs(dataset, [name], folder, overwrite=True, provenance=record(), **options)[0]


def xi_result() -> xr.Dataset:
    r = np.geomspace(0.1, 50, 20)
    variables = {"xi": ("r", r**-1.8), "xi_error": ("r", 0.1 * r**-1.8), "npairs": ("r", np.arange(20))}
    return xr.Dataset(variables, coords={"r": ("r", r, {"unit": "Mpc"})})


RESULTS = {
    "stack": stack_result,
    "map": map_result,
    "xi": xi_result,
    "scalars": lambda: xr.Dataset({"mean": ((), 3.14, {"unit": "m"}), "$x^2": ((), 1)}),
    "flat image": lambda: xr.Dataset({"a": (("y", "x"), np.zeros((3, 5)))}),
    "empty image": lambda: xr.Dataset({"a": (("y", "x"), np.full((3, 5), np.nan))}),
    "mostly flat": lambda: xr.Dataset({"a": (("y", "x"), np.eye(200))}),
    "mask": lambda: xr.Dataset({"a": (("k", "y", "x"), np.eye(20, dtype=bool)[None])}),
}


@pytest.mark.parametrize("result", RESULTS)
def test_pictures_are_deterministic_whatever_the_style(tmp_path: Path, result: str) -> None:
    one = written(RESULTS[result](), tmp_path, "a.png").read_bytes()
    with mpl.rc_context({"axes.grid": True, "figure.dpi": 33, "font.size": 5}):
        assert written(RESULTS[result](), tmp_path, "b.png").read_bytes() == one
        assert mpl.rcParams["font.size"] == 5
    kinds = [kind for kind, _ in pictures.chunks(one)]
    assert kinds[0] == b"IHDR"
    assert b"tIME" not in kinds


def test_an_analysis_may_draw_itself(tmp_path: Path) -> None:
    drawn = []

    def plot(dataset: xr.Dataset, figure: Any) -> None:
        drawn.append(list(dataset.data_vars))
        figure.add_subplot().plot([1, 2])

    written(xi_result(), tmp_path, "a.png", plot=plot)
    assert drawn == [["xi", "xi_error", "npairs"]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=60)
def test_block_averages_equal_plain_means(height: int, width: int, factor: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(height, width))
    values[rng.random((height, width)) < 0.3] = np.nan
    lazy = xr.DataArray(da.from_array(values, chunks=(7, 11)), dims=("y", "x"))
    found = plot_image.block_average(lazy, factor)
    for (i, j), mean in np.ndenumerate(found):
        block = values[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
        good = block[np.isfinite(block)]
        expected = good.sum() / good.size if good.size else np.nan
        np.testing.assert_allclose(mean, expected, rtol=1e-12, atol=1e-12)


def test_the_compass_follows_the_wcs() -> None:
    found = plot_image.compass(wcs_header())
    assert found is not None
    np.testing.assert_allclose(found["N"], (np.sin(0.3), np.cos(0.3)))
    np.testing.assert_allclose(found["E"], (-np.cos(0.3), np.sin(0.3)))
    assert plot_image.compass("") is None
    assert plot_image.compass("CTYPE1  = 'LINEAR'".ljust(80)) is None


def test_stretch_limits_and_ticks_are_in_order() -> None:
    norm, ticks = plot_image.stretch(np.random.default_rng(1).normal(100, 3, (50, 50)))
    assert (np.diff(ticks) > 0).all()
    assert norm.vmin == pytest.approx(ticks[0])
    assert norm.vmax == pytest.approx(ticks[-1])


@pytest.mark.parametrize("suffix", [suffix for suffix in (".nc", ".zarr") if engine(suffix)])
@pytest.mark.parametrize("result", [stack_result, map_result])
def test_grids_open_as_the_dataset_they_were(tmp_path: Path, suffix: str, result: Any) -> None:
    dataset = result().assign_attrs(inputs=["a", "b"], done=True)
    dataset["when"] = (
        next(iter(dataset.dims)),
        np.full(next(iter(dataset.sizes.values())), "2026-01-01", "M8[s]"),
    )
    path = written(dataset, tmp_path, f"a{suffix}")
    options = {"consolidated": False} if suffix == ".zarr" else {}
    with xr.open_dataset(path, engine=engine(suffix), **options) as opened:
        read = opened.load().drop_vars("daskpar_provenance")
    xr.testing.assert_equal(read, dataset)
    assert read.attrs["inputs"] == '["a", "b"]'
    assert all(
        read[name].attrs.get("units") == dataset[name].attrs.get("unit") for name in result().data_vars
    )


def test_irregular_chunks_are_stored_whole(tmp_path: Path) -> None:
    values = np.random.default_rng(1).random((1000, 2000))
    lazy = da.from_array(values, chunks=((300, 1, 699), (1999, 1)))
    for suffix in (".nc", ".zarr"):
        if engine(suffix):
            path = written(xr.Dataset({"a": (("y", "x"), lazy)}), tmp_path, f"a{suffix}")
            options = {"consolidated": False} if suffix == ".zarr" else {}
            with xr.open_dataset(path, engine=engine(suffix), **options) as opened:
                np.testing.assert_array_equal(opened["a"].values, values)
