"""Values that no catalog may hold are refused with the first five rows. Nothing is repaired or wrapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from daskpar.errors import InputError
from daskpar.inputs.catalog_record import Floats

#: Allowed values by role; right ascensions may run from 0 to 360 or from -180 to 180 degrees.
LIMITS = {
    "ra": (-180.0, 360.0),
    "dec": (-90.0, 90.0),
    "redshift": (0.0, np.inf),
    "distance": (0.0, np.inf),
    "weight": (0.0, np.inf),
}
FIRST = 5


def check_values(
    values: Mapping[str, Floats],
    missing: Mapping[str, Any],
    names: Mapping[str, str],
    row_name: Callable[[int], str],
    **where: Any,
) -> None:
    """Refuse values that are missing, not finite or out of range.

    Parameters
    ----------
    values : mapping of str to float64 array (n,)
        By role, in degrees for ``ra`` and ``dec``.
    missing : mapping of str to bool array (n,) or None
        Where there is no value.
    names : mapping of str to str
        Name of the column of each role, for messages.
    row_name : callable
        Gives the name of row i for messages.
    **where
        ``path`` and ``place`` for messages.

    Raises
    ------
    InputError
        With a fault for each column, each with its first five rows.
    """
    faults = []
    for role, column in values.items():
        wrong, what = _wrong(role, column, missing.get(role))
        if not wrong.any():
            continue
        rows = np.flatnonzero(wrong)
        shown = ", ".join(f"{row_name(int(i))}: {column[i]:.10g}" for i in rows[:FIRST])
        more = f", and {len(rows) - FIRST} more" if len(rows) > FIRST else ""
        faults.append(
            InputError(f"{what} in {shown}{more}", _ADVICE.get(role, _DROP), key=names[role], **where).faults[
                0
            ]
        )
    if faults:
        raise InputError(faults=faults)


_DROP = "drop these rows, or mend them"
_ADVICE = {
    "ra": "give right ascensions in degrees, with their unit if it is another",
    "dec": "give declinations in degrees, with their unit if it is another",
    "weight": "weights must be zero or more",
}


def _wrong(role: str, column: Floats, missing: Any) -> tuple[Any, str]:
    if missing is not None and missing.any():
        return missing, f"{role} has no value"
    finite = np.isfinite(column)
    if not finite.all():
        return ~finite, f"{role} is not finite"
    low, high = LIMITS.get(role, (-np.inf, np.inf))
    bounds = f"below {low:g}" if high == np.inf else f"outside {low:g} to {high:g} degrees"
    return (column < low) | (column > high), f"{role} is {bounds}"
