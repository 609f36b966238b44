"""Monte Carlo: any function of (generator, number of samples), with an error bar, until it is good enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from daskpar.analyses.monte_carlo.options import FunctionOptions, MonteCarloOptions
from daskpar.analyses.monte_carlo.synthetic import SyntheticTable, write_synthetic
from daskpar.analysis import Analysis, Bits, Where, load_code
from daskpar.errors import RecipeError
from daskpar.inputs.files import describe_files

if TYPE_CHECKING:
    import xarray as xr


class MonteCarloInputs(BaseModel):
    """Inputs: a table for trials of data, from ``files`` or made from a seed; other trials need none."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    files: str | tuple[str, ...] | None = Field(None, description="A table: ECSV, CSV, FITS, Parquet or npy")
    synthetic: SyntheticTable | None = Field(None, description="A table made from a seed")


def open_inputs(inputs: Mapping[str, Any], where: Where) -> tuple[Any, ...]:
    """Return the description of the one table that the trial reads, or nothing."""
    files, made = inputs.get("files"), inputs.get("synthetic")
    if files and made:
        raise RecipeError("both files and synthetic are given", "give one of the two", key="inputs")
    if made:
        return describe_files(
            [write_synthetic(SyntheticTable.model_validate(made), where.scratch)], where.scratch
        )
    return describe_files(where.resolve(files), where.root) if files else ()


def identity(record: tuple[Any, ...]) -> list[Any]:
    """Return what says which table it is."""
    return [item.identity for item in record]


def _build(record: Any, options: MonteCarloOptions) -> Any:
    from daskpar.analyses.monte_carlo.planning import plan_from_options
    from daskpar.analyses.monte_carlo.with_dask import stages

    return stages(plan_from_options(record, options, load_code))


def _code(options: MonteCarloOptions) -> list[str]:
    function = getattr(options.trial, "function", None)
    return [function] if function is not None else []


def _code_arguments(options: MonteCarloOptions) -> int:
    return 2 if isinstance(options.trial, FunctionOptions) else 1  # (rng, n), or points


def _bits(options: MonteCarloOptions) -> Bits:
    from daskpar.analyses.monte_carlo.planning import bits_of

    return bits_of(options)


def _extended(before: MonteCarloOptions, after: MonteCarloOptions) -> dict[str, Any]:
    """Have the blocks of a longer run end where those of the shorter one did."""
    from daskpar.analyses.monte_carlo.planning import most_samples

    ends = {*before.earlier, *after.earlier, most_samples(before)} - {most_samples(after)}
    return {"earlier": sorted(ends)}


def _replay(record: Any, options: MonteCarloOptions, name: str) -> Callable[[], Any] | None:
    """Return a function that draws the batch of this number, or None where the name is not one."""
    if not (name.isascii() and name.isdigit()):
        return None
    from daskpar.analyses.monte_carlo.planning import plan_from_options
    from daskpar.analyses.monte_carlo.tasks import one_batch

    return partial(one_batch, plan_from_options(record, options, load_code).sampling, int(name))


def _cost(record: Any, options: MonteCarloOptions) -> dict[str, Any]:
    from daskpar.analyses.monte_carlo.planning import plan_from_options

    plan = plan_from_options(record, options, load_code)
    sampling = plan.sampling
    batch = 8 * sampling.size(0)
    return {
        "samples": sampling.n_samples,
        "batches": sampling.n_batches,
        "estimated_seconds": sampling.n_samples * plan.seconds_per_sample,
        "task_memory_bytes": 40_000_000 + 8 * batch * int(getattr(sampling.trial, "columns", 1)),
    }


def _plot(dataset: xr.Dataset, figure: Any) -> None:
    from daskpar.analyses.monte_carlo.plot import convergence

    convergence(dataset, figure)


def _preview(partial: Mapping[str, Any]) -> Any:
    """Count, mean and central second sum of a block, for watchers; None of what is no node."""
    if "moments" not in partial:
        return None
    moments, k = partial["moments"], partial["moments"].shape[1]
    second = [float(moments[5 + i, i]) for i in range(min(k, 8))]
    return {"count": int(partial["count"]), "mean": moments[0, :8].tolist(), "second": second}


ANALYSIS = Analysis(
    build=_build,
    options=MonteCarloOptions,
    inputs=MonteCarloInputs,
    open_inputs=open_inputs,
    identity=identity,
    plot=_plot,
    preview=_preview,
    panel="daskpar.dashboard.monte_carlo_panel:monte_carlo_panel",
    cost=_cost,
    code=_code,
    code_arguments=_code_arguments,
    bits=_bits,
    extended=_extended,
    replay=_replay,
    outputs=("result.nc", "convergence.png"),
    by_hand={
        "serial": "daskpar.analyses.monte_carlo.with_serial:run",
        "threads": "daskpar.analyses.monte_carlo.with_threads:run",
        "multiprocessing": "daskpar.analyses.monte_carlo.with_multiprocessing:run",
        "mpi4py": "daskpar.analyses.monte_carlo.with_mpi4py:run",
        "mpi4py_pool": "daskpar.analyses.monte_carlo.with_mpi4py:run_pool",
    },
)
