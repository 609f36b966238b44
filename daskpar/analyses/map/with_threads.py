"""One function over many items in threads of one process.

Nothing is copied and nothing has to be pickled. It pays where the function waits (for files, for a server) or
leaves the interpreter's lock (numpy on large arrays, compiled code); a function of pure Python gains nothing.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute the items in threads."""
    compute = partial(rows.compute, load_code(job.options.function), job.options)
    with ThreadPoolExecutor(job.workers) as pool:

        def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
            return list(pool.map(compute, blocks))

        return rows.in_rounds(job.record, job.options, compute_all, job.clock)
