"""A table of correlated numbers with heavy tails, made from a seed, so that every recipe runs anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from daskpar.atomic import write_bytes


class SyntheticTable(BaseModel):
    """Student's t with 5 degrees of freedom in every column, neighbours correlated."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    rows: int = Field(400, ge=2, le=10_000_000, description="Rows of the table")
    columns: tuple[str, ...] = Field(("x",), min_length=1, max_length=16, description="Names of the columns")
    seed: int = Field(0, ge=0, description="Seed of the table, apart from that of the samples")


def write_synthetic(table: SyntheticTable, folder: Path) -> str:
    """Write the table as CSV unless it is there already, and return its path."""
    path = folder / "table.csv"
    if not path.exists():
        rng = np.random.default_rng(np.random.SeedSequence(table.seed))
        values = rng.standard_t(5, size=(table.rows, len(table.columns)))
        for i in range(1, len(table.columns)):
            values[:, i] += 0.5 * values[:, i - 1]
        lines = [",".join(table.columns), *(",".join(map(repr, row)) for row in values.tolist())]
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(path, ("\n".join(lines) + "\n").encode())
    return str(path)
