"""Seeded images with a known truth: stars, sky, noise, cosmic rays, bad pixels.

A frame depends only on (description, seed, number of the frame), never on the other frames or on the CPU:
the path into pixel values uses + - * / and sqrt, which round the same everywhere, and normal deviates.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Size = Annotated[int, Field(ge=8, le=100_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]

#: Streams of the seed that are the same for all frames; frame i has stream (2, i).
_SCENE, _BAD_PIXELS, _FRAME = 0, 1, 2
#: Full width at half maximum of a Moffat profile (1 + r²/a²)^-β, in units of a: 2 sqrt(2^(1/β) - 1).
_WIDTH = {2: 1.2871885058111654, 3: 1.0196490570679173, 4: 0.8699588840921645}


class SyntheticImages(BaseModel):
    """What to simulate; the defaults make 16 small frames in a fraction of a second.

    Counts are in adu. Stars have Moffat profiles and fluxes drawn from N(>f) ∝ 1/f; the noise is Gaussian
    with the variance ``signal / gain + read_noise²``, at the default sky Poisson noise in all but name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_frames: Annotated[int, Field(ge=1, le=1_000_000)] = 16
    shape: Annotated[tuple[Size, Size], Field(description="rows, columns")] = (512, 512)
    dtype: Literal["float32", "uint16"] = "float32"
    seed: Annotated[int, Field(ge=0)] = 1
    exposure: Annotated[Positive, Field(description="seconds")] = 30.0
    stars: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    flux_min: Annotated[Positive, Field(description="adu, of the faintest star")] = 500.0
    flux_max: Annotated[Positive, Field(description="adu, of the brightest star")] = 200_000.0
    fwhm: Annotated[Positive, Field(le=50, description="pixels")] = 3.0
    moffat_beta: Literal[2, 3, 4] = 3
    sky: Annotated[NotNegative, Field(description="adu a pixel")] = 300.0
    sky_gradient: Annotated[
        float, Field(ge=-1, le=1, description="change of the sky from left to right edge, as a fraction")
    ] = 0.1
    gain: Annotated[Positive, Field(description="electrons per adu")] = 1.5
    read_noise: Annotated[NotNegative, Field(description="adu")] = 5.0
    cosmic_rays: Annotated[int, Field(ge=0, le=1_000_000, description="a frame")] = 20
    bad_pixels: Annotated[int, Field(ge=0, description="the same in all frames; they read 0")] = 50

    @model_validator(mode="after")
    def _ordered(self) -> SyntheticImages:
        if self.flux_min > self.flux_max:
            raise ValueError("flux_min must not exceed flux_max")
        return self


class SyntheticFrame(NamedTuple):
    """One frame and the truth about it.

    ``data`` is of the dtype of the description; ``truth`` (float64) holds stars and sky without noise, the
    same in all frames; ``cosmic_rays`` and ``bad_pixels`` are boolean. All have the shape of the description.
    """

    data: NDArray[Any]
    truth: NDArray[np.float64]
    cosmic_rays: NDArray[np.bool_]
    bad_pixels: NDArray[np.bool_]


def synthetic_frame(spec: SyntheticImages, frame: int, seed: int | None = None) -> SyntheticFrame:
    """Make one frame, with the same bits whether or not others are made.

    Parameters
    ----------
    spec : SyntheticImages
        What to simulate.
    frame : int
        Number of the frame, from 0; the truth is the same for all.
    seed : int, optional
        Instead of ``spec.seed``.
    """
    seed = spec.seed if seed is None else seed
    truth, bad = _scene(spec, seed)
    rng = _generator(seed, _FRAME, frame)
    data = rng.standard_normal(spec.shape)
    data *= np.sqrt(truth / spec.gain + spec.read_noise * spec.read_noise)
    data += truth
    struck = _strike(data, spec.cosmic_rays, rng)
    data[bad] = 0
    if spec.dtype == "uint16":
        data = np.clip(np.rint(data), 0, 65535)
    return SyntheticFrame(data.astype(spec.dtype), truth, struck & ~bad, bad)


def synthetic_frames(spec: SyntheticImages, seed: int | None = None) -> list[SyntheticFrame]:
    """Make all frames of a description; arguments as in `synthetic_frame`."""
    return [synthetic_frame(spec, frame, seed) for frame in range(spec.n_frames)]


def _generator(seed: int, *stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=stream)))


@lru_cache(maxsize=2)
def _scene(spec: SyntheticImages, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return stars plus sky without noise, and the bad pixels; both read-only, since they are shared."""
    rows, columns = spec.shape
    slope = spec.sky_gradient * (np.arange(columns) / (columns - 1) - 0.5)
    truth = np.empty(spec.shape)
    truth[...] = spec.sky * (1 + slope)
    rng = _generator(seed, _SCENE)
    # f = f_min / (1 - u (1 - f_min / f_max)) has N(>f) ∝ 1/f without a power function.
    flux = spec.flux_min / (1 - rng.random(spec.stars) * (1 - spec.flux_min / spec.flux_max))
    positions = rng.random((spec.stars, 2)) * (rows, columns) - 0.5
    for (y, x), total in zip(positions.tolist(), flux.tolist(), strict=True):
        _add_star(truth, y, x, total, spec.fwhm, spec.moffat_beta)
    bad = np.zeros(spec.shape, bool)
    dead = _generator(seed, _BAD_PIXELS).integers(0, rows * columns, spec.bad_pixels)
    bad.reshape(-1)[dead] = True
    truth.flags.writeable = bad.flags.writeable = False
    return truth, bad


def _add_star(image: NDArray[np.float64], y: float, x: float, flux: float, fwhm: float, beta: int) -> None:
    """Add flux (β-1)/(π a²) (1 + r²/a²)^-β (Moffat 1969), at the centres of the pixels within 12 FWHM."""
    a = fwhm / _WIDTH[beta]
    reach = int(12 * fwhm) + 1
    y0, x0 = max(0, int(y) - reach), max(0, int(x) - reach)
    part = image[y0 : int(y) + reach + 1, x0 : int(x) + reach + 1]
    dy = np.arange(y0, y0 + part.shape[0]) - y
    dx = np.arange(x0, x0 + part.shape[1]) - x
    base = 1 + (dy[:, None] * dy[:, None] + dx * dx) / (a * a)
    profile = base
    for _ in range(beta - 1):
        profile = profile * base
    part += flux * (beta - 1) / (np.pi * a * a) / profile


def _strike(image: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Add straight tracks of cosmic rays; returns where."""
    struck = np.zeros(image.shape, bool)
    numbers = rng.random((count, 5))
    rows, columns = image.shape
    for y, x, direction_y, direction_x, hardness in numbers.tolist():
        # Up to 20 pixels long; 300 adu a pixel and more, with N(>e) ∝ 1/e up to 30 000.
        energy = 300 / (1 - 0.99 * hardness)
        along = np.arange(1 + int(20 * (1 - hardness)))
        track_y = (y * rows + (2 * direction_y - 1) * along).astype(np.int64)
        track_x = (x * columns + (2 * direction_x - 1) * along).astype(np.int64)
        inside = (track_y >= 0) & (track_y < rows) & (track_x >= 0) & (track_x < columns)
        cells = np.unique(track_y[inside] * columns + track_x[inside])
        image.reshape(-1)[cells] += energy
        struck.reshape(-1)[cells] = True
    return struck
