"""From a recipe and a profile to a run directory; all faults are found before any worker starts.

`begin` makes a new run; `reopen` loads one that exists, and refuses when its recipe, its input or the code
behind it is no longer what it was.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from daskpar.analysis import Analysis, Where, analysis_names, load_analysis
from daskpar.atomic import write_text
from daskpar.changes import file_digest, kept_in_use, refuse_changed_code, refuse_changed_recipe
from daskpar.clusters.memory import in_megabytes, memory_key, memory_limit
from daskpar.durable import digest_of
from daskpar.errors import DaskparError, InputError, ProfileError
from daskpar.loading import identity_of, load_recipe, open_record, profile_model
from daskpar.outputs import is_ours
from daskpar.outputs.names import check_outputs
from daskpar.profile import Profile
from daskpar.provenance import provenance
from daskpar.recipe import Recipe
from daskpar.rundir import EMPTY_STATE, RunDirectory, create_run, now, runs_folder
from daskpar.settings.input_paths import resolve_inputs
from daskpar.settings.profile_lookup import dump_profile
from daskpar.user_code import check_signature, code_of, copy_code, refuse_code
from daskpar.user_modules import put_first

MEMORY_SHARE = 0.6  # of a worker's limit that blocks may take; above it distributed begins to spill


@dataclass(frozen=True)
class Prepared:
    """A run that is ready to be driven.

    Attributes
    ----------
    run : RunDirectory
        Where everything about it goes.
    recipe : Recipe
        Resolved.
    profile : Profile
        The site.
    analysis : Analysis
        Loaded, its code as the run began.
    options : BaseModel or None
        The recipe's options as the analysis' model.
    record : object
        The frozen description of the input.
    output : Path
        The folder of the results.
    overwrite : bool
        Whether results may replace files there.
    """

    run: RunDirectory
    recipe: Recipe
    profile: Profile
    analysis: Analysis
    options: Any
    record: Any
    output: Path
    overwrite: bool

    @property
    def threads(self) -> int:
        """Blocks that a worker computes at a time."""
        return int(getattr(self.profile, "cores", 1))

    @property
    def memory_at_once(self) -> int:
        """Bytes that the blocks of a worker need at a time, as the analysis tells; 0 where it does not."""
        cost = self.analysis.cost
        told = cost(self.record, self.options) if cost is not None else {}
        return self.threads * int(told.get("task_memory_bytes", 0))

    def build(self) -> Any:
        """Return what the analysis builds: a lazy collection, or a generator of stages."""
        return self.analysis.build(self.record, self.options)

    @property
    def warnings(self) -> list[str]:
        """What is odd about recipe and input, but allowed."""
        found = self.analysis.warnings
        return found(self.record, self.options) if found is not None else []

    @property
    def per_cpu(self) -> bool:
        """Whether results are the same bits only on CPUs of one kind."""
        return self.analysis.bits_of(self.options) == "per_cpu"

    @property
    def identity(self) -> Any:
        """Which input and options these are, for the keys of blocks without a key of their own."""
        return [identity_of(self.analysis, self.record), self.recipe.data()["options"]]


def begin(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    profile: str | Path | Profile = "local",
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
    runs: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Check everything about a recipe and make its run directory.

    Parameters
    ----------
    recipe : path, mapping or Recipe
        The science.
    profile : str, path or Profile
        The site.
    settings : sequence of str
        ``options.sigma=2`` and the like, over the recipe.
    allow_code : bool
        Whether the recipe may name modules of the user's; they are copied to ``RUN/code/``.
    runs, output : path
        Folder of the runs, and of the results if that is not the run's own.
    overwrite : bool
        Whether results may replace files in `output`.
    """
    site = profile_model(profile)
    loaded, analysis = _checked(recipe, settings, allow_code)
    with _nothing_left_behind() as made:
        run = create_run(loaded.name, runs_folder(runs))
        made.append(run.path)
        folder = Path(output).absolute() if output is not None else run.path / "results"
        check_outputs(loaded.outputs, folder, overwrite)
        prepared = _prepared(run, loaded, site, analysis, folder, overwrite)
        refuse_large_blocks(prepared)
        _write_beginning(prepared, recipe, allow_code, settings)
    return prepared


def prepare_nothing(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    profile: str | Path | Profile,
    scratch: Path,
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
) -> Prepared:
    """Check everything about a recipe as `begin` does, without a run: for ``validate`` and ``plan``.

    Generated input goes to `scratch`, which the caller removes.
    """
    site = profile_model(profile)
    loaded, analysis = _checked(recipe, settings, allow_code)
    return _prepared(RunDirectory(scratch), loaded, site, analysis, scratch, False)


def check(
    recipe: str | Path,
    profile: str | Path | Profile = "local",
    *,
    settings: Sequence[str] = (),
    allow_code: bool = False,
) -> tuple[Recipe, list[str]]:
    """Check a recipe and a profile; return the recipe and what is odd but allowed.

    Input is looked at if it is there; what is wrong with it is only a warning here.

    Raises
    ------
    daskpar.errors.DaskparError
        With all faults.
    """
    profile_model(profile)
    loaded, _ = _checked(recipe, settings, allow_code)
    with tempfile.TemporaryDirectory(prefix="daskpar-validate-") as scratch:
        try:
            prepared = prepare_nothing(loaded, profile, Path(scratch), allow_code=allow_code)
            _planned(prepared)
        except InputError as error:
            return loaded, [str(fault) for fault in error.faults]
    return loaded, prepared.warnings


def _checked(
    recipe: str | Path | Mapping[str, Any] | Recipe, settings: Sequence[str], allow_code: bool
) -> tuple[Recipe, Analysis]:
    if allow_code:
        folder = recipe.folder if isinstance(recipe, Recipe) else Path.cwd()
        put_first(Path(recipe).parent if isinstance(recipe, str | Path) else folder)
    loaded = load_recipe(recipe, settings, allow_code)
    analysis = load_analysis(loaded.analysis, allow_code)
    with _located(loaded):
        refuse_code(analysis, _options(analysis, loaded), allow_code)
        check_signature(analysis.build, 2, loaded.analysis, "analysis")
    return loaded, analysis


def reopen(
    run: RunDirectory,
    profile: str | Path | Profile | None = None,
    *,
    settings: Sequence[str] = (),
    as_begun: bool = False,
) -> Prepared:
    """Load a run that exists, to start it or to go on with it.

    Parameters
    ----------
    run : RunDirectory
        The run.
    profile : str, path or Profile, optional
        Another site than it was begun on.
    settings : sequence of str
        Changes to the recipe that extend the run, for example ``options.n_samples=1e10``.
    as_begun : bool
        Go on with the recipe and the user's code as the run keeps them, though the files they came from
        changed.

    Raises
    ------
    daskpar.errors.UsageError
        The recipe or the code changed since the run began; the message shows the difference. Or files that
        are not this run's stand where its results will go, and it was begun without `overwrite`.
    daskpar.errors.InputError
        The input changed.
    """
    record = run.record
    if run.code.is_dir():
        put_first(run.code)
    refuse_changed_recipe(run, record, as_begun)
    refuse_changed_code(run, record, as_begun)
    allow_code = bool(record["allow_code"])
    lookup = partial(load_analysis, allow_code=allow_code)
    recipe = Recipe.load(
        run.path / "recipe.yaml", settings, lookup, analysis_names=analysis_names(), folder=record["folder"]
    )
    site = profile_model(profile if profile is not None else run.path / "profile.yaml")
    output = Path(record["output"])
    overwrite = bool(record["overwrite"])
    others = [name for name in recipe.outputs if not is_ours(output / name, {"run": run.name})]
    check_outputs(others, output, overwrite)
    prepared = _prepared(run, recipe, site, lookup(recipe.analysis), output, overwrite)
    if identity_digest(prepared) != record["input"]:
        raise InputError(
            "the input changed since the run began",
            "begin a new run: daskpar run RECIPE",
            path=run.path,
            key="inputs",
        )
    if settings or profile is not None:
        prepared = extend(prepared, **kept_in_use(prepared.analysis, record, prepared.options))
    return prepared


def extend(prepared: Prepared, **options: Any) -> Prepared:
    """Write a changed recipe or profile into the run, so that it goes on with them from here."""
    run, recipe = prepared.run, prepared.recipe
    if options:
        data = {**recipe.data(), "options": {**recipe.data()["options"], **options}}
        lookup = partial(load_analysis, allow_code=bool(run.record["allow_code"]))
        recipe = Recipe.from_data(data, lookup, folder=recipe.folder)
    write_text(run.path / "recipe.yaml", recipe.dump())
    write_text(run.path / "profile.yaml", dump_profile(prepared.profile))
    record = run.record
    made_with = {**record["provenance"], "recipe": {"text": recipe.dump(), "digest": recipe.digest()}}
    run.write_record(
        {**record, "recipe": recipe.data(), "recipe_digest": recipe.digest(), "provenance": made_with}
    )
    return replace(prepared, recipe=recipe, options=_options(prepared.analysis, recipe))


def identity_digest(prepared: Prepared) -> str:
    """Return the digest of the input's identity."""
    return digest_of(identity_of(prepared.analysis, prepared.record))


def _prepared(
    run: RunDirectory, recipe: Recipe, profile: Profile, analysis: Analysis, output: Path, overwrite: bool
) -> Prepared:
    roots = {name: Path(path) for name, path in profile.roots.items()}
    where = Where(
        recipe.folder, partial(resolve_inputs, base=recipe.folder, roots=roots), run.path / "scratch"
    )
    with _located(recipe):
        record = open_record(analysis, recipe.data()["inputs"], where)
    return Prepared(run, recipe, profile, analysis, _options(analysis, recipe), record, output, overwrite)


def _options(analysis: Analysis, recipe: Recipe) -> Any:
    return analysis.options.model_validate(recipe.data()["options"]) if analysis.options is not None else None


@contextmanager
def _located(recipe: Recipe) -> Iterator[None]:
    """Give faults that name a key of the recipe its line and column."""
    try:
        yield
    except DaskparError as error:
        raise recipe.located(error) from error


@contextmanager
def _nothing_left_behind() -> Iterator[list[Path]]:
    made: list[Path] = []
    try:
        yield made
    except BaseException:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
            _remove_if_empty(path.parent)
        raise


def refuse_large_blocks(prepared: Prepared) -> None:
    """Refuse a run whose blocks cannot fit its workers: spilling to disk would not save it."""
    needed = prepared.memory_at_once
    limit = memory_limit(prepared.profile) if needed else None
    if limit is None or needed <= MEMORY_SHARE * limit:
        return
    threads, key = prepared.threads, memory_key(prepared.profile)
    enough = needed / MEMORY_SHARE
    todo = f"give a worker at least {in_megabytes(enough)}"
    if key == "memory_per_cpu":  # fewer cores would bring less memory, too
        todo += f": memory_per_cpu: {in_megabytes(enough / threads)}"
    elif threads > 1:
        todo += ", or fewer cores"
    raise ProfileError(
        f"{threads} block(s) at a time need {in_megabytes(needed)}, a worker has {in_megabytes(limit)}",
        todo,
        key=key,
    )


def _planned(prepared: Prepared) -> Any:
    """Return what the analysis says of the cost, as JSON, for watchers."""
    cost = prepared.analysis.cost
    found = {} if cost is None else cost(prepared.record, prepared.options)
    return json.loads(json.dumps(found, default=str))


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # it holds other runs


def _write_beginning(prepared: Prepared, source: Any, allow_code: bool, settings: Sequence[str] = ()) -> None:
    run, recipe = prepared.run, prepared.recipe
    code = code_of(prepared.analysis, prepared.options)
    if allow_code:
        copy_code(run, code)
    path = Path(source).absolute() if isinstance(source, str | Path) else None
    write_text(run.path / "recipe.yaml", recipe.dump())
    write_text(run.path / "profile.yaml", dump_profile(prepared.profile))
    run.write_record(
        {
            "name": run.name,
            "created": now(),
            "recipe": recipe.data(),
            "recipe_digest": recipe.digest(),
            "recipe_file": str(path) if path is not None else None,
            "recipe_file_sha256": file_digest(path) if path is not None else None,
            "folder": str(recipe.folder),
            "output": str(prepared.output),
            "overwrite": prepared.overwrite,
            "allow_code": allow_code,
            "input": identity_digest(prepared),
            "code": {name: {"file": str(file), "sha256": file_digest(file)} for name, file in code.items()},
            "settings": list(settings),
            "planned": _planned(prepared),
            "provenance": provenance(
                recipe.dump(),
                recipe.digest(),
                {name: file_digest(file) or "" for name, file in code.items()},
                identity_of(prepared.analysis, prepared.record),
            ),
        }
    )
    run.write_state(
        {**EMPTY_STATE, "name": run.name, "profile": prepared.profile.kind, "path": str(run.path)}
    )
