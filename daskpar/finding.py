"""What an examination found: `daskpar doctor` prints a list of these."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["good", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    state : {"good", "note", "fault"}
        Works; worth knowing; keeps the profile from working.
    what, todo : str
        What was found, and what to do about it.
    """

    state: State
    what: str
    todo: str = ""

    def data(self) -> dict[str, str]:
        """Return the finding as plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return the finding as a line."""
        return f"{self.state:<6}{self.what}" + (f"; {self.todo}" if self.todo else "")
