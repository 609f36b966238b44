"""Dask beside versions written by hand, on the three analyses: ratios of times, and the ceiling.

    python tests/benchmarks/bench_compare.py [--scale 1.0] [--repeats 9] [--workers 2] [ANALYSIS ...]

At scale 1 a core has about 10 s of work; at 0.1 about 1 s. The first column is what is asked of dask: the
median ratio to the faster by-hand version at most 1.05 (its interval below 1.10), at 1 s a core at most 1.3.
The serial version tells the ceiling: half its time on two cores.
"""

import argparse
import tempfile

import numpy as np

import daskpar
from daskpar.comparison.ratios import all_ratios, times

VERSIONS = ["dask", "serial", "threads", "multiprocessing", "mpi4py"]


def recipes(scale):
    points = int(1_200_000 * scale**0.5)
    return {
        "image_stats": {
            "analysis": "image_stats",
            "inputs": {"synthetic": {"n_frames": max(8, int(160 * scale)), "shape": [2048, 2048], "seed": 1}},
        },
        "pair_counts": {
            "analysis": "pair_counts",
            "inputs": {"synthetic": {"kind": "uniform", "n_points": points, "boxsize": 500, "seed": 1}},
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
                "n_samples": int(6e9 * scale),
                "batch_size": 1 << 20,
                "seed": 1,
            },
        },
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("analyses", nargs="*")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    for name, recipe in recipes(chosen.scale).items():
        if chosen.analyses and name not in chosen.analyses:
            continue
        with tempfile.TemporaryDirectory() as runs:
            found = daskpar.compare(
                {"name": name, **recipe}, VERSIONS, [chosen.workers], chosen.repeats, runs=runs, say=print
            )
            show(name, found, chosen.workers)


def show(name, found, workers):
    print(f"\n{name}, {workers} workers")
    found.table.pprint_all()
    for ratio in all_ratios(found.timings, "dask"):
        print(f"  dask / {ratio.base}: {ratio.ratio:.3f} ({ratio.low:.3f} to {ratio.high:.3f})")
    serial = list(times(found.timings, "serial", 1).values())
    for version in VERSIONS[1:]:
        mine = list(times(found.timings, version, workers).values())
        if serial and mine:
            print(f"  {version}: {np.median(serial) / workers / np.median(mine):.2f} of the ceiling")


if __name__ == "__main__":
    main()
