"""What holds for every format: names, overwriting, full disks, provenance, damage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array as da
import pytest
import xarray as xr
from outputs_data import SUFFIXES, map_result, record, snapshot, stack_result

from daskpar.errors import InputError, OutputError, RecipeError, UsageError
from daskpar.outputs import check_outputs, read_provenance, verify_output, write_outputs
from daskpar.outputs.names import ENGINES, FORMATS

HELPERS = Path(__file__).parents[1]


def write(names: list[str], folder: Path, dataset: xr.Dataset | None = None, **options: Any) -> list[Path]:
    settings: dict[str, Any] = {"overwrite": False, "provenance": record()} | options
    return write_outputs(stack_result() if dataset is None else dataset, names, folder, **settings)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("result", [stack_result, map_result])
def test_every_format_carries_its_provenance(tmp_path: Path, suffix: str, result: Any) -> None:
    (path,) = write([f"sub/a b{suffix}"], tmp_path / "new", result())
    assert path == tmp_path / "new" / "sub" / f"a b{suffix}"
    assert read_provenance(path) == record()
    assert verify_output(path) == record()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_is_noticed(tmp_path: Path, suffix: str) -> None:
    (path,) = write([f"a{suffix}"], tmp_path)
    largest = max([path, *path.rglob("*")], key=lambda p: p.stat().st_size if p.is_file() else -1)
    raw = bytearray(largest.read_bytes())
    for place in range(len(raw) // 4, len(raw), len(raw) // 50 + 1):  # somewhere values lie, in any format
        raw[place] ^= 0x10
    largest.write_bytes(raw)
    with pytest.raises(InputError, match=r"not as it was written|no readable provenance") as caught:
        verify_output(path)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("suffix", [s for s in SUFFIXES if s not in (".zarr", ".nc")])
def test_a_file_cut_short_is_noticed(tmp_path: Path, suffix: str) -> None:
    (path,) = write([f"a{suffix}"], tmp_path)
    os.truncate(path, path.stat().st_size * 2 // 3)
    with pytest.raises(InputError):
        verify_output(path)


@pytest.mark.parametrize("suffix", [*FORMATS, ".txt"])
def test_files_of_others_have_no_provenance(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(InputError):
        read_provenance(path)
    path.write_text("item,value\n1,2\n")
    with pytest.raises(InputError):
        read_provenance(path)


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "/tmp/a.fits", "../a.fits", "a/../../b.fits", "..", "a.fits/", "a\n.fits", "a\x1b.fits",
        "a.fits\0", "a", "a.fit", "a.fits.gz", "a.FITS", ".fits", "x" * 300 + ".fits", "link.fits",
        "out/a.fits", "dangling.fits", None, 3,
    ],
)  # fmt: skip
def test_bad_names_are_refused_and_nothing_is_made(tmp_path: Path, name: Any) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    (tmp_path / "secret.fits").write_text("secret")
    (folder / "link.fits").symlink_to(tmp_path / "secret.fits")
    (folder / "dangling.fits").symlink_to(tmp_path / "nothing.fits")
    (folder / "out").symlink_to(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(RecipeError) as caught:
        check_outputs(["good.fits", name], folder, overwrite=True)
    assert [fault.key for fault in caught.value.faults] == ["outputs[1]"]
    assert "\n" not in str(caught.value)
    with pytest.raises(RecipeError):
        write(["good.fits", name], folder, overwrite=True)
    assert snapshot(tmp_path) == before


def test_all_bad_names_at_once_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"did you mean \.fits\?") as caught:
        check_outputs(["a.fit", "b.fits", "b.fits", "../c.png"], tmp_path, overwrite=False)
    assert [fault.key for fault in caught.value.faults] == ["outputs[0]", "outputs[3]", "outputs[2]"]


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, ".nc", {"h5netcdf": ("no_such_package",)})
    with pytest.raises(RecipeError, match="pip install no_such_package"):
        check_outputs(["a.nc"], tmp_path, overwrite=False)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_exists_is_kept_unless_overwrite(tmp_path: Path, suffix: str) -> None:
    names = [f"a{suffix}", "new.csv"]
    write(names[:1], tmp_path, map_result())
    before = snapshot(tmp_path)
    with pytest.raises(UsageError, match="exists already") as caught:
        check_outputs(names, tmp_path, overwrite=False)
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError):
        write(names, tmp_path)
    assert snapshot(tmp_path) == before
    write(names, tmp_path, overwrite=True)
    assert snapshot(tmp_path) != before
    assert sorted(os.listdir(tmp_path)) == sorted(names)


def test_a_run_killed_between_its_outputs_writes_them_again(tmp_path: Path) -> None:
    ours = record(result_hash="aa")
    write(["a.fits"], tmp_path, provenance=ours)
    write(["a.fits", "b.csv"], tmp_path, provenance=ours)
    with pytest.raises(UsageError):
        write(["a.fits"], tmp_path, provenance=record(result_hash="bb"))


def test_folders_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.fits").mkdir()
    with pytest.raises(UsageError, match="in the way"):
        check_outputs(["a.fits"], tmp_path, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="not a folder") as caught:
        check_outputs(["a.fits"], tmp_path / "file" / "results", overwrite=True)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    def broken(dataset: xr.Dataset, figure: Any) -> None:
        raise RuntimeError("a plot that fails")

    write([f"a{suffix}"], tmp_path, map_result())
    before = snapshot(tmp_path)
    lazy = da.map_blocks(unreadable, chunks=((3, 3), (4,)), dtype=float)
    dataset = xr.Dataset({"image": (("y", "x"), lazy), "column": ("item", lazy[:, 0])})
    with pytest.raises((RuntimeError, OutputError)):
        write([f"a{suffix}"], tmp_path, dataset, overwrite=True, plot=broken)
    assert snapshot(tmp_path) == before


def unreadable() -> None:
    raise RuntimeError("a record that cannot be read")


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from outputs_data import record, stack_result
from daskpar.errors import OutputError
from daskpar.outputs import write_outputs
dataset = stack_result().load()
names = sys.argv[3:]
write_outputs(dataset, names, sys.argv[1] + "/warm", overwrite=False, provenance=record())
resource.setrlimit(resource.RLIMIT_FSIZE, (1024, 1024))
for name in names:
    try:
        write_outputs(dataset, [name], sys.argv[1] + "/cold", overwrite=True, provenance=record())
    except OutputError as error:
        print(error.exit_code, error)
"""


def test_no_space_is_an_output_error_that_names_path_and_bytes(tmp_path: Path) -> None:
    names = [f"a{suffix}" for suffix in SUFFIXES]
    write(names, tmp_path / "cold", map_result())
    before = snapshot(tmp_path / "cold")
    arguments = [sys.executable, "-c", LIMITED, str(tmp_path), str(HELPERS), *names]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert len(lines) == len(names), done.stderr
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f"5 {tmp_path}/cold/{name}: cannot write more than ")
        assert "bytes free" in line
    assert snapshot(tmp_path / "cold") == before


def test_select_chooses_by_stem(tmp_path: Path) -> None:
    select = {
        "frame_stats": lambda dataset: dataset[["mean"]].drop_vars(["path", "hdu", "exposure", "mid_time"])
    }
    chosen, whole = write(["frame_stats.csv", "all.csv"], tmp_path, select=select)
    assert chosen.read_text().splitlines()[1] == "mean"
    assert (
        whole.read_text().splitlines()[1].startswith("path,hdu,exposure,mid_time,mean,nan_count,percentile_5")
    )


def test_what_does_not_fit_is_a_recipe_error(tmp_path: Path) -> None:
    images = xr.Dataset({"combined": stack_result()["combined"].drop_vars(["path"], errors="ignore")})
    with pytest.raises(RecipeError, match="no columns for a table"):
        write(["a.ecsv"], tmp_path, images)
    assert list(tmp_path.iterdir()) == []


def test_importing_it_is_cheap() -> None:
    heavy = {"numpy", "xarray", "dask", "astropy", "matplotlib", "pyarrow"}
    code = f"import sys, daskpar.outputs; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


MEMORY = """
import sys
import dask.array as da, numpy as np, xarray as xr
from daskpar.outputs import write_outputs
rows, columns = 16000, 4000
make = lambda block_info=None: np.ones((500, columns), np.float32)
lazy = da.map_blocks(make, chunks=((500,) * (rows // 500), (columns,)), dtype=np.float32)
warm = xr.Dataset({"combined": (("y", "x"), lazy[:500])})
names = sys.argv[2:]
write_outputs(warm, names, sys.argv[1], overwrite=True, provenance={})
def peak():  # ru_maxrss would start at that of the parent process
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
write_outputs(xr.Dataset({"combined": (("y", "x"), lazy)}), names, sys.argv[1], overwrite=True, provenance={})
print(lazy.nbytes, 1024 * (peak() - before))
"""


def test_memory_does_not_depend_on_the_image(tmp_path: Path) -> None:
    names = [f"a{suffix}" for suffix in SUFFIXES if suffix in (".fits", ".png", ".nc", ".zarr")]
    arguments = [sys.executable, "-c", MEMORY, str(tmp_path), *names]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    size, grown = map(int, done.stdout.split())
    assert size == 256_000_000
    assert grown < 180_000_000  # a few bands and what the allocator keeps, for four formats one after another
