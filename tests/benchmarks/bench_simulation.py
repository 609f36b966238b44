"""How far the replay on a simulated cluster is off, tried with workers that sleep.

    python tests/benchmarks/bench_simulation.py [--workers 64] [--blocks 128] [--seconds 0.5] [--repeats 1]

Blocks that sleep need no processor, so that many workers share a core, and scheduler, start-up, messages and
ledger are still real. One and two workers are measured, the replay of their blocks predicts the rest,
and that is measured, too. With the defaults about six minutes, and 100 MB a worker.
"""

import argparse
import tempfile

import numpy as np

import daskpar
from daskpar.comparison.ratios import times
from daskpar.comparison.simulation import predict, recorded


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=1)
    chosen = parser.parse_args()
    print(said(asleep(chosen.workers, chosen.blocks, chosen.seconds, chosen.repeats)))


def asleep(workers, blocks, seconds, repeats=1):
    """Return seconds of work measured on so many workers and predicted from one and two, and the error."""
    recipe = {
        "name": "sleepers",
        "analysis": "map",
        "inputs": {"grid": {"number": list(range(blocks)), "seconds": [seconds]}},
        "options": {"function": "daskpar.analyses.map.examples:waiting", "items_per_block": 1},
    }
    with tempfile.TemporaryDirectory() as runs:
        found = daskpar.compare(recipe, ["dask"], [1, 2, workers], repeats, runs=runs, say=print)
        timings, data = found.timings, found.data  # read while they are there
    took = {n: float(np.median(list(times(timings, "dask", n).values()))) for n in (1, 2, workers)}
    known = {n: took[n] for n in (1, 2)}
    startup = {one["workers"]: one["startup"] for one in data["phases"]}
    (far,) = predict(recorded(data["blocks"]), [workers], known)
    return {
        "workers": workers, "blocks": blocks, "seconds": seconds, "known": known, "took": took[workers],
        "predicted": far.seconds, "error": far.error, "startup": startup[workers],
    }  # fmt: skip


def said(found):
    """Return it as a line."""
    known = ", ".join(f"{took:.2f} s on {n}" for n, took in found["known"].items())
    return (
        f"{found['blocks']} blocks that sleep {found['seconds']} s: {known}; on {found['workers']} workers "
        f"{found['took']:.2f} s, predicted {found['predicted']:.2f} ± {found['error']:.2f} s "
        f"({found['predicted'] / found['took']:.3f}), start-up {found['startup']:.1f} s"
    )


if __name__ == "__main__":
    main()
