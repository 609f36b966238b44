"""Take a picture of a comparison: its figures, as `daskpar report` has them, in headless Chromium.

After ``daskpar compare RECIPE``: ``python docs/picture.py runs/compare-NAME docs/comparison.png``
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from bokeh.embed import file_html
from bokeh.resources import INLINE

from daskpar.comparison.figures import layout
from daskpar.comparison.result import Comparison

WIDTH, ROW = 1060, 345  # of two figures side by side


def take(comparison: Path, picture: Path) -> None:
    """Write the figures of a comparison to a PNG file."""
    figures = layout(Comparison(comparison).data)
    rows = 1 + max(row for _, row, *_ in figures.children)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        page.write_text(file_html(figures, INLINE, "versions compared"))
        switches = ["--headless=new", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
        switches += ["--no-sandbox"] if os.geteuid() == 0 else []  # the sandbox refuses to work for root
        places = [f"--user-data-dir={folder}/profile", f"--screenshot={picture}"]
        size = f"--window-size={WIDTH},{ROW * rows}"
        subprocess.run(["chromium", *switches, *places, size, page.as_uri()], check=True, timeout=120)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]).absolute())
