"""Dask beside versions written by hand, on each analysis: ratios of times, the ceiling, start-up and totals.

    python tests/benchmarks/bench_compare.py [--seconds 10] [--repeats 9] [--versions V,W] [ANALYSIS ...]
    python tests/benchmarks/bench_compare.py --decision [--seconds 2] [--repeats 5]

The first lines of each analysis are ratios: from the first task submitted to the last partial merged, the
median time of dask over that of each version by hand, threads as well as processes, with its 95 % interval.
What is asked is the marked one, over the fastest by hand on as many cores: at most 1.05 (interval below 1.10)
with 10 seconds of work a core, 1.3 with one. Then each version against the ceiling, the bare kernel in pinned
processes (`bare_kernels`), which is worth 0.93; start-up and totals. How many seconds of work a core really
had, by that bare kernel, is printed beside what was asked for.

With 10 seconds a core, 9 repeats and an idle machine an analysis takes about ten minutes, with one second
about three. Name one to measure it alone: image_stats, pair_counts, monte_carlo, map. ``--versions
multiprocessing,mpi4py`` has these alone stand beside dask's processes, which is sooner done.

``--decision`` measures threads, processes, asyncio, prange, MPI and dask on work that computes with and
without the interpreter's lock and on work that waits, and prints the table of the README as Markdown.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import daskpar
from daskpar.comparison.ratios import all_ratios, median_interval, ratio_interval, times
from daskpar.comparison.timing import counted

HERE = Path(__file__).resolve().parent
DASK = ["dask", "dask_threads"]  # workers that are processes, and threads of one
BY_HAND = {
    "image_stats": ["threads", "prange", "multiprocessing", "mpi4py"],
    "pair_counts": ["threads", "multiprocessing", "mpi4py"],
    "monte_carlo": ["threads", "multiprocessing", "mpi4py"],
    "map": ["threads", "processes", "multiprocessing", "mpi4py"],
}
BARE = {
    "image_stats": "image_stats",
    "pair_counts": "pair_counts",
    "monte_carlo": "monte_carlo",
    "map": "map_items",
}


def recipes(seconds):
    """Return recipes with about so many seconds of work for each of two cores."""
    redshifts = max(1, round(2400 * seconds))
    return {
        "image_stats": {
            "analysis": "image_stats",
            "inputs": {
                "synthetic": {"n_frames": max(8, round(8 * seconds)), "shape": [4096, 4096], "seed": 1}
            },
        },
        "pair_counts": {
            "analysis": "pair_counts",
            "inputs": {
                "synthetic": {
                    "kind": "uniform",
                    "n_points": round(580_000 * seconds**0.5),
                    "boxsize": 500,
                    "seed": 1,
                }
            },
            "options": {
                "edges": {"start": 0.5, "stop": 40, "bins": 20, "log": True},
                "boxsize": 500,
                "estimator": None,
            },
        },
        "monte_carlo": {
            "analysis": "monte_carlo",
            "options": {
                "trial": {"kind": "pi"},
                "n_samples": round(1e9 * seconds),
                "batch_size": 1 << 20,
                "seed": 1,
            },
        },
        "map": {
            "analysis": "map",
            "inputs": {
                "grid": {
                    "omega_matter": [0.3],
                    "hubble": [70.0, 73.0],
                    "redshift": np.linspace(0.01, 9, redshifts).round(6).tolist(),
                }
            },
            "options": {
                "function": "daskpar.analyses.map.examples:comoving_distance",
                "items_per_block": max(1, min(800, redshifts // 16)),
            },
        },
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("analyses", nargs="*", metavar="ANALYSIS", choices=[[], *BARE])
    parser.add_argument("--seconds", type=float, default=10.0, help="work of each of two cores")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--versions", type=lambda text: text.split(","), help="by hand; all without it")
    parser.add_argument("--decision", action="store_true", help="the table of the README")
    chosen = parser.parse_args()
    sys.path.insert(0, str(HERE))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    if chosen.decision:
        from decision_table import decide

        print(decide(recipes(chosen.seconds), chosen.seconds, chosen.repeats, chosen.workers))
        return
    for name, recipe in recipes(chosen.seconds).items():
        if name in (chosen.analyses or BARE):
            began = time.monotonic()
            beside = ["dask", *chosen.versions] if chosen.versions else [*DASK, *BY_HAND[name]]
            versions = [*beside, f"bare=bare_kernels:{BARE[name]}"]
            found = measured(name, recipe, versions, chosen.workers, chosen.repeats)
            print(shown(name, found.timings, chosen.workers, chosen.seconds))
            print(f"  took {time.monotonic() - began:.0f} s", flush=True)


def measured(name, recipe, versions, workers, repeats):
    """Compare versions and return the comparison; its folder is gone."""
    with tempfile.TemporaryDirectory() as runs:
        made = {"name": name, **recipe}
        found = daskpar.compare(
            made,
            versions,
            [workers],
            repeats,
            runs=runs,
            allow_code=True,
            say=lambda line: print(f"    {line}"),
        )
        _ = found.timings  # read while they are there
        return found


def shown(name, timings, workers, asked):
    """Return what is asked as text: ratios, the share of the ceiling, start-up, totals."""
    work = {version: times(timings, version, workers) for version in (*DASK, *BY_HAND[name], "bare")}
    work = {version: seconds for version, seconds in work.items() if seconds}
    by_hand = [version for version in BY_HAND[name] if version in work]
    fastest = min(by_hand, key=lambda version: np.median([*work[version].values()]))
    bare = median_interval([*work["bare"].values()]).value
    lines = [
        f"\n{name}, {workers} workers, {len(work['dask'])} rounds: from first task to last partial",
        f"  work a core: {bare:.2f} s by the bare kernel, {asked:g} s asked for",
    ]
    for ratio in all_ratios(timings, "dask"):
        mark = "   <- the fastest by hand: what is asked" if ratio.base == fastest else ""
        lines.append(f"  dask / {ratio.base}: {ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f}){mark}")
    if {"dask_threads", "threads"} <= work.keys():
        like = ratio_interval(*paired(work, "dask_threads", "threads"))
        lines.append(f"  dask_threads / threads: {like.value:.3f} ({like.low:.3f} to {like.high:.3f})")
    lines.append("  version            work (s)            of the ceiling       start-up (s)  total (s)")
    for version, seconds in work.items():
        middle = median_interval([*seconds.values()])
        share = ratio_interval(*paired(work, "bare", version))
        startup, total = (phase(timings, version, workers, name) for name in ("startup", "total"))
        lines.append(
            f"  {version:16s} {middle.value:7.3f} ({middle.low:.3f} to {middle.high:.3f})"
            f"  {share.value:.3f} ({share.low:.3f} to {share.high:.3f})  {startup:8.2f}  {total:9.2f}"
        )
    return "\n".join(lines)


def paired(work, one, other):
    """Return the seconds of two versions in the rounds that both have."""
    both = sorted(work[one].keys() & work[other].keys())
    return [work[one][n] for n in both], [work[other][n] for n in both]


def phase(timings, version, workers, name):
    """Return the median seconds of a phase."""
    mine = [one for one in counted(timings) if (one.version, one.workers) == (version, workers)]
    return float(np.median([one.seconds[name] for one in mine]))


if __name__ == "__main__":
    main()
