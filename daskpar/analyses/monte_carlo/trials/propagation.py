"""Error propagation: the distribution of a formula of measured values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.monte_carlo.expression import Expression
from daskpar.analyses.monte_carlo.kernel.estimators import lower_factor
from daskpar.errors import RecipeError

Floats = NDArray[np.float64]
Shape = Literal["normal", "uniform", "exact"]


@dataclass(frozen=True)
class Measured:
    """A measured value.

    Attributes
    ----------
    name : str
        Its name in the formula.
    value, error : float
        The value, and the standard deviation of a normal or the half-width of a uniform distribution.
    unit : str
        As astropy writes units; empty for a pure number.
    distribution : {"normal", "uniform", "exact"}
    """

    name: str
    value: float
    error: float = 0.0
    unit: str = ""
    distribution: Shape = "normal"


@dataclass(frozen=True)
class Propagation:
    """The values that a formula takes when its variables vary within their errors.

    Inputs are converted to SI units, the formula is evaluated on numbers, and the result is given in `unit`.

    Parameters
    ----------
    formula : str
        See `daskpar.analyses.monte_carlo.expression`.
    measured : tuple of Measured
        One for each variable.
    correlations : tuple of (name, name, float)
        Correlation coefficients of pairs of normal variables; others are independent.
    unit : str
        Unit of the result; by default the SI unit that follows from the formula.
    """

    formula: str
    measured: tuple[Measured, ...]
    correlations: tuple[tuple[str, str, float], ...] = ()
    unit: str = ""
    seconds_per_sample: ClassVar[float] = 1e-7
    independent: ClassVar[bool] = True
    columns: ClassVar[int] = 1
    _scales: Mapping[str, float] = field(init=False, repr=False, compare=False)
    _factor: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        given = {one.name for one in self.measured}
        missing = sorted(set(self.expression.variables) - given)
        if missing:
            raise RecipeError(f"{', '.join(missing)} has no measured value", "add it to values", key="values")
        for one in self.measured:
            if not (np.isfinite(one.value) and np.isfinite(one.error) and one.error >= 0):
                raise RecipeError(
                    f"{one.name} is {one.value} ± {one.error}",
                    "give finite numbers, the error 0 or more",
                    key="values",
                )
        scales, factor, unit = self._units()
        # Not arguments, but what follows from them: frozen fields are set once, here.
        object.__setattr__(self, "_scales", scales)
        object.__setattr__(self, "_factor", factor)
        object.__setattr__(self, "unit", unit)
        self._mixing  # noqa: B018 - raises on impossible correlations now, not in a task

    @cached_property
    def expression(self) -> Expression:
        """The checked formula."""
        return Expression(self.formula)

    @property
    def same_bits(self) -> bool:
        """Whether results have the same bits on every kind of processor."""
        return self.expression.same_bits

    def _units(self) -> tuple[dict[str, float], float, str]:
        """Factor of each variable to SI, factor of the result from SI, and the unit of the result."""
        from astropy import units as u

        try:
            quantities = {
                one.name: u.Quantity(one.value, one.unit or u.dimensionless_unscaled).si
                for one in self.measured
            }
            result = u.Quantity(self.expression(quantities))
            scales = {one.name: float(u.Unit(one.unit or "").si.scale) for one in self.measured}
            bare = (
                u.Unit(result.si.unit / result.si.unit.scale) if result.si.unit.scale != 1 else result.si.unit
            )
            wanted = u.Unit(self.unit) if self.unit else bare
            # Functions give angles in radian, which SI takes for a pure number where that is meant.
            factor = float(result.unit.to(wanted, equivalencies=u.dimensionless_angles()))
        except (u.UnitsError, u.UnitTypeError, ValueError, TypeError) as fault:
            raise RecipeError(
                f"the units of {self.formula!r} do not fit: {fault}",
                "check the units of values and of the result",
                key="unit",
            ) from fault
        return scales, factor, wanted.to_string()

    @cached_property
    def _mixing(self) -> Floats | None:
        """Lower factor of the correlation matrix; None without correlations."""
        if not self.correlations:
            return None
        place = {one.name: i for i, one in enumerate(self.measured)}
        matrix = np.eye(len(place))
        for a, b, value in self.correlations:
            if a not in place or b not in place or a == b or not -1.0 <= value <= 1.0:
                raise RecipeError(
                    f"the correlation of {a} and {b} is {value}",
                    "name two different values and a number from -1 to 1", key="correlations",
                )  # fmt: skip
            if {self.measured[place[a]].distribution, self.measured[place[b]].distribution} != {"normal"}:
                raise RecipeError(
                    f"{a} and {b} are not both normal", "correlate normal values only", key="correlations"
                )
            matrix[place[a], place[b]] = matrix[place[b], place[a]] = value
        try:
            return lower_factor(matrix)
        except ValueError as fault:
            raise RecipeError(
                "the correlations contradict each other: their matrix has a negative eigenvalue",
                "correct them", key="correlations",
            ) from fault  # fmt: skip

    def __call__(self, rng: np.random.Generator, n: int) -> Floats:
        """N values of the formula, in `unit`, shape (n,)."""
        deviates = [self._deviate(one, rng, n) for one in self.measured]
        if self._mixing is not None:
            deviates = [
                sum(
                    (self._mixing[i, j] * deviates[j] for j in range(i + 1) if self._mixing[i, j] != 0),
                    np.zeros(n),
                )
                for i in range(len(deviates))
            ]
        values = {
            one.name: (one.value + one.error * deviate) * self._scales[one.name]
            for one, deviate in zip(self.measured, deviates, strict=True)
        }
        result = np.asarray(self.expression(values), dtype=np.float64)
        return np.broadcast_to(result if self._factor == 1.0 else result * self._factor, (n,))

    def _deviate(self, one: Measured, rng: np.random.Generator, n: int) -> Floats:
        if one.distribution == "exact" or one.error == 0.0:
            return np.zeros(n)
        if one.distribution == "uniform":
            return 2.0 * rng.random(n) - 1.0
        return rng.standard_normal(n)

    @property
    def identity(self) -> dict[str, Any]:
        """What defines the numbers, besides the code."""
        measured = [[m.name, m.value, m.error, m.unit, m.distribution] for m in self.measured]
        return {
            "error_propagation": self.formula, "values": measured, "unit": self.unit,
            "correlations": [list(pair) for pair in self.correlations],
        }  # fmt: skip
