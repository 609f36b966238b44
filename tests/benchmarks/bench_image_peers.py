"""Hold the combination of a stack against the programs that astronomers use, on one core.

    python tests/benchmarks/bench_image_peers.py [--side 2048] [--frames 32] [--repeats 7]
    python tests/benchmarks/bench_image_peers.py --memory | --large | --many-gz      (runs, up to 20 GB)

All peers read the same FITS files from the page cache, clip at 3 sigma and average the rest; repeats are
interleaved, CPU seconds (user and system) are compared, and the medians of the ratios within a turn. The
command of each peer and what differs is printed. Peers that are not installed are named and left out.
`--memory` runs 32 and 512 frames, `--large` writes a 20k x 20k image from sparse files (20 GB, apparent),
`--many-gz` runs 2000 small compressed frames: each prints the time, the largest process and the largest
worker; `--scale 0.1` tries them in little time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from astropy.io import fits
from bench_image_kernel import night
from distributed import Client, LocalCluster

OURS = "daskpar kernel, files to planes"
KERNEL = "daskpar kernel alone"


def cpu(case: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, those of its child processes included."""

    def used() -> float:
        both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in both)

    begin = used()
    case()
    return used() - begin


def command(*words: str, folder: Path) -> Callable[[], object]:
    """Return a call of a program, quiet unless it fails."""

    def call() -> None:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{words[0]} failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    return call


def ours(folder: Path, client: Client) -> dict[str, tuple[Callable[[], object], str]]:
    """Return the kernel alone, from files to planes, and the same through a cluster of one thread."""
    import daskpar
    from daskpar.analyses.image_stats.kernel import combine_band

    words = np.stack([fits.getdata(path) for path in sorted(folder.glob("f_*.fit"))]).astype(">f4")
    result = daskpar.combine(daskpar.open_stack(str(folder / "f_*.fit")))
    return {
        OURS: (
            lambda: result.compute(scheduler="synchronous"),
            "daskpar.combine(stack).compute(), one thread: all five planes",
        ),
        KERNEL: (
            lambda: combine_band(words, rejection="sigma_clip"),
            "combine_band on frames in memory, big-endian: all five planes",
        ),
        "daskpar, LocalCluster of a thread": (
            lambda: result.compute(scheduler=client.get),
            "the same as the first through distributed; its scheduler is counted",
        ),
    }


def peers(folder: Path, count: int) -> dict[str, tuple[Callable[[], object], str]]:
    """Return the peers that are installed, each with what it does and what differs."""
    found: dict[str, tuple[Callable[[], object], str]] = {}
    paths = sorted(folder.glob("f_*.fit"))
    if shutil.which("siril-cli"):
        script = folder / "stack.ssf"
        lines = (
            "requires 1.0.0",
            "setcpu 1",
            "set32bits",
            "setext fit",
            "stack f_ rej s 3 3 -nonorm -out=siril",
        )
        script.write_text("\n".join(lines) + "\n")
        call = command("siril-cli", "-d", str(folder), "-s", str(script), folder=folder)
        found["Siril"] = (
            call,
            f"{'; '.join(lines[1:])}: no counts, no errors, its own rounds; start-up counted",
        )
    if shutil.which("astarithmetic"):
        words = [*map(str, paths), str(count), "3", "5", "sigclip-mean"]
        call = command("astarithmetic", *words, "-g0", "--numthreads=1", "--output=ga.fits", folder=folder)
        text = f"astarithmetic ... {count} 3 5 sigclip-mean --numthreads=1: no counts, no errors"
        found["gnuastro"] = (call, text)

    def by_astropy() -> object:
        from astropy.stats import sigma_clip

        data = np.stack([fits.getdata(path) for path in paths])
        return sigma_clip(data, sigma=3, maxiters=5, axis=0, masked=True, copy=False).mean(axis=0)

    found["astropy"] = (
        by_astropy,
        "sigma_clip(sigma=3, maxiters=5, axis=0).mean(0): no errors; float32 inside",
    )
    try:
        from astropy.nddata import CCDData
        from ccdproc import Combiner

        def by_ccdproc() -> object:
            combiner = Combiner([CCDData(fits.getdata(path), unit="adu") for path in paths])
            combiner.sigma_clipping(3, 3, func="median", dev_func="std")
            return combiner.average_combine()

        found["ccdproc"] = (by_ccdproc, "sigma_clipping(3, 3, median, std); average_combine(): one round")
    except ImportError:
        pass
    missing = {"Siril", "gnuastro", "ccdproc"} - found.keys()
    if missing:
        print(f"not installed, left out: {', '.join(sorted(missing))}")
    return found


@contextmanager
def one_thread() -> Iterator[Client]:
    """Start a cluster of one thread in this process."""
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


def interleaved(
    folder: Path, cases: dict[str, tuple[Callable[[], object], str]], repeats: int
) -> dict[str, list[float]]:
    """Return the CPU seconds of all repeats of each case, run in turns after one turn to warm up.

    Ours are so short that a pause of the machine hits one of them whole: of these the median of five.
    """
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, (case, _) in cases.items():
            for output in ("siril.fit", "ga.fits"):
                (folder / output).unlink(missing_ok=True)
            short = 5 if name.startswith(OURS.split()[0]) else 1
            seconds = float(np.median([cpu(case) for _ in range(short)]))
            if turn:
                times[name].append(seconds)
    return times


def compare(side: int, count: int, repeats: int) -> None:
    """Print medians of interleaved repeats, and ratios to ours."""
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        for i, frame in enumerate(night(count, side), start=1):
            fits.writeto(folder / f"f_{i:05d}.fit", frame)
        with one_thread() as client:
            cases = ours(folder, client) | peers(folder, count)
            times = interleaved(folder, cases, repeats)
    print(f"{count} frames of {side} x {side} float32, {repeats} interleaved repeats, CPU seconds")
    for name, seconds in times.items():
        middle = float(np.median(seconds))
        span = f"[{min(seconds):.2f}, {max(seconds):.2f}]"
        over = [np.median(np.divide(seconds, times[base])) for base in (KERNEL, OURS)]
        text = f"over the kernel {over[0]:5.1f}, with reading {over[1]:5.1f}"
        print(f"{name:34s} {middle:8.2f} s {span:16s} {text}   {cases[name][1]}")


def run(folder: Path, files: str, label: str) -> None:
    """Run a recipe as users do, and print its time and memory."""
    recipe = {
        "name": "bench", "analysis": "image_stats", "inputs": {"files": files},
        "options": {"frame_stats": None, "combine": {"sigma": 3}}, "outputs": ["combined.fits"],
        "keep_ledger": "until_done",
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    words = [sys.executable, "-m", "daskpar", "run", "recipe.yaml", "--runs", "runs", "--json"]
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{label}: the run failed")
    (path,) = (folder / "runs").iterdir()
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    workers = max(event["memory_bytes"] for event in events if event["event"] == "block")
    seconds = next(event["seconds"] for event in events if event["event"] == "done")
    text = f"largest process {usage.ru_maxrss / 1e3:.0f} MB, largest worker {workers / 1e6:.0f} MB"
    print(f"{label:40s} {seconds:8.1f} s   {text}")
    shutil.rmtree(folder / "runs")


def sparse(path: Path, side: int) -> None:
    """Write a float32 frame of zeros that takes no disk."""
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": side, "NAXIS2": side})
    text = header.tostring().encode()
    with open(path, "wb") as file:
        file.write(text)
        file.truncate(len(text) + -(-side * side * 4 // 2880) * 2880)


def runs(options: argparse.Namespace) -> None:
    """Do the runs that were asked for."""
    side, wide, many = (max(8, round(size * options.scale)) for size in (1024, 20_000, 2000))
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        folder = Path(name)
        if options.memory:
            for i, frame in enumerate(night(32, side)):
                for copy in range(16):
                    fits.writeto(folder / f"m{copy:02d}_{i:02d}.fits", frame)
            run(folder, "m00_*.fits", f"32 frames of {side} x {side}")
            run(folder, "m*.fits", f"512 frames of {side} x {side}")
        if options.large:
            for i in range(13):
                sparse(folder / f"l{i:02d}.fits", wide)
            run(folder, "l*.fits", f"13 frames of {wide} x {wide} ({13 * wide**2 * 4 / 1e9:.1f} GB)")
        if options.many_gz:
            frame = night(1, 256)[0]
            fits.writeto(folder / "one.fits", frame)
            packed = gzip.compress((folder / "one.fits").read_bytes(), 1)
            for i in range(many):
                (folder / f"z{i:04d}.fits.gz").write_bytes(packed)
            run(folder, "z*.fits.gz", f"{many} frames of 256 x 256, gzip")


def main() -> None:
    """Print the table, or do the runs that flags ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1.0, help="sides and number of frames of these runs")
    parser.add_argument("--memory", action="store_true", help="32 and 512 frames through runs")
    parser.add_argument("--large", action="store_true", help="20k x 20k from 21 GB of sparse files")
    parser.add_argument("--many-gz", action="store_true", help="2000 small .gz frames")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.memory or options.large or options.many_gz:
        runs(options)
    else:
        compare(options.side, options.frames, options.repeats)


if __name__ == "__main__":
    main()
