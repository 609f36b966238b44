"""Time the image kernels on one thread: ratios of medians of interleaved repeats.

    python tests/benchmarks/bench_image_kernel.py [--repeats 7] [--side 2048] [--many] [--threads]

The reference case is 32 frames of 2048 x 2048 big-endian float32, sigma 3 around the median, mean of the
rest, all planes. Peers that are not installed are named and left out; what differs is printed beside each.
CPU seconds of the thread are shown, because the machine may be shared.

``--threads`` has two threads of a process, and two processes, combine the same bands, each pinned to a core
of its own, by the clock on the wall.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
import warnings
from collections.abc import Callable
from multiprocessing import get_context

import numpy as np

from daskpar.analyses.image_stats.kernel import combine_band, frame_statistics

REFERENCE = "sigma_clip (reference)"


def night(n: int, side: int) -> np.ndarray:
    """Sky with noise, and one cosmic-ray hit in a thousand values."""
    rng = np.random.default_rng(1)
    frames = np.empty((n, side, side), np.float32)
    for frame in frames:
        frame[:] = rng.standard_normal((side, side), dtype=np.float32) * 10 + 1000
        frame[rng.random((side, side), dtype=np.float32) < 1e-3] += 500
    return frames


def measure(cases: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Run every case once to warm up, then all in turn."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, case in cases.items():
            begin = time.thread_time()
            case()
            if turn:
                times[name].append(time.thread_time() - begin)
    return times


def report(times: dict[str, list[float]], base: str) -> None:
    """Print medians, extremes and ratios to the base."""
    reference = float(np.median(times[base]))
    for name, seconds in times.items():
        middle = float(np.median(seconds))
        print(
            f"{name:36s} {middle:8.3f} s  [{min(seconds):.3f}, {max(seconds):.3f}]"
            f"  ratio {middle / reference:6.2f}"
        )


def own_cases(frames: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return the reference and what is held against it."""
    big, counts = frames.astype(">f4"), (frames.astype(np.int32) - 32768).astype(">i2")
    masks = np.random.default_rng(2).random(frames.shape) < 0.01
    return {
        REFERENCE: lambda: combine_band(big, rejection="sigma_clip"),
        "sigma_clip, uint16 by BZERO": lambda: combine_band(counts, rejection="sigma_clip", bzero=32768),
        "sigma_clip, mad_std": lambda: combine_band(big, rejection="sigma_clip", scale="mad_std"),
        "sigma_clip, 1 % masked": lambda: combine_band(big, rejection="sigma_clip", masks=masks),
        "mean": lambda: combine_band(big),
        "median": lambda: combine_band(big, method="median"),
        "winsorized": lambda: combine_band(big, rejection="winsorized"),
        "minmax": lambda: combine_band(big, rejection="minmax"),
        "percentile": lambda: combine_band(
            big, rejection="percentile", low_fraction=0.03, high_fraction=0.03
        ),
        "ccd_noise": lambda: combine_band(big, rejection="ccd_noise", gain=10.0),
        "sigma_clip, weights": lambda: combine_band(
            big, rejection="sigma_clip", weights=np.arange(1.0, len(big) + 1)
        ),
    }


def compare_peers(side: int) -> None:
    """Time astropy and ccdproc on a part of the reference: their cost is proportional to the pixels."""
    frames = night(32, side)
    cases: dict[str, Callable[[], object]] = {REFERENCE: lambda: combine_band(frames, rejection="sigma_clip")}
    from astropy.stats import sigma_clipped_stats

    cases["astropy sigma_clipped_stats (no counts)"] = lambda: sigma_clipped_stats(frames, axis=0, sigma=3.0)
    try:
        from astropy.nddata import CCDData
        from ccdproc import Combiner

        def ccdproc_combine() -> object:
            combiner = Combiner([CCDData(frame, unit="adu") for frame in frames])
            combiner.sigma_clipping(3, 3, func="median", dev_func="std")
            return combiner.average_combine()

        cases["ccdproc Combiner (one round)"] = ccdproc_combine
    except ImportError:
        print("ccdproc is not installed: left out")
    report(measure(cases, 3), REFERENCE)


def compare_threads(repeats: int, side: int = 1024, bands: int = 6) -> None:
    """Time two threads against two processes, in turns: each combines the same bands of 32 frames."""
    frames = night(32, side).astype(">f4")
    rows = side // bands
    cores = sorted(os.sched_getaffinity(0))[:2]

    def work(core: int, ready: object, done: object) -> None:
        os.sched_setaffinity(0, {core})  # of this thread
        for _ in range(repeats):
            ready.wait()
            for band in range(bands):
                combine_band(frames[:, band * rows : (band + 1) * rows], rejection="sigma_clip")
            done.wait()

    combine_band(frames[:, :rows], rejection="sigma_clip")
    context = get_context("fork")
    kinds = {
        "processes": (context.Process, context.Barrier),
        "threads": (threading.Thread, threading.Barrier),
    }
    barriers = {name: (barrier(3), barrier(3)) for name, (_, barrier) in kinds.items()}
    started = [
        start(target=work, args=(core, *barriers[name]))
        for name, (start, _) in kinds.items()
        for core in cores
    ]
    for one in started:  # processes first: a process that has threads is not forked
        one.start()
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(repeats):
        for name, (ready, done) in barriers.items():
            ready.wait()
            begin = time.perf_counter()
            done.wait()
            times[name].append(time.perf_counter() - begin)
    for one in started:
        one.join()
    shares = np.array(times["processes"]) / np.array(times["threads"])
    print(
        f"two threads reach {np.median(shares):.3f} [{shares.min():.3f}, {shares.max():.3f}] of two processes"
        f": {np.median(times['threads']):.3f} s and {np.median(times['processes']):.3f} s, {repeats} turns"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--many", action="store_true", help="also 256 frames")
    parser.add_argument("--threads", action="store_true", help="only: two threads against two processes")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.threads:
        compare_threads(options.repeats)
        return
    frames = night(32, options.side)
    print(f"32 frames of {options.side} x {options.side}, one thread, {options.repeats} repeats")
    report(measure(own_cases(frames), options.repeats), REFERENCE)
    print("\none frame of float32: all statistics against one numpy.median")
    image = frames[0].copy()
    report(
        measure(
            {
                "numpy.median": lambda: np.median(image),
                "frame_statistics": lambda: frame_statistics(image),
                "frame_statistics, uint16": lambda: frame_statistics(image.astype(np.uint16)),
            },
            options.repeats,
        ),
        "numpy.median",
    )
    del frames
    print("\npeers, 256 x 256 pixels of the same kind")
    compare_peers(256)
    if options.many:
        few, lots = night(32, options.side // 4), night(256, options.side // 4)
        print(f"\n256 frames against 32, {options.side // 4} x {options.side // 4}")
        cases = {"32 frames": few, "256 frames": lots}
        calls = {
            name: (lambda data=data: combine_band(data, rejection="sigma_clip"))
            for name, data in cases.items()
        }
        report(measure(calls, options.repeats), "32 frames")


if __name__ == "__main__":
    main()
