"""A comparison as its report has it: what it decided, its table and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
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
