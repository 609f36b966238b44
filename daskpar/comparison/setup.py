"""What a run of dask needs in a comparison, besides record and options; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from daskpar.clusters import early

if TYPE_CHECKING:
    from daskpar.profile import Profile
    from daskpar.recipe import Recipe


@dataclass(frozen=True)
class Setup:
    """What a run needs besides record and options."""

    recipe: Recipe
    profile: Profile
    analysis: str
    allow_code: bool

    def begin_early(self) -> None:
        """Begin to start local workers, as ``daskpar run`` does, while this process still imports."""
        if self.profile.kind == "local" and self.profile.processes:
            early.begin(self.analysis)
