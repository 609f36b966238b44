"""Options of the analysis `monte_carlo`, as recipes write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_MODEL = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
Pair = tuple[float, float]


def _whole(value: Any) -> Any:
    """Take 1e9 for 1000000000, as people write sample sizes."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


CodeText = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
Whole = Annotated[int, BeforeValidator(_whole)]


class PiOptions(BaseModel):
    """The area of a quarter circle."""

    model_config = _MODEL
    kind: Literal["pi"] = Field("pi", description="4 where a random point lies within the circle, else 0")


class FunctionOptions(BaseModel):
    """A function of your own."""

    model_config = _MODEL
    kind: Literal["function"] = Field(description="A function of yours; needs --allow-code")
    function: CodeText = Field(
        description="module:function, called with a generator and n; returns (n,) or (n, k)",
        examples=["mylab.trials:draw"],
    )
    seconds_per_sample: float = Field(2e-8, gt=0, description="Rough cost, for the sizes of blocks")
    controls: tuple[float, ...] = Field(
        (), description="Known means of columns 1, 2, ..., which then serve as control variates of column 0"
    )
    importance: Literal["", "normalised", "self_normalised"] = Field(
        "",
        description="Columns are w f and w, w the ratio of target and sampling density, or a multiple",
    )


class IntegralOptions(BaseModel):
    """An integral over a box."""

    model_config = _MODEL
    kind: Literal["integral"] = Field(description="Integral of a formula or a function over a box")
    formula: str | None = Field(None, description="The integrand, in the names of limits", examples=["x * y"])
    function: CodeText | None = Field(
        None,
        description="Or module:function, of points (n, d) in the order of limits; needs --allow-code",
        examples=["mylab.integrands:density"],
    )
    limits: dict[str, Pair] = Field(description="[low, high] of each variable", examples=[{"x": [0, 1]}])
    method: Literal["plain", "antithetic", "stratified", "latin_hypercube", "sobol"] = Field(
        "plain", description="How points are drawn; all but plain need n_samples in whole batches"
    )

    @model_validator(mode="after")
    def _one_integrand(self) -> Self:
        if (self.formula is None) == (self.function is None):
            raise ValueError("an integral needs a formula or a function, one of the two")
        return self


class MeasuredOptions(BaseModel):
    """A measured value."""

    model_config = _MODEL
    value: float = Field(description="The value", examples=[1.0])
    error: float = Field(0.0, ge=0, description="Standard deviation, or half-width if uniform")
    unit: str = Field("", description="Unit as astropy writes it; empty for a pure number")
    distribution: Literal["normal", "uniform", "exact"] = Field("normal", description="How it varies")


class PropagationOptions(BaseModel):
    """A formula of measured values."""

    model_config = _MODEL
    kind: Literal["error_propagation"] = Field(description="A formula of measured values")
    formula: str = Field(description="The formula", examples=["4 * pi * d**2 * f"])
    values: dict[str, MeasuredOptions] = Field(
        description="The measured values", examples=[{"d": {"value": 1.0}}]
    )
    correlations: tuple[tuple[str, str, float], ...] = Field(
        (), description="[name, name, coefficient] of pairs"
    )
    unit: str = Field("", description="Unit of the result; default: the SI unit that follows")


class BootstrapOptions(BaseModel):
    """A statistic of resampled data."""

    model_config = _MODEL
    kind: Literal["bootstrap"] = Field(description="A statistic of data drawn again with replacement")
    columns: tuple[str, ...] = Field(
        min_length=1, max_length=2, description="Columns of the table", examples=[["x"]]
    )
    statistic: Literal[
        "mean", "median", "std", "variance", "sum", "mad", "interquartile_range", "correlation"
    ] = Field("mean", description="Which statistic")  # fmt: skip


class PermutationOptions(BaseModel):
    """A permutation test."""

    model_config = _MODEL
    kind: Literal["permutation"] = Field(description="A permutation test of two columns")
    columns: tuple[str, str] = Field(description="Columns of the table", examples=[["x", "y"]])
    statistic: Literal["difference_of_means", "correlation"] = Field(
        "difference_of_means", description="Which statistic"
    )


class FalseAlarmOptions(BaseModel):
    """The false-alarm probability of a peak in a Lomb-Scargle periodogram."""

    model_config = _MODEL
    kind: Literal["false_alarm"] = Field(description="Largest Lomb-Scargle power of noise against the data's")
    columns: tuple[str, str, str] = Field(
        ("time", "value", "error"), description="Columns of time, value and standard error"
    )
    lowest: float = Field(gt=0, description="Lowest frequency, cycles per unit of time", examples=[0.01])
    highest: float = Field(gt=0, description="Highest frequency", examples=[1.0])
    frequencies: int = Field(1000, ge=1, le=1_000_000, description="How many, equally spaced")


class BoxOptions(BaseModel):
    """An area between two meridians and two parallels."""

    model_config = _MODEL
    ra: Pair = Field(description="From west to east, degrees", examples=[[0, 10]])
    dec: Pair = Field(description="From south to north, degrees", examples=[[0, 10]])


class CircleOptions(BaseModel):
    """A round area."""

    model_config = _MODEL
    ra: float = Field(description="Centre, degrees", examples=[5.0])
    dec: float = Field(description="Centre, degrees", examples=[5.0])
    radius: float = Field(gt=0, le=180, description="Degrees", examples=[1.0])


class SurveyOptions(BaseModel):
    """The area of a survey mask."""

    model_config = _MODEL
    kind: Literal["survey_area"] = Field(description="Area of a survey mask")
    areas: tuple[BoxOptions | CircleOptions, ...] = Field(
        min_length=1, description="What is covered", examples=[[{"ra": [0, 10], "dec": [0, 10]}]]
    )
    holes: tuple[BoxOptions | CircleOptions, ...] = Field((), description="What is cut out")


TrialOptions = Annotated[
    PiOptions | FunctionOptions | IntegralOptions | PropagationOptions | BootstrapOptions | PermutationOptions
    | FalseAlarmOptions | SurveyOptions,
    Field(discriminator="kind"),
]  # fmt: skip


Fractions = tuple[Annotated[float, Field(ge=0, le=1)], ...]
FRACTIONS = (0.025, 0.16, 0.5, 0.84, 0.975)


class ExactQuantiles(BaseModel):
    """Exact quantiles at fractions of one's own."""

    model_config = _MODEL
    exact: Fractions = Field(FRACTIONS, min_length=1, description="Fractions")


class MonteCarloOptions(BaseModel):
    """Options of the analysis `monte_carlo`."""

    model_config = _MODEL

    trial: TrialOptions = Field(PiOptions(kind="pi"), description="What is drawn")
    n_samples: Whole = Field(10_000_000, gt=0, description="Samples to draw; with target_error, the most")
    seed: int = Field(0, ge=0, description="Seed; the same seed gives the same bits everywhere")
    batch_size: Whole = Field(
        65_536, gt=0, description="Samples a random stream; part of what defines the numbers"
    )
    target_error: float | None = Field(None, gt=0, description="Stop once the standard error is at most this")
    target: Literal["absolute", "relative"] = Field(
        "absolute", description="What target_error is relative to"
    )
    max_samples: Whole | None = Field(
        None, gt=0, description="With target_error: the most samples, over n_samples"
    )
    max_time: float | None = Field(
        None, gt=0, description="Seconds after which the round at hand is the last"
    )
    quantiles: Fractions | ExactQuantiles | Literal["exact"] = Field(
        FRACTIONS,
        description="Fractions; an empty list saves the histogram. exact, or {exact: fractions}, draws all "
        "samples twice and gives the quantiles as sorting would",
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="Of the intervals")
    earlier: tuple[Whole, ...] = Field(
        (),
        description="Sizes at which the run ended before it was extended: its blocks are found again; "
        "daskpar resume fills it in, and it changes no result",
    )
    block_batches: int | None = Field(
        None,
        ge=1,
        description="Batches a block, a power of two; changes no result. Default: from predicted time",
    )

    @property
    def exact(self) -> bool:
        """Whether quantiles are to be exact."""
        return self.quantiles == "exact" or isinstance(self.quantiles, ExactQuantiles)

    @property
    def fractions(self) -> tuple[float, ...]:
        """Fractions of the quantiles."""
        if isinstance(self.quantiles, ExactQuantiles):
            return self.quantiles.exact
        return FRACTIONS if isinstance(self.quantiles, str) else self.quantiles
