"""Are two results the same? By hash; and where not, by how much: integers by count, floats by ulp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import xarray as xr


@dataclass(frozen=True)
class Agreement:
    """How a version's result compares with the reference.

    Attributes
    ----------
    version : str
    workers : int
    result_hash : str
        Empty where it failed.
    agrees : bool
        Same hash.
    largest_ulp : float or None
        Of the variables of floats, in units in the last place; infinite where shapes or NaN differ.
    differs : tuple of str
        Variables that differ, with how many of their values.
    message : str
        Why there is no result.
    """

    version: str
    workers: int
    result_hash: str
    agrees: bool
    largest_ulp: float | None = None
    differs: tuple[str, ...] = ()
    message: str = ""

    def data(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = asdict(self)
        if self.largest_ulp is not None and not np.isfinite(self.largest_ulp):
            found["largest_ulp"] = "infinite"
        return {**found, "differs": list(self.differs)}

    def text(self) -> str:
        """Return it in a sentence."""
        who = f"{self.version} with {self.workers} worker{'s' if self.workers > 1 else ''}"
        word = verdict(self.data())
        if self.agrees:
            return f"{who}: the {word}"
        if self.message:
            return f"{who}: {word}, {self.message}"
        return f"{who}: {word} in {', '.join(self.differs)}"


def verdict(one: Mapping[str, Any]) -> str:
    """Return what a row of the agreement says in a word or two: ``same bits``, ``DIFFERS`` or ``FAILED``."""
    return "same bits" if one["agrees"] else "DIFFERS" if one["result_hash"] else "FAILED"


def compare_results(
    version: str, workers: int, found: xr.Dataset, found_hash: str, reference: xr.Dataset, reference_hash: str
) -> Agreement:
    """Compare a result with the reference, variable by variable where the hashes differ."""
    if found_hash == reference_hash:
        return Agreement(version, workers, found_hash, True, 0.0)
    differs, largest = [], 0.0
    names = sorted({*map(str, found.data_vars), *map(str, reference.data_vars)})
    for name in names:
        if name not in found or name not in reference:
            differs.append(f"{name} (only in one)")
            continue
        number, ulp = difference(found[name].values, reference[name].values)
        if number:
            differs.append(f"{name} ({number} of {reference[name].size} values)")
            largest = max(largest, ulp)
    return Agreement(version, workers, found_hash, False, largest, tuple(differs) or ("dims or dtypes",))


def difference(one: Any, other: Any) -> tuple[int, float]:
    """Return how many values differ, and by how many ulp of the larger at most (integers: infinite)."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return max(one.size, other.size, 1), np.inf
    if one.dtype.kind not in "f":
        return int(np.count_nonzero(one != other)), np.inf
    unequal = ~((one == other) | (np.isnan(one) & np.isnan(other)))
    if not unequal.any():
        return 0, 0.0
    a, b = one[unequal].astype(np.float64), other[unequal].astype(np.float64)
    unit = np.spacing(np.maximum(np.abs(one[unequal]), np.abs(other[unequal]))).astype(np.float64)
    with np.errstate(invalid="ignore"):
        ulp = np.abs(a - b) / unit
    return int(unequal.sum()), float(np.where(np.isnan(ulp), np.inf, ulp).max())
