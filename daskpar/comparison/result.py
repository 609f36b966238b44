"""What a comparison gives back, from its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.comparison.timing import Timing, read, wrong
from daskpar.errors import UsageError

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True)
class Comparison:
    """A comparison that was made.

    Attributes
    ----------
    folder : Path
        Its folder; see `daskpar.comparison` for what is in it.
    """

    folder: Path

    @property
    def data(self) -> dict[str, Any]:
        """What was compared and what follows, as in ``comparison.json``.

        Raises
        ------
        daskpar.errors.UsageError
            There is none.
        """
        try:
            found: dict[str, Any] = json.loads((self.folder / "comparison.json").read_text())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"is no comparison: {error}", "make one: daskpar compare RECIPE", path=self.folder
            ) from None
        return found

    @cached_property
    def timings(self) -> list[Timing]:
        """All measurements, warm-up included."""
        path = self.folder / "timings.jsonl"
        return read(path) if path.exists() else []

    @property
    def table(self) -> Table:
        """A row for each version and number of workers: seconds with intervals, speed-up, ratio, memory."""
        from astropy.table import Table

        from daskpar.comparison.tables import rows

        return Table(rows(self.data))

    @property
    def fits(self) -> list[dict[str, Any]]:
        """The laws fitted to each version; ``chosen`` marks the best."""
        return list(self.data["fits"])

    @property
    def conclusion(self) -> list[str]:
        """What it says, in sentences."""
        return list(self.data["conclusion"])

    def _repr_html_(self) -> str:
        from daskpar.comparison.report import summary_html

        return summary_html(self.data)

    def plot(self) -> Any:
        """Return the figures of the report as a Bokeh layout, to show in a notebook."""
        from daskpar.comparison.figures import layout

        return layout(self.data)

    def report(self, path: str | Path | None = None) -> Path:
        """Write the report and return its path; ``.html``, ``.md`` or ``.tex`` by the suffix.

        Without a path, ``report.html`` in the folder.
        """
        from daskpar.comparison.report import write_report

        return write_report(self.folder, path)

    def printed(self) -> dict[str, Any]:
        """Return what ``daskpar compare --json`` prints."""
        found = self.data
        return {
            "name": self.folder.name,
            "path": str(self.folder),
            "state": found["state"],
            "timings": [one.data() for one in self._shown()],
            **{
                key: found[key]
                for key in ("agreement", "ratios", "scaling", "fits", "advice", "conclusion", "machine")
            },
        }

    def _shown(self) -> list[Timing]:
        """Return the timings, of warm-ups only what was wrong; what was wrong once has no time."""
        bad = wrong(self.timings)
        return [
            replace(one, seconds=None, cpu_seconds=None) if (one.version, one.workers) in bad else one
            for one in self.timings
            if not one.warmup or not one.agrees
        ]
