"""Pair counts on two cores and in little memory, as ratios in one run.

    python tests/benchmarks/bench_pair_parallel.py [threads] [dask] [memory] [balance] [--points 3000000]

threads  blocks in two threads against two plain pinned processes, each with half of the blocks; target 0.95
dask     `daskpar.count_pairs` on two workers against plan, cells and blocks in two threads of one process;
         with the default number of points about 10 s of work; target 1.05
memory   a run of --largest points at the same density whose two workers are limited to --limit MB each
balance  the predicted cost of the blocks of a clustered catalog beside the processor time they took

Two cores are needed. The ``--repeats`` are interleaved; medians and ranges are printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from bench_pair_counts import BOX, EDGES, clustered, uniform

import daskpar
from daskpar.analyses.pair_counts.balance import WORKERS, idle_share
from daskpar.analyses.pair_counts.cells_stage import Question, count_block, make_plan, sort_piece
from daskpar.analyses.pair_counts.kernel.binning import Binning

QUESTION = Question(Binning("r", EDGES), (BOX,) * 3, True)
PATIENCE = 600.0


def prepare(sample):
    """Return plan and sorted points."""
    piece = {"positions": sample}
    plan = make_plan(QUESTION, [piece], [], 1024)
    return plan, [sort_piece(QUESTION, plan, piece)]


def count(plan, points, blocks):
    """Count some blocks; the number of pairs."""
    return sum(int(count_block(QUESTION, plan, points, [], k)["npairs"].sum()) for k in blocks)


def in_threads(plan, points):
    """Count all blocks in two threads; pairs and seconds."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(2) as pool:
        pairs = sum(pool.map(lambda k: count(plan, points, [k]), range(len(plan["ranges"]))))
    return pairs, time.perf_counter() - begin


def plain(core, n, begin, ends, repeats):
    """Count every other block on one core, whenever all are ready."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    plan, points = prepare(uniform(n, BOX))
    count(plan, points, [0])
    for _ in range(repeats):
        begin.wait(PATIENCE)
        pairs = count(plan, points, range(core, len(plan["ranges"]), 2))
        ends.put((pairs, time.perf_counter()))


def threads(options):
    """Print how much of two processes' speed two threads reach."""
    context = multiprocessing.get_context("spawn")
    begin, ends = context.Barrier(3), context.Queue()
    arguments = (options.points, begin, ends, options.repeats)
    workers = [context.Process(target=plain, args=(core, *arguments)) for core in range(2)]
    for worker in workers:
        worker.start()
    plan, points = prepare(uniform(options.points, BOX))
    in_threads(plan, points)
    ratios = []
    for _ in range(options.repeats):
        begin.wait(PATIENCE)
        started = time.perf_counter()
        found = [ends.get(timeout=PATIENCE) for _ in workers]
        reference = max(end for _, end in found) - started
        pairs, seconds = in_threads(plan, points)
        if pairs != sum(n for n, _ in found):
            raise RuntimeError("counts differ")
        ratios.append(reference / seconds)
    for worker in workers:
        worker.join()
    show("two threads, of two processes", ratios, reference)


def through_dask(options):
    """Print the time through dask over that of the bare kernel."""
    sample = uniform(options.points, BOX)
    catalog, ratios = daskpar.open_catalog(sample), []
    few = uniform(20_000, BOX)
    with daskpar.open_client("local", workers=2, dashboard=False) as client:
        client.wait_for_workers(2)
        daskpar.count_pairs(few, edges=EDGES, boxsize=BOX, separations=False).compute(scheduler=client)
        in_threads(*prepare(few))
        for _ in range(options.repeats):
            begin = time.perf_counter()
            counts = daskpar.count_pairs(catalog, edges=EDGES, boxsize=BOX, separations=False)
            pairs = int(counts.compute(scheduler=client)["npairs"].sum())
            seconds = time.perf_counter() - begin
            begin = time.perf_counter()
            bare, _ = in_threads(*prepare(sample))
            reference = time.perf_counter() - begin
            if pairs != 2 * bare:
                raise RuntimeError("counts differ")
            ratios.append(seconds / reference)
    show("through dask, over two threads", ratios, reference)


def memory(options):
    """Print time and memory of a run whose workers are limited."""
    side = BOX * (options.largest / 500_000) ** (1 / 3)
    recipe = {
        "name": "large", "analysis": "pair_counts", "outputs": ["xi.ecsv"], "keep_ledger": "until_done",
        "inputs": {"synthetic": {"kind": "uniform", "n_points": options.largest, "boxsize": side}},
        "options": {"edges": EDGES.tolist(), "boxsize": side, "estimator": "natural"},
    }  # fmt: skip
    profile = {"kind": "local", "workers": 2, "memory": f"{options.limit} MB", "dashboard": False}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(json.dumps(recipe))
        (folder / "small.yaml").write_text(json.dumps(profile))
        words = [sys.executable, "-m", "daskpar", "run", "recipe.yaml", "-p", "small.yaml", "--runs", "runs"]
        process = subprocess.Popen([*words, "--json"], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError("the run failed")
        (path,) = (folder / "runs").iterdir()
        events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    blocks = [event for event in events if event["event"] == "block"]
    largest = max(event["memory_bytes"] for event in blocks) / 1e6
    seconds = next(event["seconds"] for event in events if event["event"] == "done")
    print(
        f"{options.largest:,} points under {options.limit} MB: {seconds:.1f} s, {len(blocks)} blocks, "
        f"largest worker {largest:.0f} MB, driver {usage.ru_maxrss / 1e3:.0f} MB"
    )


def balance(options):
    """Print how the predicted cost of blocks compares with the time they took."""
    plan, points = prepare(clustered(options.points, BOX))
    count(plan, points, [0])
    taken = []
    for block in range(len(plan["ranges"])):
        begin = time.thread_time()
        count(plan, points, [block])
        taken.append(time.thread_time() - begin)
    for title, costs in (("predicted", plan["costs"]), ("measured", np.array(taken))):
        idle = ", ".join(f"{idle_share(costs, n):.1%} of {n}" for n in WORKERS if n < len(costs))
        dearest = costs.max() / costs.mean()
        print(f"{title:10s} {len(costs)} blocks, the dearest {dearest:.2f} × the mean, idle: {idle} workers")
    each = np.array(taken) / plan["costs"]
    print(f"seconds a unit of cost {np.median(each):.2e}, from {each.min():.2e} to {each.max():.2e}")


def show(title, ratios, work):
    """Print a median and its range."""
    print(f"{title}: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}), {work:.2f} s")


def main() -> None:
    """Run the parts that are named, or all."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parts = {"threads": threads, "dask": through_dask, "memory": memory, "balance": balance}
    parser.add_argument("parts", nargs="*", help=", ".join(parts))
    parser.add_argument("--points", type=int, default=3_000_000)
    parser.add_argument("--largest", type=int, default=10_000_000, help="points of memory")
    parser.add_argument("--limit", type=int, default=400, help="MB of a worker")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    unknown = set(options.parts) - set(parts)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for name in options.parts or parts:
        parts[name](options)


if __name__ == "__main__":
    main()
