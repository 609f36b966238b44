"""What a block of items shows to watchers: the first numbers of each row, and how many items failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_COLUMNS, MOST_ITEMS = 4, 32


def preview(partial: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return up to four columns of numbers: item by item, or of large blocks the mean of each."""
    if "index" not in partial or "error" not in partial:
        return None
    failed = int(np.count_nonzero(np.asarray(partial["error"]) != ""))
    found: dict[str, Any] = {"items": len(partial["index"]), "failed": failed, "columns": {}}
    for name in partial:
        if name.startswith("value:") and _is_number(partial[name]) and len(found["columns"]) < MOST_COLUMNS:
            place = np.asarray(partial["index"])[np.asarray(partial["rows:" + name[6:]])].astype(float)
            values = np.asarray(partial[name], np.float64)
            if len(values) > MOST_ITEMS:
                place, values = place.mean(keepdims=True), values.mean(keepdims=True)
            found["columns"][name[6:][:60]] = [place.tolist(), values.tolist()]
    return found


def _is_number(array: Any) -> bool:
    values = np.asarray(array)
    return values.ndim == 1 and values.dtype.kind in "iufb" and len(values) > 0
