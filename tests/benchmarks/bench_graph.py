"""What the graph of a large stack costs: 10 000 frames of 4096 x 4096, as sparse files.

    python tests/benchmarks/bench_graph.py [--frames 10000] [--side 4096]

Prints seconds to scan the headers and to build the graph of `combine` and `frame_stats`, its tasks, and its
size when pickled.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import cloudpickle

import daskpar
from daskpar.durable_graph import durable_graph

BLOCK = 2880


def sparse_frame(path: Path, side: int, number: int) -> None:
    """Write a FITS image of zeros that takes a few kB of disk."""
    cards = [
        "SIMPLE  =                    T",
        "BITPIX  =                  -32",
        "NAXIS   =                    2",
        f"NAXIS1  = {side:>20}",
        f"NAXIS2  = {side:>20}",
        f"EXPTIME = {30.0 + number % 3:>20}",
        "END",
    ]
    header = "".join(card.ljust(80) for card in cards).ljust(BLOCK).encode()
    data = -(-side * side * 4 // BLOCK) * BLOCK
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(len(header) + data)


def main() -> None:
    """Make the files, build the graphs, print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=4096)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.frames):
            sparse_frame(Path(folder) / f"frame_{number:05d}.fits", arguments.side, number)
        daskpar.open_stack(str(Path(folder) / "frame_0000?.fits"))  # imports are not what is measured
        start = time.perf_counter()
        stack = daskpar.open_stack(str(Path(folder) / "*.fits"))
        opened = time.perf_counter()
        combined, stats = daskpar.combine(stack), daskpar.frame_stats(stack)
        graphs = [durable_graph(part, main, None).graph for part in (combined, stats)]
        built = time.perf_counter()
        size = sum(len(cloudpickle.dumps(graph)) for graph in graphs)
    print(f"{arguments.frames} frames of {arguments.side} x {arguments.side}")
    print(f"headers read in   {opened - start:8.2f} s")
    print(f"graphs built in   {built - opened:8.2f} s   (target: 5 s)")
    print(f"tasks             {sum(map(len, graphs)):8d}")
    print(f"pickled           {size / 1e6:8.2f} MB  (target: 10 MB)")


if __name__ == "__main__":
    main()
