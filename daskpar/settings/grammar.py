"""Grammars: what a setting may look like before it can reach a shell, a job script or a path.

Every text of a profile is matched as a whole against a list of allowed characters. None of them is a newline,
a quote or a character that a shell expands, so that quoting is a second wall and not the only one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Grammar:
    """Marks the type of a text that must match a pattern as a whole: ``Annotated[str, Grammar(...)]``.

    Parameters
    ----------
    pattern : str
        Regular expression, in the part of the language that JSON schema shares.
    meaning, example : str
        For the message: what is allowed, and one value that is.
    longest : int
        Longest text allowed, in characters.
    """

    pattern: str
    meaning: str
    example: str
    longest: int = 256

    def check(self, text: str) -> str:
        """Return the text, or raise ValueError with what is allowed."""
        if len(text) > self.longest:
            raise ValueError(f"is longer than {self.longest} characters; shorten it")
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{shown(text)} is not allowed; use {self.meaning}, as in {self.example}")
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": f"^{self.pattern}$",
            "maxLength": self.longest,
            "examples": [self.example],
        }


def shown(value: object) -> str:
    """Quote a value for a message, cut to a readable length."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + " ..."


def fault_at(key: str, what: str, todo: str) -> PydanticCustomError:
    """Make the error that a validator of a whole model raises to name the one key that is wrong."""
    return PydanticCustomError("fault_at", "{what}; {todo}", {"key": key, "what": what, "todo": todo})


_WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_PATH = r"/[\w.+=@,/-]*"
_SAFE = r"[A-Za-z0-9_./:=,@%+-]+"

RunName = Annotated[
    str, Grammar(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", "letters, digits, '.', '_' and '-'", "m13_night1", 64)
]
_CODE_NAME = Grammar(
    r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?::[A-Za-z_][A-Za-z0-9_.]*)?",
    "the name of an analysis, or module:attribute",
    "image_stats or mylab.flats:ANALYSIS",
)
CodeName = Annotated[str, _CODE_NAME]
ClassPath = Annotated[
    str,
    Grammar(
        r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+", "module.Class", "dask_jobqueue.PBSCluster"
    ),
]
QueueName = Annotated[str, Grammar(rf"{_WORD}(?:,{_WORD})*", "letters, digits and '._+-'", "compute")]
Feature = Annotated[str, Grammar(_WORD, "letters, digits and '._+-'", "skylake")]
NodeList = Annotated[
    str,
    Grammar(
        rf"{_WORD}(?:\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\])?"
        rf"(?:,{_WORD}(?:\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\])?)*",
        "node names or ranges with commas",
        "node7,node[01-05]",
    ),
]
LicenseList = Annotated[
    str,
    Grammar(
        rf"{_WORD}(?:@{_WORD})?(?::[0-9]+)?(?:,{_WORD}(?:@{_WORD})?(?::[0-9]+)?)*",
        "name:count with commas",
        "idl:2",
    ),
]
MailAddress = Annotated[
    str, Grammar(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*@[A-Za-z0-9][A-Za-z0-9.-]*", "one address", "ann@example.org")
]
Directive = Annotated[
    str,
    Grammar(
        r"--?[A-Za-z][A-Za-z0-9-]*(?:[= ][A-Za-z0-9_./:=,@%+-]+)?", "one option of sbatch", "--gres=gpu:1"
    ),
]
LauncherOption = Annotated[
    str, Grammar(rf"--?[A-Za-z][A-Za-z0-9-]*(?:={_SAFE})?", "one option of the launcher", "--mpi=pmi2")
]
Interface = Annotated[
    str, Grammar(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", "the name of a network interface", "ib0", 15)
]
AbsolutePath = Annotated[
    str, Grammar(_PATH, "an absolute path of letters, digits and '._+=@,-'", "/scratch/project7", 1024)
]
PrologueLine = Annotated[
    str,
    Grammar(
        rf"(?:module|ml|source|export|unset|conda|mamba|spack|ulimit|umask)(?: {_SAFE})+",
        "plain words after module, ml, source, export, unset, conda, mamba, spack, ulimit or umask",
        "module load openmpi/5.0",
    ),
]
RootName = Annotated[
    str, Grammar(r"[A-Za-z][A-Za-z0-9_-]*", "a letter, then letters, digits, '_' and '-'", "data", 64)
]
TlsAddress = Annotated[
    str,
    Grammar(
        r"tls://(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:]+\]):[0-9]{1,5}",
        "tls://host:port; plain tcp would let anybody who reaches the port run code as you",
        "tls://head.example.org:8786",
    ),
]
OutputName = Annotated[
    str,
    Grammar(
        r"\w[\w.+=@-]*(?:/\w[\w.+=@-]*)*",
        "a name inside the results folder: letters, digits and '._+=@-', not '..' and no leading '/' or '.'",
        "combined.fits",
        200,
    ),
]

Positive = Annotated[int, Field(gt=0, le=1_000_000)]


def is_code_name(text: str) -> bool:
    """Tell whether a text may name an analysis, before anything is looked up by it."""
    return len(text) <= _CODE_NAME.longest and re.fullmatch(_CODE_NAME.pattern, text) is not None


def safe_options(value: object) -> object:
    """Pass plain data on if every text in it, keys included, is harmless in a job script; else name the key.

    Raises
    ------
    PydanticCustomError
        Naming the key below `value`.
    """
    _check_texts(value, ())
    return value


def _check_texts(value: object, path: tuple[str, ...]) -> None:
    text = Grammar(
        r"(?:[\w./:=,@%+-]+(?: [\w./:=,@%+-]+)*)?", "letters, digits, './:=,@%+-'", "select=1:ncpus=4"
    )
    if isinstance(value, str):
        try:
            text.check(value)
        except ValueError as problem:
            what, _, todo = str(problem).partition("; ")
            raise fault_at(".".join(path), what, todo) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
                raise fault_at(
                    ".".join(path) or shown(key), f"{shown(key)} is no name of an argument", "rename it"
                )
            _check_texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_texts(item, path)
