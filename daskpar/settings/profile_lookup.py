"""Finding a profile: ``-p FILE``, then ``./conf``, then the user's folder, then what is built in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from daskpar.errors import Fault, ProfileError
from daskpar.profile import (
    KINDS,
    AddressProfile,
    ClassProfile,
    LocalProfile,
    MpiProfile,
    SlurmProfile,
)
from daskpar.settings.checking import advise, check, field_names, in_order
from daskpar.settings.document import Document
from daskpar.settings.grammar import shown
from daskpar.settings.yaml_file import read_yaml
from daskpar.settings.yaml_text import dump_yaml

AnyProfile = LocalProfile | SlurmProfile | MpiProfile | ClassProfile | AddressProfile

SUFFIXES = (".yaml", ".yml")


def config_folders() -> tuple[Path, ...]:
    """Give the folders where profiles are looked up by name, first match first.

    ``./conf``, then ``DASKPAR_CONFIG`` if it is set, else ``daskpar`` in ``XDG_CONFIG_HOME`` or
    ``~/.config``.
    """
    own = os.environ.get("DASKPAR_CONFIG")
    if own:
        return Path("conf"), Path(own)
    return Path("conf"), Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "daskpar"


def load_profile(
    profile: str | os.PathLike[str] | AnyProfile,
    conf_dirs: Iterable[str | os.PathLike[str]] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> AnyProfile:
    """Find, read and check a profile.

    Parameters
    ----------
    profile : str, path or profile
        A name (``slurm`` is ``slurm.yaml`` in one of the folders; ``local`` is always there), a file (with a
        suffix or a ``/`` in it), or a profile already made.
    conf_dirs : iterable of path
        Folders to look into; default `config_folders`.
    changes : mapping
        Settings that replace those of the file, such as ``{"workers": 4}``.

    Raises
    ------
    ProfileError
        With every fault at once, or with the profiles there are.
    """
    document = _document(profile, config_folders() if conf_dirs is None else tuple(map(Path, conf_dirs)))
    if changes:
        data = {**document.data, **changes}
        overrides = frozenset((key,) for key in changes)
        document = Document(data, document.path, document.keys, document.values, overrides)
    return _checked(document)


def dump_profile(profile: AnyProfile) -> str:
    """Write a profile as YAML, every default filled in, that `load_profile` reads back to an equal one."""
    return dump_yaml(profile.model_dump(mode="json"))


def _document(profile: str | os.PathLike[str] | AnyProfile, folders: tuple[Path, ...]) -> Document:
    if isinstance(profile, BaseModel):
        return Document(profile.model_dump(mode="json", exclude_unset=True) | {"kind": profile.kind})
    name = os.fspath(profile)
    if not isinstance(profile, str) or "/" in name or name.endswith(SUFFIXES):
        return read_yaml(name, ProfileError)
    for folder in folders:
        for suffix in SUFFIXES:
            path = folder / (name + suffix)
            if os.path.lexists(path):
                return read_yaml(path, ProfileError)
    if name == "local":
        return Document({"kind": "local"})
    raise ProfileError(f"there is no profile {shown(name)}", _advice(name, folders))


def _advice(name: str, folders: tuple[Path, ...]) -> str:
    example = example_profile(name)
    if example is not None:
        return f"copy the example {example} to {folders[0] if folders else 'conf'} and fit it to your site"
    known = profile_names(folders)
    places = ", ".join(str(folder) for folder in folders)
    advice = advise(name, known)
    listed = "" if advice.startswith("known") else f" known: {', '.join(known)};"
    return f"{advice.replace('?', '?' + listed)} looked in {places}; a file is named by its path"


def example_profile(name: str) -> Path | None:
    """Return the example of that name that ships with daskpar, if any; it fits no site in particular."""
    package = Path(__file__).parents[1]
    for folder in (package / "conf", package.parent / "conf"):  # as installed, and in a checkout
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    return None


def profile_names(folders: Iterable[Path] | None = None) -> list[str]:
    """List the names that `load_profile` finds, the built-in ``local`` included."""
    names = {"local"}
    for folder in config_folders() if folders is None else folders:
        try:
            names |= {entry.stem for entry in folder.iterdir() if entry.suffix in SUFFIXES}
        except OSError:
            continue
    return sorted(names)


def _checked(document: Document) -> AnyProfile:
    kind = document.data.get("kind")
    if kind is None:
        fault = document.fault(("kind",), "is missing", f"write kind: one of {', '.join(KINDS)}")
        raise ProfileError(faults=[fault])
    if not isinstance(kind, str) or kind not in KINDS:
        advice = advise(str(kind), KINDS)
        raise ProfileError(faults=[document.fault(("kind",), f"{shown(kind)} is no kind of profile", advice)])
    model: type[AnyProfile] = KINDS[kind]
    instance, faults = check(model, document.data, document)
    if instance is None:
        raise ProfileError(faults=in_order(_other_kind(fault, kind) for fault in faults))
    return instance


def _other_kind(fault: Fault, kind: str) -> Fault:
    """Say so where an unknown key belongs to another kind of profile."""
    key = fault.key.removeprefix("--set ")
    others = [name for name, model in KINDS.items() if key in field_names(model)]
    if not fault.what.startswith("unknown key") or not others:
        return fault
    todo = f"remove it; it belongs to kind {' or '.join(others)}"
    return Fault(f"has no meaning for kind {kind}", todo, fault.path, fault.place, fault.key)
