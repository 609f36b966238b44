"""Monte Carlo against a bare loop: interleaved median ratios, on one thread and on two workers.

    python tests/benchmarks/bench_monte_carlo.py [--samples 2e7] [--repeats 5] [--seconds 10] [--large 1e9]

Every version draws from the same batches and streams, so they must agree before they are timed. ``--seconds``
is the work of two workers against two plain pinned processes, ``--large`` the samples whose memory is
compared with that of a million.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

import dask
import numpy as np

import daskpar
from daskpar.analyses.monte_carlo.batches import Sampling, node_of_run
from daskpar.analyses.monte_carlo.kernel.blocks import blocks
from daskpar.analyses.monte_carlo.kernel.streams import generator
from daskpar.analyses.monte_carlo.trials.pi import Pi

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
    """Return the median of time(reference) / time(other), and its range, by processor time of one thread."""
    assert abs(reference() - other()) < 1e-9
    found = []
    for turn in range(repeats):
        seconds = {}
        for case in (reference, other) if turn % 2 else (other, reference):
            started = time.process_time()
            case()
            seconds[case] = time.process_time() - started
        found.append(seconds[reference] / seconds[other])
    return f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def half(core, first, last, ready, results):
    """Draw every second batch in a plain process of one core."""
    os.sched_setaffinity(0, {core})
    pi = Pi()
    pi.hits(generator(1, 0), SIZE)  # compiled before the clock starts
    ready.wait()
    results.put(sum(pi.hits(generator(1, batch), SIZE) for batch in range(first, last, 2)))


def two_processes(batches):
    """Return pi from two plain pinned processes, and the seconds they computed."""
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(3), context.Queue()
    cores = sorted(os.sched_getaffinity(0))[:2]
    workers = [
        context.Process(target=half, args=(core, i, batches, ready, results)) for i, core in enumerate(cores)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    started = time.perf_counter()
    hits = sum(results.get() for _ in workers)
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join()
    return 4.0 * hits / (batches * SIZE), seconds


def two_workers(client, batches):
    """Return pi from two workers that have computed before, and the seconds of the call."""
    started = time.perf_counter()
    found = daskpar.simulate("pi", batches * SIZE, 1, SIZE, quantiles=()).compute(scheduler=client)
    return float(found["mean"]), time.perf_counter() - started


def scaling(seconds, repeats):
    """Return the median of time(two plain processes) / time(two workers), and its range."""
    batches, found = int(seconds / (SIZE * Pi.seconds_per_sample)) * 2, []
    with daskpar.open_client("local", workers=2, dashboard=False) as client:
        two_workers(client, 64)
        for _ in range(repeats):
            (plain, reference), (ours, taken) = two_processes(batches), two_workers(client, batches)
            assert abs(plain - ours) < 1e-9
            found.append(reference / taken)
    return f"{statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})"


PEAK = """
import dask, resource, daskpar
dask.config.set(scheduler="synchronous")
daskpar.simulate("pi", {n}, 1).compute()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_megabytes(n):
    """Return the peak memory of a process that draws n samples."""
    text = subprocess.run(
        [sys.executable, "-c", PEAK.format(n=int(n))], capture_output=True, text=True, check=True
    )
    return int(text.stdout) / 1024


def share_of_dask(n, repeats):
    """Return the median part of the time of `simulate` that is not spent in blocks, in per cent."""
    sampling = Sampling(Pi(), 1, SIZE, n)
    runs = blocks(sampling.n_batches, SIZE * Pi.seconds_per_sample)
    found = []
    for _ in range(repeats + 1):
        started = time.process_time()
        simulated("pi", n, quantiles=())
        between = time.process_time()
        for run in runs:
            node_of_run(sampling, run.first, run.count, 1, None)
        found.append(100.0 * (1.0 - (time.process_time() - between) / (between - started)))
    return statistics.median(found[1:]), len(runs)


def main():
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=float, default=5e7)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--large", type=float, default=1e9)
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
    share, count = share_of_dask(int(given.large), given.repeats)
    print(f"time outside blocks, {given.large:.0e} samples in {count} blocks: {share:.2f} %")
    few, many = peak_megabytes(1e6), peak_megabytes(given.large)
    print(f"peak memory: {few:.0f} MB for 1e6 samples, {many:.0f} MB for {given.large:.0e}")
    print(f"two plain processes / two workers, {given.seconds:g} s:", scaling(given.seconds, given.repeats))


if __name__ == "__main__":
    main()
