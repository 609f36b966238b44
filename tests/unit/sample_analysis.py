"""A small analysis record, as those of daskpar.analysis look to a recipe; shared by several tests."""

from types import SimpleNamespace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from daskpar.errors import AnalysisError


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FrameStats(_Settings):
    sigma: float = Field(3.0, gt=0, allow_inf_nan=False, description="Reject beyond so many deviations")
    maxiters: int | None = Field(5, ge=1, description="Most rounds of rejection")


class Combine(FrameStats):
    method: Literal["mean", "median", "sum"] = Field("mean", description="How to combine")
    weights: bool = Field(False, description="Weigh by inverse variance")


class Options(_Settings):
    frame_stats: FrameStats = Field(FrameStats(), description="Statistics of each frame")
    combine: Combine | None = Field(None, description="The combined image; null: none")
    edges: tuple[float, ...] = Field((0.0, 1.0), min_length=2, description="Edges of bins, increasing")

    @field_validator("edges")
    @classmethod
    def _increasing(cls, edges):
        if list(edges) != sorted(set(edges)):
            raise ValueError("the edges do not increase; sort them and name each once")
        return edges


ANALYSIS = SimpleNamespace(name="image_stats", options=Options, inputs=None)
NAMES = ["image_stats", "map", "pair_counts"]
SUFFIXES = [".fits", ".ecsv", ".png"]


def lookup(name):
    if name != ANALYSIS.name:
        raise AnalysisError(f"there is no analysis {name!r}", "see daskpar init --help")
    return ANALYSIS
