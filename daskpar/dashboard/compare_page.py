"""A comparison as its report has it: what it decided, its table and its figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from daskpar.comparison.figures import layout
from daskpar.comparison.report import summary_html


def compare_figures(name: str, data: Mapping[str, Any] | None) -> tuple[str, list[Any]]:
    """Return the heading of a comparison, as HTML, and its figures; `data` is ``comparison.json``, if any."""
    head = f"<h1>{escape(name)}</h1>"
    if data is None:
        return f"{head}<p>no timings yet</p>", []
    figures = [layout(data)] if data["scaling"] else []
    return head + summary_html(data), figures


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
