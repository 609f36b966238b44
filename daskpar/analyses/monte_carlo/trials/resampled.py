"""Bootstrap and permutation of measured data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.kernel import pcg, resampling
from daskpar.analyses.monte_carlo.table_columns import Columns
from daskpar.errors import InputError, RecipeError

Floats = NDArray[np.float64]
TWO_COLUMNS = ("correlation",)
TESTS = ("difference_of_means", "correlation")


@dataclass(frozen=True)
class Bootstrap:
    """A statistic of data drawn again with replacement: its spread is the standard error of the statistic.

    Parameters
    ----------
    data : Columns
        One column of m values, or two for the correlation.
    statistic : str
        A name in `kernel.resampling.STATISTICS`; variances have m - 1 below.
    """

    data: Columns
    statistic: str = "mean"
    same_bits: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 1
    seconds_per_sample: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        if self.statistic not in resampling.STATISTICS:
            raise RecipeError(
                f"there is no statistic {self.statistic!r}",
                f"one of {', '.join(resampling.STATISTICS)}", key="statistic",
            )  # fmt: skip
        self.data.require(1 + (self.statistic in TWO_COLUMNS), self.statistic)

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        return {"bootstrap": self.statistic, "data": self.data.identity}

    def prepare(self) -> dict[str, Any]:
        """Read the data, and compute the statistic of the data themselves."""
        columns = self.data.read()
        _require_rows(columns, 2)
        observed = resampling.STATISTICS[self.statistic](columns.T[None, :, :])
        return {"data": np.ascontiguousarray(columns.T), "observed": observed[0]}

    def without_data(self) -> Any:
        """Return the same trial without the arrays, which `bind` does not need."""
        return replace(self, data=self.data.without_arrays())

    def bind(self, prepared: Any) -> Any:
        """Make the trial ``(rng, n) -> (n,)``."""
        return partial(_bootstrap, np.asarray(prepared["data"]), self.statistic)


def _bootstrap(data: Floats, statistic: str, rng: np.random.Generator, n: int) -> Floats:
    return resampling.bootstrap(pcg.words_at(rng), data, statistic, n)


@dataclass(frozen=True)
class Permutation:
    """A statistic under random relabelling, and whether it is as extreme as the data's.

    Two result columns: the statistic, and 1 where its absolute value is at least the observed one, else 0.
    With h ones in n samples the two-sided p-value is (h + 1) / (n + 1), after Phipson and Smyth (2010),
    doi:10.2202/1544-6115.1585.

    Parameters
    ----------
    data : Columns
        Two columns: the two samples for ``difference_of_means``, where NaN at the end of the shorter is left
        out; x and y for ``correlation``.
    statistic : str
    """

    data: Columns
    statistic: str = "difference_of_means"
    same_bits: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 2
    names: ClassVar[tuple[str, ...]] = ("statistic", "extreme")
    seconds_per_sample: ClassVar[float] = 1e-5

    def __post_init__(self) -> None:
        if self.statistic not in TESTS:
            raise RecipeError(
                f"there is no test {self.statistic!r}", f"one of {', '.join(TESTS)}", key="statistic"
            )
        self.data.require(2, self.statistic)

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        return {"permutation": self.statistic, "data": self.data.identity}

    def prepare(self) -> dict[str, Any]:
        """Read the data and compute the statistic of the data themselves."""
        if self.statistic == "correlation":
            x, y = self.data.read()
            _require_rows(np.stack([x, y]), 3)
            return {"x": x, "y": y, "observed": resampling.correlation(x, y)}
        x, y = self.data.read(ragged=True)
        for sample in (x, y):
            _require_rows(sample[None, :], 2)
        observed = np.mean(x) - np.mean(y)
        return {"pool": np.concatenate([x, y]), "first": np.int64(x.size), "observed": observed}

    def without_data(self) -> Any:
        """Return the same trial without the arrays, which `bind` does not need."""
        return replace(self, data=self.data.without_arrays())

    def bind(self, prepared: Any) -> Any:
        """Make the trial ``(rng, n) -> (n, 2)``."""
        return partial(_permutation, {name: np.asarray(prepared[name]) for name in prepared}, self.statistic)


def _permutation(prepared: dict[str, Any], statistic: str, rng: np.random.Generator, n: int) -> Floats:
    words, observed = pcg.words_at(rng), abs(float(prepared["observed"]))
    if statistic == "correlation":
        found = resampling.permuted_correlation(words, prepared["x"], prepared["y"], n)
    else:
        found = resampling.difference_of_means(words, prepared["pool"], int(prepared["first"]), n)
    # Relabellings that give the same groups must count, whatever rounding does to their sums.
    extreme = np.abs(found) >= observed * (1.0 - 1e-12)
    return np.stack([found, extreme], axis=1)


def _require_rows(columns: Floats, least: int) -> None:
    if columns.shape[1] < least:
        raise InputError(f"there are {columns.shape[1]} values", f"at least {least} are needed", key="data")
