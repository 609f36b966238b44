"""What trust costs: ledger, checksums, receipts and TLS, on the reference cases.

    python tests/benchmarks/bench_trust.py [--repeats 5] [--scale 1.0] [image | pairs | carlo]...

Each case runs on two worker processes of one thread, in turn: as `daskpar run` does it, and as the same lazy
graph computed by dask alone, without TLS and with nothing stored. Settings are the same, and small data is
inlined in both. Timed is the time from the cluster being ready, and the first stage built, to the result of
the last stage. The share is that of writing records in the time of all blocks, told by their receipts.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
from dask._task_spec import cull
from dask.core import flatten
from distributed import Client, LocalCluster

import daskpar
from daskpar.clusters.interfaces import LOOPBACK
from daskpar.clusters.settings import CONFIG, worker_environment
from daskpar.durable_graph import graph_of, inlined
from daskpar.execution import each_stage
from daskpar.preparation import prepare_nothing

LIMIT = 1.05
PROFILE = "kind: local\nworkers: 2\ncores: 1\ndashboard: false\n"


def cases(scale: float) -> dict[str, dict[str, Any]]:
    """Return the recipes: 20 s of work each on two cores at scale 1."""
    side = max(64, round(6144 * scale**0.5))
    return {
        "image": {
            "name": "image", "analysis": "image_stats",
            "inputs": {"synthetic": {"n_frames": 32, "shape": [side, side], "seed": 1}},
            "options": {"combine": {"method": "mean", "rejection": "sigma_clip", "center": "median"}},
            "outputs": [],
        },
        "pairs": {
            "name": "pairs", "analysis": "pair_counts",
            "inputs": {"synthetic": {"kind": "clustered", "n_points": max(2000, round(6e5 * scale)),
                                     "boxsize": 800, "n_clusters": 8000, "cluster_sigma": 4, "seed": 1}},
            "options": {"metric": "r", "edges": {"start": 0.5, "stop": 25, "bins": 20, "log": True},
                        "boxsize": 800, "estimator": "natural", "n_patches": 27},
            "outputs": [],
        },
        "carlo": {
            "name": "carlo", "analysis": "monte_carlo",
            "options": {"trial": {"kind": "pi"}, "n_samples": max(10**6, round(6e9 * scale)), "seed": 1},
            "outputs": [],
        },
    }  # fmt: skip


def main() -> None:
    """Print the ratio for each case."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    for name, recipe in cases(arguments.scale).items():
        if not arguments.cases or name in arguments.cases:
            with tempfile.TemporaryDirectory(prefix="daskpar-trust-") as folder:
                print(said(name, measured(recipe, Path(folder), arguments.repeats)), flush=True)


def measured(recipe: dict[str, Any], folder: Path, repeats: int) -> dict[str, Any]:
    """Return the medians of a case: seconds of both, their ratios in order, and the share of writing."""
    (folder / "profile.yaml").write_text(PROFILE)
    recipe = with_frames(recipe, folder)
    with_trust, without, shares = [], [], []
    for number in range(repeats + 1):
        (ours, share), alone = with_ledger(recipe, folder, number), with_dask_alone(recipe, folder, number)
        if number:  # the first compiles kernels and fills the page cache
            with_trust.append(ours)
            without.append(alone)
            shares.append(share)
    ratios = sorted(a / b for a, b in zip(with_trust, without, strict=True))
    return {
        "with_trust": statistics.median(with_trust),
        "without": statistics.median(without),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "share": statistics.median(shares),
    }


def with_frames(recipe: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a recipe whose frames are there: 5 GB made anew for each run would take longer than all runs."""
    if recipe["analysis"] != "image_stats":
        return recipe
    made = prepare_nothing(recipe, folder / "profile.yaml", folder / "made").record
    return {**recipe, "inputs": {"files": [str(Path(made.root) / path) for path in made.paths]}}


def said(name: str, figures: dict[str, Any]) -> str:
    """Return one line for a case."""
    ratios = figures["ratios"]
    verdict = "met" if figures["ratio"] <= LIMIT else "missed"
    return (
        f"{name}: {figures['with_trust']:.2f} s with ledger, checksums and TLS, "
        f"{figures['without']:.2f} s without; median ratio {figures['ratio']:.3f} "
        f"({ratios[0]:.3f} to {ratios[-1]:.3f}, {len(ratios)} pairs; at most {LIMIT}: {verdict}); "
        f"writing records takes {figures['share']:.2%} of the blocks' time"
    )


def with_ledger(recipe: dict[str, Any], folder: Path, number: int) -> tuple[float, float]:
    """Return the seconds of a run from its cluster being ready to its result, and the share of writing."""
    result = daskpar.run(recipe, folder / "profile.yaml", runs=folder / f"runs{number}")
    lines = [json.loads(line) for line in (Path(result.run.path) / "events.jsonl").read_text().splitlines()]
    blocks = [line for line in lines if line["event"] == "block"]
    whole = sum(line["total_seconds"] for line in blocks)
    share = 1.0 - sum(line["seconds"] for line in blocks) / whole
    events = {line["event"]: datetime.fromisoformat(line["time"]) for line in lines}
    return (events["assemble"] - events["cluster"]).total_seconds(), share


def with_dask_alone(recipe: dict[str, Any], folder: Path, number: int) -> float:
    """Return the seconds that dask takes for the same stages without TLS, ledger and receipts."""
    prepared = prepare_nothing(recipe, folder / "profile.yaml", folder / f"alone{number}")
    # Settings and workers of a run, so that nothing but trust makes a difference.
    config = {
        **CONFIG,
        "distributed.nanny.pre-spawn-environ": worker_environment(),
        "distributed.scheduler.preload": [],
    }
    with dask.config.set(config):
        cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host=LOOPBACK)
    with cluster, Client(cluster) as client:
        stages = each_stage(prepared.build())
        stage = next(stages)  # as a run does before it has a cluster
        start = time.perf_counter()
        while stage is not None:
            value = computed(stage.collection, client)
            stage = stages.send(value if isinstance(value, xr.Dataset) else as_dataset(value))
        return time.perf_counter() - start


def computed(collection: Any, client: Client) -> Any:
    """Return a collection's value, of a graph laid out as a run sends it.

    Without that dask alone gives all first tasks to the worker that has the small data they share, and the
    ratio tells of that instead of the ledger.
    """
    (collection,) = dask.optimize(collection)
    keys, graph = collection.__dask_keys__(), graph_of(collection)
    tasks = inlined(cull(graph, set(flatten(keys))))
    rebuild, extra = collection.__dask_postcompute__()
    return rebuild(client.get(tasks, keys), *extra)


def as_dataset(value: Any) -> xr.Dataset:
    """Return what a stage computed as a later stage gets it."""
    arrays = value if isinstance(value, dict) else {"result": value}
    return xr.Dataset(
        {name: ([f"{name}_{n}" for n in range(np.ndim(one))], one) for name, one in arrays.items()}
    )


if __name__ == "__main__":
    main()
