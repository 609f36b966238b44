"""The arguments of `combine`: where each plane is found, and whether they go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from daskpar.analyses.image_stats import kernel
from daskpar.analyses.image_stats.alignment import aligned
from daskpar.analyses.image_stats.with_dask.levels import KEYS, vector
from daskpar.analyses.image_stats.with_dask.selection import files_behind, stack_records
from daskpar.analyses.image_stats.with_dask.sources import FileBands, MappedArray, Source
from daskpar.analyses.image_stats.with_dask.stack import lazy_plane
from daskpar.errors import InputError, RecipeError
from daskpar.inputs.images import check_aligned
from daskpar.lazy import da, xr

#: Methods whose result can be weighted; that carry uncertainties.
WEIGHTED, CARRYING = ("mean", "sum"), ("mean", "sum", "median")


def places(
    stack: xr.DataArray, planes: Mapping[str, Any], settings: dict[str, Any]
) -> tuple[dict[str, Source], dict[str, da.Array], dict[str, Any]]:
    """Sort planes into those that blocks read themselves, expressions, and numbers of frames (settings).

    Raises
    ------
    InputError
        The shape of one does not fit.
    """
    sources: dict[str, Source] = {}
    arrays: dict[str, da.Array] = {}
    if stack.ndim != 3 or not stack.shape[0]:
        raise InputError(f"the stack has the shape {stack.shape}", "give (frame, y, x)")
    for name, plane in planes.items():
        if isinstance(plane, str):
            settings[name] = plane
            continue
        data = plane.data if isinstance(plane, xr.DataArray) else plane
        data = data if isinstance(data, da.Array) else np.asarray(data)
        if data.shape == stack.shape[:1] and name in ("weights", "uncertainty"):
            settings[name] = vector(name, data, stack.shape[0])
        elif data.shape not in (stack.shape, stack.shape[1:]):
            raise InputError(f"{name} has the shape {data.shape}", f"give {stack.shape}", key=name)
        elif isinstance(data, np.ndarray):
            sources[name] = MappedArray(data, stack.shape[0])
        elif (files := files_behind(data)) is not None:
            sources[name] = files
        else:
            arrays[name] = data if data.ndim == 3 else da.broadcast_to(data, stack.shape)
    return sources, arrays, settings


def check(stack: xr.DataArray, planes: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse wrong settings now, not in a block: the kernel checks them on a band without pixels.

    Raises
    ------
    RecipeError
        An option is unknown or out of range, or two do not go together.
    """
    method, weights = settings["method"], planes.get("weights")
    if weights is not None and method not in WEIGHTED:
        raise RecipeError(f"the {method} cannot be weighted", "choose mean or sum", key="weights")
    if isinstance(weights, str) and weights != "inverse_variance":
        raise RecipeError(f"weights is {weights!r}", "give numbers or inverse_variance", key="weights")
    if isinstance(weights, str) and "uncertainty" not in planes:
        raise RecipeError("inverse variances need uncertainties", "give uncertainty", key="weights")
    if "uncertainty" in planes and method not in CARRYING:
        raise RecipeError(f"the {method} carries no uncertainty", "leave uncertainty out", key="uncertainty")
    options = {
        name: value
        for name, value in settings.items()
        if name not in ("weights", "uncertainty", "section", *KEYS)
    }
    try:
        kernel.combine_band(np.zeros((stack.shape[0], 1, 0), stack.dtype), **options)
    except TypeError as error:
        raise RecipeError(str(error).replace("rejection() ", ""), "see daskpar.combine") from None


def aligned_planes(
    stack: xr.DataArray, planes: Mapping[str, Any], align: str | None
) -> tuple[xr.DataArray, dict[str, Any]]:
    """Return stack and planes with the frames aligned as asked.

    Raises
    ------
    RecipeError
        The way is unknown; or something that is not read from files as it is would have to be aligned.
    InputError
        A frame has no celestial WCS, or is more than shifted.
    """
    if align in (None, "pixels"):
        return stack, dict(planes)
    found = {}
    for name, plane in planes.items():
        files = files_behind(plane.data) if isinstance(plane, xr.DataArray) else None
        if files is not None:
            whole = lazy_plane(aligned(files.record, align), files.plane)
            rows, columns = (slice(axis.start, axis.stop) for axis in (files.rows, files.columns))
            found[name] = whole[:, rows, columns].assign_attrs(plane.attrs)
        elif name == "frames" or np.ndim(plane) > 1:
            what = f"{name} are not read from files as they are: they cannot be aligned"
            raise RecipeError(what, "combine frames of open_stack; calibrate in a recipe", key="align")
        else:
            found[name] = plane
    return found["frames"], found


def check_alignment(stack: xr.DataArray, source: Source | None, align: str | None) -> None:
    """Refuse frames from files whose celestial WCS differ by more than 0.2 pixel, unless `align` is given.

    Raises
    ------
    InputError
        With the first five, and by how much they are off.
    """
    if align is not None:
        return
    if isinstance(source, FileBands):
        check_aligned(source.record)
    elif isinstance(stack.data, da.Array):
        for record in stack_records(stack.data).values():
            check_aligned(record)
