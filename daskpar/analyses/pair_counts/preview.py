"""What blocks of pairs show to watchers: counts by bin of the first axis; and plans: their blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_BINS, MOST_WEIGHTED = 128, 80


def preview(partial: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the numbers of pairs of a block, summed over patches and the second axis.

    Of many bins, ``group`` neighbours are taken together, so that the receipt stays below 4 kB. Of the plan
    of a count: how many blocks it has, and Σw and Σw² of its samples. None of other blocks.
    """
    if "totals" in partial:
        return {"blocks": len(partial["ranges"]), "totals": np.asarray(partial["totals"]).tolist()}
    if "npairs" not in partial:
        return None
    counts = {name: np.asarray(partial[name]) for name in ("npairs", "weight_sum") if name in partial}
    if "patches" in partial:
        counts = {name: array.sum(axis=0) for name, array in counts.items()}
    bins = counts["npairs"].shape[0]
    group = -(-bins // (MOST_WEIGHTED if len(counts) > 1 else MOST_BINS))
    starts = np.arange(0, bins, group)
    found: dict[str, Any] = {"group": group}
    for name, array in counts.items():
        found[name] = np.add.reduceat(array.reshape(bins, -1).sum(axis=1), starts).tolist()
    return found
