"""How long the dashboard's pages take to load in a real browser, and to follow a run.

    python tests/benchmarks/bench_dashboard.py [--blocks 50000] [--workers 500] [--repeats 7]

load    seconds from asking for a page until Bokeh has drawn it, browser and server on this machine; for a run
        of 100 blocks on 2 workers and for one of --blocks on --workers; median and range, target 2 s
follow  seconds from a line in a run's events to the page that shows it, target 2 s
server  share of a core that the server takes while --workers of a run end some blocks each second and a page
        is open

Chromium and chromedriver are needed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from daskpar.rundir import EMPTY_STATE, RunDirectory

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from chromium import start_chromium  # beside the tests

PAGES = {"runs": "/", "run": "/run?run={run}", "science": "/science?run={run}", "compare": "/compare"}
DRAWN = """
    const one = window.Bokeh?.documents[0]
    return one != null && one.is_idle && document.readyState == "complete"
"""
SHOWN = "return window.Bokeh?.documents[0]?.get_model_by_name('heading')?.text ?? ''"


class Made:
    """A run directory of a Monte Carlo run, written here, that grows when it is told to."""

    def __init__(self, folder: Path, name: str, workers: int) -> None:
        self.run, self.name, self.workers = RunDirectory(folder / name), name, workers
        self.run.path.mkdir(parents=True)
        recipe = {"analysis": "monte_carlo", "options": {"target_error": 0.1}}
        self.run.write_record(
            {"name": name, "created": name, "recipe": recipe, "provenance": {"python": "3"}}
        )
        self.done = 0

    def grow(self, blocks: int) -> None:
        """End some more blocks."""
        facts = {
            "event": "block", "time": "2026-01-01T00:00:00+00:00", "total_seconds": 1.0, "seconds": 1.0,
            "thread": 1, "bytes": 1, "memory_bytes": 10**9,
            "preview": {"count": 100, "mean": [3.0], "second": [50.0]},
        }  # fmt: skip
        events = []
        for k in range(self.done, self.done + blocks):
            host, pid = f"n{k % self.workers // 4}", k % self.workers
            where = {"key": f"{k:040x}", "label": f"batches {k}-{k}", "host": host, "pid": pid}
            events.append({**facts, **where, "started": 1.0 + k // self.workers})
        self.run.append_events(events)
        self.done += blocks
        state = {"name": self.name, "state": "running", "blocks_done": self.done, "blocks_total": 10**6}
        self.run.write_state({**EMPTY_STATE, **state})


def await_true(condition, seconds=60.0):
    """Wait until a condition holds; return how long that took."""
    begin = time.perf_counter()
    while not condition():
        if time.perf_counter() - begin > seconds:
            raise TimeoutError("the page did not come")
        time.sleep(0.01)
    return time.perf_counter() - begin


def load(browser, link, repeats):
    """Return the seconds of each loading of a page."""
    taken = []
    for _ in range(repeats):
        browser.get("about:blank")
        begin = time.perf_counter()
        browser.get(link)
        await_true(lambda: browser.execute_script(DRAWN))
        taken.append(time.perf_counter() - begin)
    return taken


def follow(browser, link, made, repeats):
    """Return the seconds that a page takes to show what a run wrote, each time."""
    browser.get(link)
    await_true(lambda: str(made.done) in plain(browser.execute_script(SHOWN)))
    taken = []
    for _ in range(repeats):
        made.grow(made.workers)
        taken.append(await_true(lambda: str(made.done) in plain(browser.execute_script(SHOWN))))
    return taken


def plain(text):
    """Return a text without what groups its digits."""
    return text.translate(dict.fromkeys(map(ord, ", \u202f\u2009\u00a0")))


def busy(process, made, seconds=10):
    """Return the share of a core that a server takes while a run goes on."""
    before, begin = sum(process.cpu_times()[:2]), time.perf_counter()
    for _ in range(seconds):
        made.grow(made.workers)
        time.sleep(1)
    return (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - begin)


def show(what, taken):
    """Print the median and the range of some seconds."""
    print(f"{what}: {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})", flush=True)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = [Made(folder / "runs", "small", 2), Made(folder / "runs", "large", options.workers)]
        runs[0].grow(100)
        runs[1].grow(options.blocks)
        words = ["-m", "daskpar", "dashboard", "--port", "0", "--runs", str(folder / "runs")]
        server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
        base = "/".join(server.stdout.readline().split("/")[:3]).strip()
        browser = start_chromium(folder / "chromium")
        try:
            for made in runs:
                for page, path in PAGES.items():
                    taken = load(browser, base + path.format(run=made.name), options.repeats)
                    show(f"{made.done} blocks, {made.workers} workers, page {page}", taken)
            link = base + PAGES["run"].format(run="large")
            show("a page follows the large run", follow(browser, link, runs[1], options.repeats))
            print(f"the server's share of a core meanwhile: {busy(psutil.Process(server.pid), runs[1]):.2f}")
        finally:
            browser.quit()
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
