"""What a queue costs: a private Slurm of two nodes here against local workers; needs root and Slurm.

    python tests/benchmarks/bench_slurm.py [--repeats 3] [--blocks 120]

Blocks of 1 s on two one-core workers, on Slurm and local in turn: seconds from the first block's begin to the
last receipt, and their ratio; seconds that `submit` takes; seconds from the start of the first worker's job
to the first block.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "slurm")]

from private_slurm import Slurm, missing, private_slurm  # noqa: E402
from site_of import Site  # noqa: E402


def main() -> None:
    """Print the figures."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--blocks", type=int, default=120)
    arguments = parser.parse_args()
    if reason := missing():
        sys.exit(reason)
    found: dict[str, list[float]] = {"submit": [], "first": [], "slurm": [], "local": []}
    with private_slurm() as slurm:
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as folder:
                for name, seconds in one_round(slurm, Path(folder), arguments.blocks).items():
                    found[name].append(seconds)
    middle = {name: statistics.median(values) for name, values in found.items()}
    ratio = statistics.median(a / b for a, b in zip(found["slurm"], found["local"], strict=True))
    print(f"submit returns after {middle['submit']:.1f} s (target 5)")
    print(f"first block {middle['first']:.1f} s after its job began (target 10)")
    print(f"{arguments.blocks} blocks of 1 s on two workers: Slurm {middle['slurm']:.1f} s, "
          f"local {middle['local']:.1f} s, ratio {ratio:.3f} (target 1.10)")  # fmt: skip


def one_round(slurm: Slurm, folder: Path, blocks: int) -> dict[str, float]:
    """Run the recipe on Slurm, then here."""
    site = Site(slurm, folder, blocks=blocks, seconds=1.0)
    begun = time.perf_counter()
    status = site.submit()
    submitted = time.perf_counter() - begun
    site.wait(timeout=600)
    slurm.wait_until_empty(90)
    first, running = seconds_of(Path(status["path"]))
    jobs = {job for _, job in site.computed()}
    local = site.json("run", "recipe.yaml", "-p", "local", "--allow-code", "--runs", "local", timeout=600)
    return {
        "submit": submitted,
        "first": first - min(map(start_of, [slurm] * len(jobs), jobs)),
        "slurm": running,
        "local": seconds_of(Path(local["path"]))[1],
    }


def seconds_of(run: Path) -> tuple[float, float]:
    """Return when the first block began, and the seconds from then to the last receipt."""
    events = [json.loads(line) for line in (run / "events.jsonl").open()]
    done = [event for event in events if event["event"] == "block"]
    begun = min(event["started"] for event in done)
    return begun, datetime.fromisoformat(done[-1]["time"]).timestamp() - begun


def start_of(slurm: Slurm, job: str) -> float:
    """Return when a job began."""
    shown = subprocess.run(
        ["scontrol", "--oneliner", "show", "job", job],
        env=slurm.environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    text = next(word.partition("=")[2] for word in shown.split() if word.startswith("StartTime="))
    return datetime.fromisoformat(text).timestamp()


if __name__ == "__main__":
    main()
