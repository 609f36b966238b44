"""From validated options, or the arguments of `simulate`, to a plan. Everything wrong is found here."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from daskpar.analyses.monte_carlo import options as o
from daskpar.analyses.monte_carlo.batches import Sampling
from daskpar.analyses.monte_carlo.dataset import Finish
from daskpar.analyses.monte_carlo.expression import Expression
from daskpar.analyses.monte_carlo.plan import UNKNOWN_SECONDS_PER_SAMPLE, Plan
from daskpar.analyses.monte_carlo.table_columns import Columns
from daskpar.analyses.monte_carlo.trials.false_alarm import FalseAlarm
from daskpar.analyses.monte_carlo.trials.integral import Integral
from daskpar.analyses.monte_carlo.trials.pi import Pi
from daskpar.analyses.monte_carlo.trials.propagation import Measured, Propagation
from daskpar.analyses.monte_carlo.trials.resampled import Bootstrap, Permutation
from daskpar.analyses.monte_carlo.trials.survey import Box, Circle, SurveyMask
from daskpar.analysis import Bits
from daskpar.errors import InputError, RecipeError

_MOST_BATCHES = 2**40


def plan_of(
    trial: Any,
    n_samples: int,
    seed: int,
    batch_size: int,
    *,
    target_error: float | None = None,
    relative: bool = False,
    max_time: float | None = None,
    quantiles: Sequence[float] = (),
    confidence: float = 0.95,
    controls: Sequence[float] = (),
    importance: str = "",
    block_batches: int | None = None,
    seconds_per_sample: float | None = None,
    earlier: Sequence[int] = (),
    exact: bool = False,
) -> Plan:
    """Check the definition of a run; see `daskpar.simulate` for the arguments.

    Raises
    ------
    RecipeError
        For a number that is fractional, not positive or out of range, or a batch size that the method cannot
        use.
    """
    if not callable(trial) and not hasattr(trial, "bind"):
        raise RecipeError(
            f"the trial is a {type(trial).__name__}", "give a function of (rng, n)", key="trial"
        )
    n, size = _whole("n_samples", n_samples, 1), _whole("batch_size", batch_size, 1)
    sampling = Sampling(trial, _whole("seed", seed, 0), size, n)
    if sampling.n_batches > _MOST_BATCHES:
        raise RecipeError(f"{n} samples in batches of {size}", "make batch_size larger", key="batch_size")
    for name, value, most in (("target_error", target_error, None), ("max_time", max_time, None),
                              ("confidence", confidence, 1.0)):  # fmt: skip
        if value is not None and not (0.0 < value and (most is None or value < most)):
            raise RecipeError(
                f"{name} is {value}", "give a number above 0" + ", below 1" * bool(most), key=name
            )
    if any(not 0.0 <= q <= 1.0 for q in quantiles):
        raise RecipeError("a quantile lies outside 0 and 1", "give fractions", key="quantiles")
    if block_batches is not None and block_batches & (block_batches - 1):
        raise RecipeError(f"{block_batches} is no power of two", "give 1, 2, 4, ...", key="block_batches")
    independent = bool(getattr(trial, "independent", True))
    _check_batches(trial, sampling, independent)
    names = getattr(trial, "names", ())
    how = Finish(
        confidence=confidence, quantiles=tuple(quantiles), independent=independent, controls=tuple(controls),
        importance=importance, test="extreme" in names, names=names,
        attrs=_attrs(trial, sampling), exact=exact,
    )  # fmt: skip
    cost = seconds_per_sample or float(getattr(trial, "seconds_per_sample", UNKNOWN_SECONDS_PER_SAMPLE))
    return Plan(sampling, how, target_error, relative, max_time, block_batches, cost, tuple(earlier))


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise RecipeError(f"{name} is {value!r}", f"give a whole number, {least} or more", key=name)
    return number


def _check_batches(trial: Any, sampling: Sampling, independent: bool) -> None:
    if independent:
        return
    wrong = trial.check(sampling.batch_size)
    if wrong:
        raise RecipeError(wrong, "change batch_size", key="batch_size")
    if sampling.n_samples % sampling.batch_size:
        whole = sampling.n_batches * sampling.batch_size
        raise RecipeError(
            f"{sampling.n_samples} samples are no whole number of batches, which this method needs",
            f"give {whole}", key="n_samples",
        )  # fmt: skip


def _attrs(trial: Any, sampling: Sampling) -> tuple[tuple[str, Any], ...]:
    bits = "everywhere" if getattr(trial, "same_bits", False) else "per_cpu"
    found = [("seed", sampling.seed), ("batch_size", sampling.batch_size), ("bits", bits)]
    unit = getattr(trial, "unit", "")
    return (*found, *([("unit", unit)] if unit else []))


def plan_from_options(
    record: Sequence[Any], options: o.MonteCarloOptions, load: Callable[[str], Any]
) -> Plan:
    """Plan of a recipe.

    Parameters
    ----------
    record : sequence of FileItem
        The input: one table for trials of data, else nothing.
    options : MonteCarloOptions
    load : callable
        Gives the function that ``module:function`` names.
    """
    chosen = options.trial
    extra: dict[str, Any] = {}
    if isinstance(chosen, o.FunctionOptions):
        extra = {name: getattr(chosen, name) for name in ("controls", "importance", "seconds_per_sample")}
    return plan_of(
        trial_of(record, chosen, load), most_samples(options), options.seed, options.batch_size,
        target_error=options.target_error, relative=options.target == "relative", max_time=options.max_time,
        quantiles=options.fractions, exact=options.exact, confidence=options.confidence,
        block_batches=options.block_batches,
        earlier=options.earlier, **extra,
    )  # fmt: skip


def most_samples(options: o.MonteCarloOptions) -> int:
    """Return how many samples a run with these options draws at most."""
    if options.target_error is not None and options.max_samples is not None:
        return options.max_samples
    return options.n_samples


def bits_of(options: o.MonteCarloOptions) -> Bits:
    """Return whether the bits depend on the kind of CPU: of a user's code, and of functions such as exp."""
    chosen = options.trial
    if isinstance(chosen, o.FunctionOptions) or getattr(chosen, "function", None) is not None:
        return "per_cpu"
    formula = getattr(chosen, "formula", None)
    return "everywhere" if formula is None or Expression(formula).same_bits else "per_cpu"


def trial_of(record: Sequence[Any], chosen: Any, load: Callable[[str], Any]) -> Any:
    """Make the trial that the options describe."""
    match chosen:
        case o.PiOptions():
            return Pi()
        case o.FunctionOptions():
            return load(chosen.function)
        case o.IntegralOptions():
            limits = tuple((name, low, high) for name, (low, high) in chosen.limits.items())
            return Integral(chosen.formula or load(chosen.function or ""), limits, chosen.method)
        case o.PropagationOptions():
            measured = tuple(
                Measured(name, m.value, m.error, m.unit, m.distribution) for name, m in chosen.values.items()
            )
            return Propagation(chosen.formula, measured, chosen.correlations, chosen.unit)
        case o.BootstrapOptions():
            return Bootstrap(_table(record, chosen.columns), chosen.statistic)
        case o.PermutationOptions():
            return Permutation(_table(record, chosen.columns), chosen.statistic)
        case o.FalseAlarmOptions():
            table = _table(record, chosen.columns)
            return FalseAlarm(table, chosen.lowest, chosen.highest, chosen.frequencies)
        case o.SurveyOptions():
            return mask_of(chosen.areas, chosen.holes)
    raise RecipeError(f"unknown trial {chosen!r}", "choose a kind", key="trial")


def mask_of(areas: Sequence[Any], holes: Sequence[Any]) -> SurveyMask:
    """Make the mask that options describe."""
    return SurveyMask(tuple(map(_shape, areas)), tuple(map(_shape, holes)))


def _shape(shape: Any) -> Box | Circle:
    if isinstance(shape, o.BoxOptions):
        return Box(shape.ra, shape.dec)
    return Circle(shape.ra, shape.dec, shape.radius)


def _table(record: Sequence[Any], columns: Sequence[str]) -> Columns:
    if len(record) != 1:
        raise InputError(f"there are {len(record)} input files", "give one table of data", key="inputs.files")
    return Columns(tuple(columns), record[0])
