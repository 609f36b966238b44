"""What daskpar adds to the work itself, on this machine.

    python tests/benchmarks/bench_overhead.py [block] [many] [process] [help] [--repeats 5] [--blocks 50000]

block    seconds a block that waits 1 s, and one that does nothing, cost beyond the function, against two
plain
         processes that call the function in turn; in one run, interleaved
many     a run of 50 000 blocks: time, peak memory of the driver, files, time of `daskpar status`
process  a whole `daskpar run`, against importing what it uses plus an empty LocalCluster
help     `daskpar --help` against `python -c "import typer"`
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
FUNCTION = """
import time


def wait(item):
    time.sleep(item["seconds"])
    return item["number"]
"""
IMPORTS = (
    "import numpy, dask.array, distributed, xarray, pydantic, ruamel.yaml, typer, astropy.io.fits, numba"
)
CLUSTER = """
import dask
from distributed import Client, LocalCluster, Security
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                      worker_dashboard_address="127.0.0.1:0", security=Security.temporary(),
                      silence_logs=50) as cluster, Client(cluster) as client:
        client.wait_for_workers(2)
"""


def main() -> None:
    """Print the figures of the chosen parts."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=50_000)
    arguments = parser.parse_args()
    parts = {"block": block, "many": many, "process": process, "help": help_text}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "waiting.py").write_text(FUNCTION)
        for part in arguments.parts or parts:
            parts[part](folder, arguments)


def block(folder: Path, arguments: argparse.Namespace) -> None:
    """Compare runs with plain processes, for blocks of one second and of none."""
    for seconds, blocks in ((1.0, 20), (0.0, 2000)):
        ours, once, plain = [], [], []
        for _ in range(arguments.repeats):
            running, starting = run_seconds(folder, seconds, blocks)
            ours.append(running)
            once.append(starting)
            plain.append(plain_seconds(seconds, blocks))
        extra = [WORKERS * (a - b) / blocks for a, b in zip(ours, plain, strict=True)]
        ratio = statistics.median(a / b for a, b in zip(ours, plain, strict=True))
        print(
            f"{blocks} blocks of {seconds:g} s on {WORKERS} workers: "
            f"{1e3 * statistics.median(extra):.1f} ms a block beyond two plain processes "
            f"({1e3 * min(extra):.1f} to {1e3 * max(extra):.1f})"
            + (f", ratio {ratio:.4f}" if seconds else "")
            + f"; once, until the first block began: {statistics.median(once):.2f} s"
        )


def recipe(folder: Path, blocks: int, seconds: float) -> Path:
    """Write a recipe of so many blocks."""
    path = folder / "waiting.yaml"
    tens, ones = (", ".join(map(str, range(count))) for count in (blocks // 10, 10))
    path.write_text(
        "name: waiting\nanalysis: map\n"
        f"inputs:\n  grid:\n    seconds: [{seconds}]\n    tens: [{tens}]\n    number: [{ones}]\n"
        "options:\n  function: waiting:wait\n  items_per_block: 1\n"
    )
    return path


def run_seconds(folder: Path, seconds: float, blocks: int) -> tuple[float, float]:
    """Return the seconds from the first block's begin to the last receipt noted, and those before it.

    What comes before is paid once: sending the graph, and importing the function's modules in the workers.
    """
    events = [json.loads(line) for line in (daskpar_run(folder, seconds, blocks) / "events.jsonl").open()]
    ready = next(stamp(e["time"]) for e in events if e["event"] == "cluster")
    done = [e for e in events if e["event"] == "block"]
    start = min(e["started"] for e in done)
    return stamp(done[-1]["time"]) - start, start - ready


def stamp(text: str) -> float:
    """Return the seconds of an ISO time."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def daskpar_run(folder: Path, seconds: float, blocks: int) -> Path:
    """Run a recipe of so many blocks and return its directory."""
    started = start_run(folder, seconds, blocks)
    out, _ = started.communicate()
    return Path(json.loads(out)["path"])


def start_run(folder: Path, seconds: float, blocks: int) -> subprocess.Popen[str]:
    """Start `daskpar run` on a recipe of so many blocks."""
    command = [
        sys.executable,
        "-m",
        "daskpar",
        "run",
        str(recipe(folder, blocks, seconds)),
        "-p",
        str(two_workers(folder)),
    ]
    command += ["--allow-code", "--json", "--runs", str(folder / "runs")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())


def two_workers(folder: Path) -> Path:
    """Write a local profile."""
    profile = folder / "two.yaml"
    profile.write_text(f"kind: local\nworkers: {WORKERS}\n")
    return profile


def environment() -> dict[str, str]:
    """Return the environment with this checkout first on the path."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def plain_seconds(seconds: float, blocks: int) -> float:
    """Return the seconds that two processes take which call the function in turn."""
    start = time.perf_counter()
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=sleep_often, args=(seconds, blocks // WORKERS)) for _ in range(WORKERS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    return time.perf_counter() - start


def sleep_often(seconds: float, count: int) -> None:
    """Sleep so often."""
    for _ in range(count):
        time.sleep(seconds)


def many(folder: Path, arguments: argparse.Namespace) -> None:
    """Run very many blocks."""
    start = time.perf_counter()
    started = start_run(folder, 0.0, arguments.blocks)
    peak = 0
    while started.poll() is None:
        peak = max(peak, high_water(started.pid))
        time.sleep(0.5)
    path = Path(json.loads(started.communicate()[0])["path"])
    seconds = time.perf_counter() - start
    files = sum(len(names) for _, _, names in os.walk(path))
    begun = time.perf_counter()
    command = [sys.executable, "-m", "daskpar", "status", str(path), "--json"]
    subprocess.run(command, check=True, capture_output=True, env=environment())
    each = 1e3 * seconds / arguments.blocks
    print(f"{arguments.blocks} blocks that do nothing: {seconds:.0f} s, {each:.1f} ms each")
    print(f"peak memory of the driver {peak / 1e3:.0f} MB (target 600), files {files} (target 2000)")
    print(f"daskpar status {time.perf_counter() - begun:.2f} s (target 2)")


def high_water(pid: int) -> int:
    """Return the peak resident memory of a process so far, in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def process(folder: Path, arguments: argparse.Namespace) -> None:
    """Time whole processes."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    # Two blocks of tiny frames: the run itself, not its work.
    recipe = folder / "tiny.yaml"
    recipe.write_text(
        "name: tiny\nanalysis: image_stats\ninputs:\n  synthetic: {n_frames: 8, shape: [32, 32], seed: 1}\n"
        "options:\n  combine: {method: mean, rejection: sigma_clip}\noutputs: [combined.fits]\n"
    )
    image = [
        "-m",
        "daskpar",
        "run",
        str(recipe),
        "-p",
        str(two_workers(folder)),
        "--json",
        "--runs",
        str(folder / "r"),
    ]
    imports, bare = ["-c", IMPORTS], ["-c", "import distributed"]
    commands = {"run": image, "imports": imports, "cluster": [str(script)], "bare": bare}
    times: dict[str, list[float]] = {name: [] for name in commands}
    elapsed(image)  # kernels are compiled
    for _ in range(arguments.repeats):
        for name, command in commands.items():
            times[name].append(elapsed(command))
    found = {name: statistics.median(values) for name, values in times.items()}
    cluster = found["cluster"] - found["bare"]
    print(f"daskpar run of 8 frames of 32 x 32: {found['run']:.2f} s, kernels cached")
    print(f"importing what it uses {found['imports']:.2f} s; empty LocalCluster {cluster:.2f} s")
    print(f"beyond their sum: {found['run'] - found['imports'] - cluster:.2f} s (target 1.5)")


def elapsed(arguments: list[str]) -> float:
    """Return the seconds a Python process takes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment())
    return time.perf_counter() - start


def help_text(folder: Path, arguments: argparse.Namespace) -> None:
    """Time the help text."""
    pairs = [
        (elapsed(["-m", "daskpar", "--help"]), elapsed(["-c", "import typer"]))
        for _ in range(3 * arguments.repeats)
    ]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"daskpar --help {ours:.2f} s, import typer {bare:.2f} s")
    print(f"beyond it {ours - bare:.2f} s (target 0.25)")


if __name__ == "__main__":
    main()
