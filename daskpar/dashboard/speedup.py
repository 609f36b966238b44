"""Comparisons below the folder of the runs, as they have been written so far."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def comparisons(folder: Path) -> list[Path]:
    """Return the folders of comparisons below the folder of the runs, newest first."""
    found = [path.parent for path in folder.glob("*/timings.jsonl")]
    return sorted(found, key=lambda path: path.name, reverse=True)


def read_comparison(folder: Path) -> dict[str, Any] | None:
    """Return what a comparison has decided so far; None before its first version has ended."""
    try:
        found = json.loads((folder / "comparison.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "scaling" in found else None
