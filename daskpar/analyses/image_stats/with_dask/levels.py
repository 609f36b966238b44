"""Scales and zero levels of frames: numbers, or from a statistic of each frame, its exposure or a keyword.

Relative to the first frame: a multiplicative scale is its level over that of the frame, an additive zero the
level of the frame above its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed

from daskpar.analyses.image_stats.with_dask.frames import frame_stats
from daskpar.analyses.image_stats.with_dask.selection import files_behind, stack_records
from daskpar.errors import InputError, RecipeError
from daskpar.inputs.image_keywords import keyword_numbers
from daskpar.lazy import da, xr

STATISTICS = ("mean", "median", "clipped_mean", "clipped_median")
KEYS = ("scaling", "zero")
KEYWORD = "keyword:"


def vector(name: str, given: Any, frames: int) -> list[float] | None:
    """Return a number for each frame.

    Raises
    ------
    InputError
        There are not as many, or one is not finite.
    """
    if given is None:
        return None
    numbers = np.asarray(given, np.float64)
    if numbers.shape not in ((), (frames,)):
        raise InputError(f"{name} has the shape {numbers.shape}", f"give {frames} numbers", key=name)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name} is not finite in places", "give finite numbers", key=name)
    return [float(number) for number in np.broadcast_to(numbers, (frames,))]


def known_levels(stack: xr.DataArray, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with scales and zero levels as numbers, where these do not depend on pixels.

    Raises
    ------
    RecipeError
        A name is unknown, or a zero level is to be an exposure.
    InputError
        Exposures are not known; numbers are not as many as frames.
    """
    found = dict(settings)
    for key in KEYS:
        given = settings[key]
        if isinstance(given, str) and (key, given) == ("scaling", "exposure"):
            exposure = np.asarray(stack.coords["exposure"] if "exposure" in stack.coords else np.nan)
            if not (exposure > 0).all():
                raise InputError("the exposure of a frame is not known", "give numbers", key=key)
            found[key] = vector(key, exposure.flat[0] / exposure, stack.shape[0])
        elif not isinstance(given, str):
            found[key] = vector(key, given, stack.shape[0])
        elif given.startswith(KEYWORD):
            found[key] = relative({key: _keyword_levels(stack, key, given.removeprefix(KEYWORD))})[key]
        elif given not in STATISTICS:
            names = ", ".join([*STATISTICS, "keyword:NAME", *(["exposure"] if key == "scaling" else [])])
            raise RecipeError(f"{key} is {given!r}", f"give numbers or one of {names}", key=key)
    return found


def _keyword_levels(stack: xr.DataArray, key: str, keyword: str) -> Any:
    """Return what the headers of the frames say under a keyword."""
    files = files_behind(stack.data)
    records = [files.record] if files is not None else []
    if not records and isinstance(stack.data, da.Array):
        records = list(stack_records(stack.data).values())
    fitting = [record for record in records if len(record) == stack.shape[0]]
    if len(fitting) != 1:
        raise RecipeError("there are no headers to read keywords from", "give numbers", key=key)
    return keyword_numbers(fitting[0], keyword.upper())


def measured_levels(
    stack: xr.DataArray, settings: Mapping[str, Any], masks: Any = None
) -> Delayed | None:
    """Return a task that gives the scales and zero levels that are statistics; None where there are none.

    Parameters
    ----------
    stack : xarray.DataArray
        (frame, y, x).
    settings : mapping
        From `known_levels`. ``section``, where given: first row, row after the last, first column, column
        after the last; the statistics are of this part.
    masks : array_like of bool, optional
        (frame, y, x) or (y, x); True where a pixel does not count.
    """
    wanted = {key: settings[key] for key in KEYS if isinstance(settings[key], str)}
    if not wanted:
        return None
    rows = columns = slice(None)
    if (section := settings["section"]) is not None:
        top, bottom, left, right = section
        if not (0 <= top < bottom <= stack.shape[1] and 0 <= left < right <= stack.shape[2]):
            todo = f"give first row, end of rows, first column, end of columns within {stack.shape[1:]}"
            raise RecipeError(f"section is {list(section)}", todo, key="section")
        rows, columns = slice(top, bottom), slice(left, right)
    part = None if masks is None else masks[..., rows, columns]
    stats = frame_stats(stack[:, rows, columns], percentiles=(), mask=part)
    levels: Delayed = delayed(relative, pure=True)({key: stats[name].data for key, name in wanted.items()})
    return levels


def relative(levels: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return scales and zero levels from statistics of the frames, relative to the first frame."""
    found = {}
    for key, level in levels.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            numbers = level[0] / level if key == "scaling" else level - level[0]
        if not np.isfinite(numbers).all():
            frame = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise InputError(
                f"frame {frame} has no level to scale by", "leave it out, or give numbers", key=key
            )
        found[key] = [float(number) for number in numbers]
    return found
