"""A Dataset into files: the suffix chooses the format; each is complete or absent, and says what made it.

A format is a module with three functions: ``write(dataset, path, provenance, suffix)``,
``read_provenance(path)`` and ``verify(path)``.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.atomic import output_errors, replacing, replacing_folder, sweep
from daskpar.errors import InputError
from daskpar.outputs.names import FOLDERS, FORMATS, IMPORTS, check_outputs

if TYPE_CHECKING:
    import xarray as xr

    Selection = Callable[[xr.Dataset], xr.Dataset]
    Plot = Callable[[xr.Dataset, Any], None]

__all__ = [
    "FORMATS",
    "check_outputs",
    "import_early",
    "is_ours",
    "read_provenance",
    "verify_output",
    "write_outputs",
]


def write_outputs(
    dataset: xr.Dataset,
    names: Sequence[str],
    folder: str | Path,
    *,
    overwrite: bool,
    provenance: Mapping[str, Any],
    select: Mapping[str, Selection] | None = None,
    plot: Plot | None = None,
) -> list[Path]:
    """Write a result as the files that a recipe names.

    Parameters
    ----------
    dataset : xarray.Dataset
        May be dask-backed. Images are read band by band, in this thread, and are never in memory as a whole.
    names : sequence of str
        File names relative to `folder`, with a suffix of `FORMATS`. A table is over the dimension with most
        variables.
    folder : path
        Made if it is missing.
    overwrite : bool
        Whether files that exist are replaced. Those of the same run, or of the same result, always are.
    provenance : mapping
        As `daskpar.provenance.provenance` makes it; `read_provenance` returns it.
    select : mapping of str to function, optional
        For the stem of a name, what part of the dataset its file shows. Default: all that fits the format.
    plot : function (dataset, figure), optional
        Draws a ``.png`` on an empty matplotlib Figure. Default: a preview of the first image, else of the
        columns.

    Returns
    -------
    list of Path
        The files, in the order of `names`.

    Raises
    ------
    RecipeError
        A name is not allowed, or nothing in the result fits its format.
    UsageError
        A file exists and `overwrite` is false.
    OutputError
        A file could not be written. It is as it was before; those written earlier are complete.
    """
    folder = Path(folder)
    check_outputs(names, folder, overwrite=True)
    replaced = [overwrite or is_ours(folder / name, provenance) for name in names]
    check_outputs([name for name, allowed in zip(names, replaced, strict=True) if not allowed], folder, False)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
    written = []
    for name, allowed in zip(names, replaced, strict=True):
        path = folder / name
        part = (select or {}).get(path.stem, _everything)(dataset)
        _write(part, path, allowed, provenance, plot)
        written.append(path)
    return written


def import_early(names: Sequence[str]) -> None:
    """Import what writing some outputs will take, while there is nothing else to do."""
    for suffix in {Path(name).suffix for name in names}:
        for module in (FORMATS[suffix], *IMPORTS.get(suffix, ())):
            with contextlib.suppress(ImportError):  # told when the file is written
                importlib.import_module(module)


def is_ours(path: Path, provenance: Mapping[str, Any]) -> bool:
    """Tell whether a file was written by this run, or holds this very result, and so may be written again.

    A run that was killed between its outputs, or is extended, writes them anew; anyone else's file stays.
    """
    if not path.exists():
        return False
    try:
        earlier = read_provenance(path)
    except InputError:
        return False
    if provenance.get("run") and earlier.get("run") == provenance["run"]:
        return True
    same = (earlier.get(key) == provenance.get(key) for key in ("result_hash", "recipe", "code"))
    return bool(provenance.get("result_hash")) and all(same)


def _everything(dataset: xr.Dataset) -> xr.Dataset:
    return dataset


def _write(
    dataset: xr.Dataset, path: Path, overwrite: bool, provenance: Mapping[str, Any], plot: Plot | None
) -> None:
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    kind = importlib.import_module(FORMATS[path.suffix])
    place = replacing_folder if path.suffix in FOLDERS else replacing
    options = {"plot": plot} if path.suffix == ".png" else {}
    with place(path, overwrite) as temporary:
        kind.write(dataset, temporary, provenance, suffix=path.suffix, **options)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Read back the provenance that an output carries.

    Raises
    ------
    InputError
        There is no such file, daskpar did not write it, or it is damaged.
    """
    path = Path(path)
    with _unreadable(path, "carries no readable provenance"):
        read: dict[str, Any] = _format(path).read_provenance(path)
    return read


def verify_output(path: str | Path) -> dict[str, Any]:
    """Read an output from end to end, compare it with the checksums in it, and return its provenance.

    That the file is as it was written says nothing yet of how it was made: for that, compute it again and
    compare ``result_hash``.

    Raises
    ------
    InputError
        As `read_provenance`, or a checksum is wrong.
    """
    path = Path(path)
    provenance = read_provenance(path)
    with _unreadable(path, "is not as it was written"):
        _format(path).verify(path)
    return provenance


def _format(path: Path) -> Any:
    if path.suffix not in FORMATS:
        raise InputError("is not an output of daskpar", f"known are {' '.join(FORMATS)}", path=path)
    if not path.exists():
        raise InputError("there is no such file", path=path)
    return importlib.import_module(FORMATS[path.suffix])


@contextlib.contextmanager
def _unreadable(path: Path, what: str) -> Iterator[None]:
    """Turn any failure of reading a format into one error: a damaged file can break a library anywhere."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{what} ({type(error).__name__}: {error})",
            "was it written by daskpar, and is it whole?",
            path=path,
        ) from error
