"""The table "threads, processes, MPI or dask?" of the README, from measurements on this machine."""

from daskpar.analyses.map.examples import WAIT
from daskpar.analyses.map.with_asyncio import AT_ONCE
from daskpar.comparison.ratios import ratio_interval, times

WAITING_WORKERS = 8  # those who wait share a core
ROWS = {
    "threads": "threads",
    "asyncio (coroutines; else a thread for each call)": "asyncio",
    "numba `prange`": "prange",
    "`multiprocessing`": "multiprocessing",
    "`concurrent.futures` processes": "processes",
    "MPI (`mpi4py`)": "mpi4py",
    "dask (`daskpar run`)": "dask",
}


def decide(recipes, seconds, repeats, workers):
    """Measure and return the table as Markdown: speed-up over the serial version."""
    from bench_compare import measured

    waits = max(WAITING_WORKERS, round(2 * seconds / WAIT))
    waiting = {
        "analysis": "map",
        "inputs": {"grid": {"number": list(range(waits))}},
        "options": {"function": "daskpar.analyses.map.examples:waiting"},
    }
    image = ["threads", "prange", "multiprocessing", "mpi4py"]
    rows = ["threads", "asyncio", "multiprocessing", "processes", "mpi4py"]
    columns = {
        f"numba, {workers} workers": (recipes["image_stats"], image, workers),
        f"pure Python, {workers} workers": (recipes["map"], rows, workers),
        f"waiting, {WAITING_WORKERS} workers (asyncio: {AT_ONCE} at once)": (waiting, rows, WAITING_WORKERS),
    }
    found = {}
    for title, (recipe, versions, n) in columns.items():
        timings = measured("decision", recipe, ["serial", *versions, "dask"], n, repeats).timings
        serial = times(timings, "serial", 1)
        for version in [*versions, "dask"]:
            found[version, title] = cell(serial, times(timings, version, n))
    lines = [
        "| speed-up over serial | " + " | ".join(columns) + " |",
        "|---|" + "---|" * len(columns),
    ]
    for row, version in ROWS.items():
        cells = [found.get((version, title), "-") for title in columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(serial, mine):
    """Return the ratio of medians with its interval as text."""
    both = sorted(serial.keys() & mine.keys())
    if not both:
        return "differs"
    ratio = ratio_interval([serial[n] for n in both], [mine[n] for n in both])
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
