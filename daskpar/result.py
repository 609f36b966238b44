"""What a run gives back, in this process or from its directory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from daskpar.errors import UsageError
from daskpar.rundir import RunDirectory

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Result:
    """The result of a finished run.

    Attributes
    ----------
    run : RunDirectory
        Its directory.
    """

    run: RunDirectory

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The result as a Dataset, opened lazily: arrays are read when asked for.

        Raises
        ------
        daskpar.errors.UsageError
            The run is not done, or its data were removed with ``daskpar clean --all``.
        """
        if not (self.run.dataset / "dataset.json").exists():
            raise UsageError(
                f"has no result: its state is {self.run.status()['state']!r}",
                "daskpar resume",
                path=self.run.path,
            )
        from daskpar.dataset_store import open_saved

        return open_saved(self.run.dataset)

    def _repr_html_(self) -> str:
        from daskpar.dashboard.notebook import result_html

        return result_html(self)

    @property
    def outputs(self) -> list[Path]:
        """The files written, in the order of the recipe."""
        return [Path(name) for name in self.run.read_state().get("outputs", [])]

    @property
    def result_hash(self) -> str | None:
        """SHA-256 over the result's variables; the same on every backend."""
        value = self.run.read_state().get("result_hash")
        return None if value is None else str(value)
