"""Tables as astropy, pandas, pyarrow and csv read them back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
import xarray as xr
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from outputs_data import FRAMES, map_result, record, stack_result

from daskpar.outputs import parquet as parquet_format
from daskpar.outputs import record as record_format
from daskpar.outputs import write_outputs
from daskpar.outputs.columns import columns, table_dimensions
from daskpar.outputs.tables import dataset_table


def written(dataset: xr.Dataset, folder: Path, name: str) -> Path:
    return write_outputs(dataset, [name], folder, overwrite=True, provenance=record())[0]


def test_ecsv_reads_back_as_it_was(tmp_path: Path) -> None:
    table = Table.read(written(map_result(), tmp_path, "a.ecsv"))
    dataset = map_result()
    assert table.colnames == ["item", "value", "flux", "name", "vector", "ok", "error"]
    assert table["item"].tolist() == dataset["item"].values.tolist()
    assert table["value"].unit == "adu / s"
    assert table["value"].tolist() == [0, None, 2, None]
    np.testing.assert_array_equal(table["flux"], dataset["flux"].values)
    np.testing.assert_array_equal(table["vector"], dataset["vector"].values)
    assert table["name"].filled("").tolist() == dataset["name"].values.tolist()
    assert table["error"].filled("").tolist() == ["", r"boom\nline 2", "", "é"]
    assert table["ok"].dtype == bool


def test_array_columns_keep_the_values_along_their_dimension(tmp_path: Path) -> None:
    table = Table.read(written(stack_result(), tmp_path, "a.ecsv"))
    np.testing.assert_array_equal(table["percentile"], stack_result()["percentile"].values.T)
    assert table.meta["coordinates"] == {"q": [5.0, 50.0, 95.0]}
    assert table["mean"].unit == "adu"
    assert table["mean"].description == "mean of the used pixels"
    schema = pq.read_schema(written(stack_result(), tmp_path, "a.parquet"))
    assert json.loads(schema.metadata[b"daskpar.coordinates"]) == {"q": [5.0, 50.0, 95.0]}
    assert schema.field("mean").metadata[b"unit"] == b"adu"


def test_csv_for_pandas_and_for_csv(tmp_path: Path) -> None:
    path = written(map_result(), tmp_path, "a.csv")
    frame = pandas.read_csv(
        path, comment="#", keep_default_na=False, na_values={"value": [""], "flux": ["nan"]}
    )
    assert frame["item"].tolist() == map_result()["item"].values.tolist()
    assert frame["name"].tolist() == map_result()["name"].values.tolist()
    assert frame["value"].isna().tolist() == [False, True, False, True]
    assert frame[["vector_0", "vector_1"]].to_numpy().tolist() == map_result()["vector"].values.tolist()
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert [row["error"] for row in rows] == ["", r"boom\nline 2", "", "é"]
    assert written(stack_result(), tmp_path, "b.csv").read_text().count("percentile_50") == 1


@pytest.mark.parametrize("batch", [1, 3, 65536])
def test_parquet_in_batches(tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_format, "BATCH_ROWS", batch)
    read = pq.read_table(written(map_result(), tmp_path, "a.parquet")).to_pydict()
    dataset = map_result()
    assert read["item"] == dataset["item"].values.tolist()
    assert read["value"] == [0, None, 2, None]
    np.testing.assert_array_equal(read["flux"], dataset["flux"].values)
    assert read["vector"] == dataset["vector"].values.tolist()
    assert read["error"] == dataset["error"].values.tolist()
    assert read["ok"] == dataset["ok"].values.tolist()


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".parquet"])
def test_scalars_are_a_table_of_one_row(tmp_path: Path, suffix: str) -> None:
    dataset = xr.Dataset({"mean": ((), 3.14, {"unit": "m"}), "n_samples": ((), 10)}, coords={"seed": 7})
    path = written(dataset, tmp_path, f"a{suffix}")
    reader = {
        ".ecsv": Table.read,
        ".csv": lambda p: pandas.read_csv(p, comment="#"),
        ".parquet": pandas.read_parquet,
    }
    table = reader[suffix](path)
    assert [float(table[name][0]) for name in ("seed", "mean", "n_samples")] == [7, 3.14, 10]


@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".parquet", ".fits", ".png"])
def test_empty_and_single_rows(tmp_path: Path, suffix: str) -> None:
    for length in (0, 1):
        written(map_result().isel(item=slice(0, length)), tmp_path, f"a{suffix}")


@pytest.mark.parametrize(
    "values",
    [
        np.array(["2026-01-02T03:04:05", "NaT"], "M8[s]"),
        np.array([1, 2], "m8[m]"),
        np.array([b"ab", b"\xff"]),
        np.array([None, "x"], dtype=object),
        np.array(["x\udc80", "tab\t"]),
        np.array([1.5, 2.5], "f2"),
        np.array([1, 2], ">i8"),
    ],
)
@pytest.mark.parametrize("suffix", [".ecsv", ".csv", ".parquet", ".fits"])
def test_unusual_dtypes(tmp_path: Path, values: Any, suffix: str) -> None:
    written(xr.Dataset({"a": ("row", values)}), tmp_path, f"a{suffix}")


def test_the_dimension_with_most_variables(tmp_path: Path) -> None:
    assert table_dimensions(stack_result()) == ["frame", "q"]
    assert [column.name for column in columns(stack_result(), "q")] == ["q"]
    table = dataset_table(stack_result())
    assert len(table) == FRAMES
    assert table["percentile"].shape == (FRAMES, 3)


def test_masked_array_columns() -> None:
    dataset = xr.Dataset(
        {
            "a": (("n", "k"), np.ones((2, 3)), {"mask": "gone"}),
            "gone": ("n", [True, False]),
            "b": ("n", [1, 2]),
        }
    )
    assert dataset_table(dataset)["a"].mask.tolist() == [[True] * 3, [False] * 3]
    assert dataset_table(dataset).colnames == ["a", "b"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.integers(10, 50))
@settings(max_examples=150)
def test_provenance_survives_every_form(provenance: dict[str, Any], width: int) -> None:
    rows = record_format.to_rows(provenance, width)
    assert all(key.isascii() and text.isascii() and not text.endswith(" ") for key, text in rows)
    assert record_format.from_rows([(key.rstrip(" "), text) for key, text in rows]) == provenance
    assert record_format.from_text(record_format.to_text(provenance)) == provenance


def test_many_inputs_are_compressed_in_short_text() -> None:
    provenance = record(inputs_digest="ab") | {
        "inputs": [{"path": f"frame_{i:05d}.fits"} for i in range(10_000)]
    }
    text = record_format.to_short_text(provenance)
    assert len(text) < 40_000
    assert record_format.from_text(text) == provenance
