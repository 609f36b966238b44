"""How far the replay on a simulated cluster is off, tried with workers that sleep.

    python tests/benchmarks/bench_simulation.py [--workers 64] [--blocks 128] [--seconds 0.5] [--repeats 1]

Blocks that sleep need no processor, so that many workers share a core, and scheduler, start-up, messages and
ledger are still real. One and two workers are measured, the replay of their blocks predicts the rest,
and that is measured, too. With the defaults about six minutes, and 100 MB a worker.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import daskpar
from daskpar.comparison.ratios import times

HERE = Path(__file__).resolve().parent


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    sys.path.insert(0, str(HERE))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))
    recipe = {
        "name": "sleepers",
        "analysis": "map",
        "inputs": {"grid": {"item": list(range(chosen.blocks)), "seconds": [chosen.seconds]}},
        "options": {"function": "bare_kernels:waiting", "items_per_block": 1},
    }
    counts = [1, 2, chosen.workers]
    with tempfile.TemporaryDirectory() as runs:
        found = daskpar.compare(
            recipe, ["dask"], counts, chosen.repeats, runs=runs, allow_code=True, say=print
        )
        startup = {one["workers"]: one["startup"] for one in found.data["phases"]}
        predicted = {one["workers"]: one for one in found.data["predictions"]}
        for n in counts:
            took = float(np.median(list(times(found.timings, "dask", n).values())))
            print(f"{n} workers: work {took:.2f} s, start-up {startup[n]:.2f} s", end="")
            if n in predicted:
                # A prediction holds the start-up of the measured runs, which is that of one or two workers.
                known = predicted[n]["seconds"] - float(np.median([startup[1], startup[2]]))
                print(f"; predicted {known:.2f} ± {predicted[n]['error']:.2f} s: {known / took:.3f}", end="")
            print()


if __name__ == "__main__":
    main()
