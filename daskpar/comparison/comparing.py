"""`compare`: what is asked for is checked; then measured here, or by one job of a batch system."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from daskpar.comparison.job import follow, is_submitted, submitted, where_we_are
from daskpar.comparison.measuring import measure
from daskpar.comparison.request import make_request
from daskpar.comparison.result import Comparison
from daskpar.errors import UsageError
from daskpar.rundir import runs_folder

if TYPE_CHECKING:
    from daskpar.profile import Profile
    from daskpar.recipe import Recipe


def compare(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    versions: Sequence[str] = ("dask", "multiprocessing", "mpi4py"),
    workers: Sequence[int] = (1, 2),
    repeats: int = 5,
    *,
    profile: str | Path | Profile = "local",
    most_repeats: int | None = None,
    weak: bool = False,
    block_sizes: Sequence[int] = (),
    settings: Sequence[str] = (),
    allow_code: bool = False,
    runs: str | Path | None = None,
    time_limit: float = 3600.0,
    detach: bool = False,
    say: Callable[[str], None] | None = None,
) -> Comparison:
    """Compare dask with versions written by hand: results first, then times.

    Each version runs in a fresh process tree each time, with one thread a worker, in an order that changes
    from round to round. A first round warms caches up, watches the memory and checks the results: a version
    whose result differs gets no time.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        What all versions compute.
    versions : sequence of str
        ``dask``, by-hand versions of the analysis (``serial``, ``threads``, ``multiprocessing``, ``mpi4py``,
        …), ``all``, or ``name=module:function`` with `allow_code`. The first is the reference.
    workers : sequence of int
        Processes or threads that compute.
    repeats : int
        Rounds at least.
    profile : str, path or Profile
        Where. All versions run on the same cores: on this machine; or, where the profile's driver is a batch
        job, on one node inside one job, which is submitted and followed.
    most_repeats : int, optional
        Go on until every 95 % interval of a median is narrower than 10 %, or there were so many rounds. By
        default `repeats`.
    weak : bool
        The problem grows with the number of workers.
    block_sizes : sequence of int
        Measure dask also with blocks of these sizes (items, or batches), for the cost of a task.
    settings, allow_code, runs
        As in `daskpar.run`.
    time_limit : float
        Seconds for one start of one version.
    detach : bool
        Return as soon as the job is submitted; it writes the report itself.
    say : callable, optional
        Is told what happens, line by line.

    Returns
    -------
    Comparison
        With ``table``, ``fits``, ``plot()`` and ``report(path)``; its folder lies beside the runs.

    Raises
    ------
    daskpar.errors.UsageError
        An unknown version, or numbers that make no sense.
    daskpar.errors.ClusterError
        The reference itself fails, or the job.
    """
    say = say or (lambda line: None)
    wanted = make_request(
        recipe, profile, versions, workers, repeats, most_repeats, settings=settings, allow_code=allow_code,
        weak=weak, block_sizes=tuple(block_sizes), time_limit=time_limit,
    )  # fmt: skip
    in_job = is_submitted(wanted.profile)
    if detach and not in_job:
        raise UsageError("there is no batch job to leave", "compare without --detach", key="--detach")
    if not in_job:
        wanted = where_we_are(wanted)
    folder = _make_folder(wanted.recipe.name, runs_folder(runs))
    try:
        if in_job:
            job = submitted(wanted, folder, say)
        else:
            measure(wanted, folder, say)
    except BaseException:
        if not (folder / "comparison.json").exists():  # nothing was measured
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if in_job and not detach:
        follow(folder, job, say)
    return Comparison(folder)


def _make_folder(name: str, runs: Path) -> Path:
    folder = runs / f"compare-{name}-{time.strftime('%Y%m%dT%H%M%S')}-{uuid4().hex[:4]}"
    (folder / "logs").mkdir(parents=True, mode=0o700)
    return folder
