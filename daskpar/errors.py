"""The errors a user meets, each with its exit code.

Every message has one form, so that it can be read by a person and found by a script::

    error: <file>[:line:column | [hdu]] <key>: <what>; <what to do>
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: what, where, and what to do about it.

    Parameters
    ----------
    what : str
        The fault, in one sentence without a full stop.
    todo : str
        The next step: what is allowed, or what to change.
    path : str
        The file concerned, as the user wrote it.
    place : str
        Where in the file: ``"line:column"`` for text, ``"[SCI,2]"`` for an HDU.
    key : str
        The dotted key of a recipe or profile, or the FITS keyword.
    """

    what: str
    todo: str = ""
    path: str = ""
    place: str = ""
    key: str = ""

    def __str__(self) -> str:
        place = self.place if not self.place or self.place.startswith("[") else f":{self.place}"
        where = " ".join(part for part in (printable(self.path) + place, printable(self.key)) if part)
        text = printable(self.what) + (f"; {printable(self.todo)}" if self.todo else "")
        return f"{where}: {text}" if where else text


class DaskparError(Exception):
    """Base of all errors that daskpar raises on purpose. Holds one fault or several.

    Parameters
    ----------
    what, todo, path, place, key
        As in `Fault`.
    faults : iterable of Fault
        Further faults, when several were found at once.
    """

    exit_code = 1

    def __init__(
        self,
        what: str = "",
        todo: str = "",
        *,
        path: str | Path = "",
        place: str = "",
        key: str = "",
        faults: Iterable[Fault] = (),
    ) -> None:
        first = (Fault(what, todo, str(path), place, key),) if what else ()
        self.faults: tuple[Fault, ...] = (*first, *faults)
        super().__init__("\n".join(map(str, self.faults)))

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from workers to the driver: pickle by their faults, not by the message.
        return (_rebuild, (type(self), self.faults))


def _rebuild(kind: type[DaskparError], faults: tuple[Fault, ...]) -> DaskparError:
    return kind(faults=faults)


class RecipeError(DaskparError):
    """A recipe, an option or an argument is wrong."""

    exit_code = 2


class ProfileError(DaskparError):
    """A profile is wrong or cannot be found."""

    exit_code = 2


class UsageError(DaskparError):
    """A command or a call cannot be carried out as asked."""

    exit_code = 2


class AnalysisError(DaskparError):
    """The code of an analysis cannot be imported, has the wrong form, or failed in a block."""

    exit_code = 2


class InputError(DaskparError):
    """Input data are missing, malformed, or changed while they were read."""

    exit_code = 3


class ClusterError(DaskparError):
    """Workers, scheduler or queue failed. What was stored is safe and the run can be resumed."""

    exit_code = 4


class OutputError(DaskparError):
    """A result could not be written. Earlier files are intact."""

    exit_code = 5


def printable(text: str) -> str:
    """Escape control characters, so that a file name cannot forge or break a message."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )
