"""Which output names are allowed, and whether they can be written, before anything is computed."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from daskpar.errors import Fault, OutputError, RecipeError, UsageError

FORMATS = {
    ".fits": "daskpar.outputs.fits_images",
    ".ecsv": "daskpar.outputs.tables",
    ".csv": "daskpar.outputs.tables",
    ".parquet": "daskpar.outputs.parquet",
    ".nc": "daskpar.outputs.grids",
    ".zarr": "daskpar.outputs.grids",
    ".png": "daskpar.outputs.pictures",
}
FOLDERS = {".zarr"}
# What the formats import when they write.
IMPORTS = {
    ".fits": ("astropy.io.fits", "astropy.table"),
    ".ecsv": ("astropy.table", "astropy.io.ascii"),
    ".csv": ("astropy.table", "astropy.io.ascii"),
    ".parquet": ("pyarrow.parquet",),
    ".png": ("matplotlib.figure", "matplotlib.backends.backend_agg"),
}
# For each format the packages that can write it, one set after another; xarray calls them so too.
ENGINES: dict[str, dict[str, tuple[str, ...]]] = {
    ".nc": {"h5netcdf": ("h5netcdf", "h5py"), "netcdf4": ("netCDF4",)},
    ".zarr": {"zarr": ("zarr",)},
}
_LONGEST = 200  # bytes of a file name: file systems allow 255


def check_outputs(names: Sequence[str], folder: str | Path, overwrite: bool, key: str = "outputs") -> None:
    """Refuse outputs that cannot or must not be written; nothing is made or changed.

    Parameters
    ----------
    names : sequence of str
        File names of a recipe: relative, inside `folder`, without links, with a known suffix.
    folder : path
        Where they will go. It may be missing, if it can be made.
    overwrite : bool
        Whether files that exist may be replaced.
    key : str
        How messages call the list.

    Raises
    ------
    RecipeError
        All names that are not allowed, at once.
    UsageError
        Files exist and `overwrite` is false.
    OutputError
        The folder cannot be written.
    """
    folder = Path(folder)
    faults = [fault for index, name in enumerate(names) for fault in _faults(name, folder, f"{key}[{index}]")]
    faults += _repeated(names, key)
    if faults:
        raise RecipeError(faults=faults)
    _check_folder(folder)
    _check_existing([folder / name for name in names], overwrite)


def _faults(name: object, folder: Path, key: str) -> Iterator[Fault]:
    if not isinstance(name, str) or not name.strip():
        yield Fault("is not a file name", "write for example combined.fits", key=key)
        return
    parts = PurePosixPath(name).parts
    suffix = PurePosixPath(name).suffix
    if not name.isprintable():
        yield Fault(f"{name!a} holds control characters", "use printable characters", key=key)
    elif name.startswith("/") or ".." in parts or name.endswith("/"):
        yield Fault(f"{name} does not name a file inside the output folder", "use a plain file name", key=key)
    elif any(len(os.fsencode(part)) > _LONGEST for part in parts):
        yield Fault(f"{name[:40]}… is too long", f"a name may have {_LONGEST} bytes", key=key)
    elif suffix not in FORMATS:
        yield Fault(f"{name}: unknown format {suffix or '(no suffix)'}", _allowed(name, suffix), key=key)
    elif suffix in ENGINES and engine(suffix) is None:
        packages = " ".join(next(iter(ENGINES[suffix].values())))
        yield Fault(f"{name} needs packages that are not installed", f"pip install {packages}", key=key)
    elif link := _link(folder, parts):
        yield Fault(f"{name}: {link} is a link", "remove it or choose another name", key=key)


def engine(suffix: str) -> str | None:
    """Return what can write a format here: ``h5netcdf``, ``netcdf4`` or ``zarr``; None if nothing can."""
    for name, packages in ENGINES[suffix].items():
        if all(importlib.util.find_spec(package) is not None for package in packages):
            return name
    return None


def _allowed(name: str, suffix: str) -> str:
    near = difflib.get_close_matches(suffix, FORMATS, 1)
    if name.endswith(".fits.gz"):
        near = [".fits"]
    guess = f"did you mean {near[0]}? " if near else ""
    return f"{guess}allowed are {' '.join(FORMATS)}"


def _link(folder: Path, parts: Sequence[str]) -> Path | None:
    """Return the first part of a name, below the folder, that is a link: it may lead anywhere."""
    place = folder
    for part in parts:
        place = place / part
        if place.is_symlink():
            return place
    return None


def _repeated(names: Sequence[str], key: str) -> Iterator[Fault]:
    seen: set[PurePosixPath] = set()
    for index, name in enumerate(names):
        if isinstance(name, str) and PurePosixPath(name) in seen:
            yield Fault(f"{name} stands there twice", "remove one", key=f"{key}[{index}]")
        seen.add(PurePosixPath(str(name)))


def _check_folder(folder: Path) -> None:
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise OutputError(f"cannot be made: {place} is not a folder", "choose another folder", path=folder)
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(
            f"{place} may not be written", "change its permissions or choose another", path=folder
        )


def _check_existing(paths: Sequence[Path], overwrite: bool) -> None:
    faults = []
    for path in paths:
        if not os.path.lexists(path):
            continue
        if path.is_dir() != (path.suffix in FOLDERS):
            faults.append(Fault("is in the way", "move it or choose another folder", str(path)))
        elif not overwrite:
            faults.append(Fault("exists already", "pass --overwrite or choose another folder", str(path)))
    if faults:
        raise UsageError(faults=faults)
