"""Weak scaling: the problem of a recipe, grown with the number of workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daskpar.analysis import load_analysis
from daskpar.errors import UsageError
from daskpar.inputs.synthetic import SyntheticImages

if TYPE_CHECKING:
    from daskpar.recipe import Recipe


def grown(recipe: Recipe, workers: int) -> Recipe:
    """Return a recipe with so many times the work.

    Samples of a Monte Carlo; rows of synthetic images, and what is in them (a pixel's work is not linear in
    the frames); points of synthetic catalogs in a volume that grows with them, so that pairs grow as points
    do.

    Raises
    ------
    daskpar.errors.UsageError
        It is not known how to make more of this input.
    """
    if workers == 1:
        return recipe
    data = recipe.data()
    if data["analysis"] == "monte_carlo" and data["options"].get("target_error") is not None:
        raise UsageError(
            "a run that ends at a target_error has as many samples as that takes, whatever n_samples is",
            "compare with --set options.target_error=null and an n_samples, or without --weak",
            key="--weak",
        )
    if not _grow(data, workers):
        raise UsageError(
            f"it is not known how a problem of {recipe.analysis} from this input grows",
            "use synthetic input, or compare without --weak",
            key="--weak",
        )
    return recipe.from_data(data, load_analysis, folder=recipe.folder)


def _grow(data: dict[str, Any], times: int) -> bool:
    options, inputs = data["options"], data.get("inputs") or {}
    if data["analysis"] == "monte_carlo":
        options["n_samples"] = int(float(options["n_samples"])) * times
        return True
    sources = [inputs, *([inputs["randoms"]] if inputs.get("randoms") else [])]
    made = [source["synthetic"] for source in sources if source.get("synthetic")]
    if len(made) != len(sources):
        return False
    if data["analysis"] == "image_stats":
        spec = SyntheticImages.model_validate(made[0])
        made[0]["shape"] = [spec.shape[0] * times, spec.shape[1]]
        for thing in ("stars", "cosmic_rays", "bad_pixels"):
            made[0][thing] = getattr(spec, thing) * times
        return True
    if data["analysis"] == "pair_counts" and options.get("boxsize", 0.0) is not None:
        for one in made:
            one["n_points"] = int(one["n_points"]) * times
            one["boxsize"] = float(one["boxsize"]) * times ** (1 / 3)
            if one.get("kind") == "clustered":
                one["n_clusters"] = int(one.get("n_clusters", 2000)) * times
        if options.get("boxsize"):
            options["boxsize"] = made[0]["boxsize"]
        return True
    return False
