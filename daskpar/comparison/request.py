"""What is to be compared: checked before anything starts, and written down for a job that does it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daskpar.analysis import load_analysis
from daskpar.atomic import write_text
from daskpar.comparison.sweep import with_block_size
from daskpar.comparison.versions import chosen_versions
from daskpar.comparison.weak import grown
from daskpar.errors import UsageError
from daskpar.loading import load_recipe, profile_model
from daskpar.recipe import Recipe
from daskpar.settings.profile_lookup import dump_profile
from daskpar.user_modules import put_first

if TYPE_CHECKING:
    from daskpar.comparison.launch import Version
    from daskpar.profile import Profile

ELSEWHERE = ("class", "address")  # kinds of profiles whose workers are on machines that nobody knows


@dataclass(frozen=True)
class Request:
    """What is to be compared.

    Attributes
    ----------
    recipe : Recipe
    profile : Profile
    versions : tuple of str
        As the user named them.
    workers : tuple of int
        Sorted.
    repeats, most_repeats : int
    weak : bool
    block_sizes : tuple of int
    allow_code : bool
    path : tuple of str
        Folders to import the user's modules from.
    time_limit : float
        Seconds for one start of one version.
    """

    recipe: Recipe
    profile: Profile
    versions: tuple[str, ...]
    workers: tuple[int, ...]
    repeats: int
    most_repeats: int
    weak: bool
    block_sizes: tuple[int, ...]
    allow_code: bool
    path: tuple[str, ...]
    time_limit: float

    def chosen(self) -> list[Version]:
        """Return the versions that the names mean."""
        analysis = load_analysis(self.recipe.analysis, self.allow_code)
        return chosen_versions(analysis, self.versions, self.allow_code, self.profile.kind)

    def recipes(self) -> dict[int, Recipe]:
        """Return the recipe for each number of workers: the same, unless the problem grows with them."""
        return {n: grown(self.recipe, n) if self.weak else self.recipe for n in self.workers}

    def sized(self) -> dict[int, Recipe]:
        """Return the recipe with each of the block sizes."""
        return {size: with_block_size(self.recipe, size) for size in self.block_sizes}

    def cores(self) -> int:
        """Return the most cores that one of the versions occupies."""
        return max(version.cores(n) for version in self.chosen() for n in self.workers)

    def save(self, folder: Path) -> None:
        """Write everything down for a job."""
        plain = {key: value for key, value in vars(self).items() if key not in ("recipe", "profile")}
        recipe = {"recipe": self.recipe.data(), "folder": str(self.recipe.folder)}
        write_text(folder / "request.json", json.dumps({**plain, **recipe}))
        write_text(folder / "profile.yaml", dump_profile(self.profile))


def load_request(folder: Path) -> Request:
    """Return what `Request.save` wrote."""
    found = json.loads((folder / "request.json").read_text())
    for path in found["path"]:
        put_first(Path(path))
    lookup = partial(load_analysis, allow_code=found["allow_code"])
    recipe = Recipe.from_data(found.pop("recipe"), lookup, folder=found.pop("folder"))
    lists = {key: tuple(value) for key, value in found.items() if isinstance(value, list)}
    return Request(recipe=recipe, profile=profile_model(folder / "profile.yaml"), **{**found, **lists})


def make_request(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    profile: str | Path | Profile,
    versions: Sequence[str],
    workers: Sequence[int],
    repeats: int,
    most_repeats: int | None,
    *,
    settings: Sequence[str],
    allow_code: bool,
    **more: Any,
) -> Request:
    """Check what a user asks for.

    Raises
    ------
    daskpar.errors.DaskparError
        A fault in recipe or profile, an unknown version, or numbers that make no sense.
    """
    counts = tuple(sorted(set(workers)))
    if more["weak"] and counts[:1] != (1,):
        raise UsageError("growing problems are compared with one worker", "write --workers 1,2,4")
    if not counts or counts[0] < 1 or repeats < 1 or (most_repeats or repeats) < repeats:
        raise UsageError("workers and repeats are 1 or more", "write --workers 1,2 --repeats 5")
    path = (str(_folder_of(recipe)),) if allow_code else ()
    for folder in path:
        put_first(Path(folder))
    wanted = Request(
        load_recipe(recipe, settings, allow_code), profile_model(profile), tuple(versions), counts, repeats,
        most_repeats or repeats, allow_code=allow_code, path=path, **more,
    )  # fmt: skip
    names = [version.name for version in wanted.chosen()]
    wanted.recipes(), wanted.sized()  # both refuse what cannot be
    if wanted.profile.kind in ELSEWHERE and names != ["dask"]:
        raise UsageError(
            f"a profile of kind {wanted.profile.kind} has dask's workers where no other version runs",
            "compare with -p local, inside a job of your site",
            key="--profile",
        )
    return wanted


def _folder_of(recipe: Any) -> Path:
    return Path(recipe).absolute().parent if isinstance(recipe, str | Path) else Path.cwd()
