"""False-alarm probability of a peak in a Lomb-Scargle periodogram."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import periodogram
from daskpar.analyses.monte_carlo.table_columns import Columns
from daskpar.errors import InputError, RecipeError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FalseAlarm:
    """The largest power of noise with the times and errors of a measured series, and whether it is as high.

    Two result columns: the largest power, between 0 and 1, and 1 where it is at least that of the data. With
    h ones in n samples the probability is (h + 1) / (n + 1).

    Parameters
    ----------
    data : Columns
        Time, value and standard error.
    lowest, highest : float
        Range of frequencies, in cycles per unit of time.
    frequencies : int
        How many, equally spaced, both ends included.
    """

    data: Columns
    lowest: float
    highest: float
    frequencies: int
    same_bits: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 2
    names: ClassVar[tuple[str, ...]] = ("power", "extreme")

    def __post_init__(self) -> None:
        self.data.require(3, "a periodogram")
        if not (0.0 < self.lowest <= self.highest < np.inf and self.frequencies >= 1):
            raise RecipeError(
                f"{self.frequencies} frequencies from {self.lowest} to {self.highest}",
                "give 0 < lowest <= highest and at least one", key="lowest",
            )  # fmt: skip

    @property
    def seconds_per_sample(self) -> float:
        """For a series of a few hundred times."""
        return 3e-7 * self.frequencies

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        return {"false_alarm": [self.lowest, self.highest, self.frequencies], "data": self.data.identity}

    def prepare(self) -> dict[str, Any]:
        """Tabulate sines and cosines once, and find the largest power of the data."""
        times, values, errors = self.data.read()
        if times.size < 4 or not np.all(errors > 0):
            raise InputError(
                "a periodogram needs 4 or more times and errors above 0", "remove rows", key="data"
            )
        span = (self.highest - self.lowest) / max(self.frequencies - 1, 1)
        grid = self.lowest + span * np.arange(self.frequencies)
        table = periodogram.basis(times, errors, np.asarray(grid, np.float64))
        power = periodogram.powers(table, (values - np.mean(values)) / errors)
        best = int(np.argmax(power))
        return {"table": table, "observed": power[best], "frequency": grid[best]}

    def without_data(self) -> Any:
        """Return the same trial without the arrays, which `bind` does not need."""
        return replace(self, data=self.data.without_arrays())

    def bind(self, prepared: Any) -> Any:
        """Make the trial ``(rng, n) -> (n, 2)``."""
        return partial(_noise, np.asarray(prepared["table"]), float(prepared["observed"]))


def _noise(table: Floats, observed: float, rng: np.random.Generator, n: int) -> Floats:
    times = table.shape[1]
    found = np.empty(n)
    rows = max(64, (1 << 17) // times // 64 * 64)
    for start in range(0, n, rows):
        count = min(rows, n - start)
        found[start : start + count] = periodogram.largest_powers(table, rng.standard_normal((times, count)))
    return np.stack([found, found >= observed], axis=1)
