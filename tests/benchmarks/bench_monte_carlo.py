"""Monte Carlo against a bare loop: interleaved median ratios in one process and thread.

    python tests/benchmarks/bench_monte_carlo.py [--samples 2e7] [--repeats 5]

Every version draws from the same batches and streams, so they must agree before they are timed.
"""

import argparse
import statistics
import time

import dask
import numpy as np

import daskpar
from daskpar.analyses.monte_carlo.kernel.streams import generator

SIZE = 65_536


def luminosity(rng, n):
    """A user's numpy trial of some 30 ns a sample."""
    d, f = 10.0 + 0.5 * rng.standard_normal(n), 1.0 + 0.1 * rng.standard_normal(n)
    return 4.0 * np.pi * d * d * f / np.sqrt(1.0 + 0.01 * rng.standard_normal(n) ** 2)


def pi_loop(n):
    """The vectorised numpy loop over the same batches that a careful user writes."""
    hits = 0
    for batch in range(n // SIZE):
        rng = generator(1, batch)
        x, y = rng.random(SIZE), rng.random(SIZE)
        hits += np.count_nonzero(x * x + y * y < 1.0)
    return 4.0 * hits / n


def bare_loop(n):
    """Call the trial and keep only the mean."""
    total = 0.0
    for batch in range(n // SIZE):
        total += luminosity(generator(1, batch), SIZE).mean()
    return total / (n // SIZE)


def simulated(trial, n, **options):
    """Return the mean from `simulate`, on one thread."""
    found = daskpar.simulate(trial, n, 1, SIZE, **options).compute(scheduler="synchronous")
    return float(found["mean"])


def ratio(reference, other, repeats):
    """Return the median of time(reference) / time(other), and its range."""
    assert abs(reference() - other()) < 1e-9
    found = []
    for _ in range(repeats):
        started = time.perf_counter()
        reference()
        between = time.perf_counter()
        other()
        found.append((between - started) / (time.perf_counter() - between))
    return f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def main():
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=float, default=2e7)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    n = int(given.samples) // SIZE * SIZE
    dask.config.set(scheduler="synchronous")
    print(f"{n} samples, {given.repeats} interleaved repeats; above 1: simulate is faster")
    print(
        "pi, numpy loop / simulate:               ",
        ratio(lambda: pi_loop(n), lambda: simulated("pi", n), given.repeats),
    )
    for name, options in (("with quantiles", {}), ("without quantiles", {"quantiles": ()})):
        result = ratio(lambda: bare_loop(n), lambda o=options: simulated(luminosity, n, **o), given.repeats)
        print(f"user's trial, bare loop / {name + ':':<18}", result)


if __name__ == "__main__":
    main()
