"""One function over many items, one after the other: what every other version is measured against."""

from __future__ import annotations

from daskpar.analyses.map import kernel, rows
from daskpar.analysis import load_code
from daskpar.by_hand import Job, Variables


def run(job: Job) -> Variables:
    """Compute the items in order."""
    function = load_code(job.options.function)

    def compute_all(blocks: list[rows.Block]) -> list[kernel.Partial]:
        return [rows.compute(function, job.options, block) for block in blocks]

    return rows.in_rounds(job.record, job.options, compute_all, job.clock)
