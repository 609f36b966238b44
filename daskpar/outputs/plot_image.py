"""The preview of an image of any size: averaged over square blocks, stretched to show both sky and stars."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from daskpar.outputs.bands import bands
from daskpar.outputs.columns import images

if TYPE_CHECKING:
    import xarray as xr

MOST_PIXELS = 1024
_PIECE = 1 << 18  # pixels


def draw(dataset: xr.Dataset, figure: Any) -> None:
    """Draw the main image of a Dataset on an empty matplotlib Figure."""
    image = images(dataset)[0]
    while image.ndim > 2:
        image = image[0]
    factor = max(1, -(-max(image.shape) // MOST_PIXELS))
    small = block_average(image, factor)
    figure.set_size_inches(8, min(max(6.2 * image.shape[0] / image.shape[1] + 0.9, 3), 10))
    axes = figure.add_subplot()
    extent = (-0.5, small.shape[1] * factor - 0.5, -0.5, small.shape[0] * factor - 0.5)
    norm, ticks = stretch(small)
    shown = axes.imshow(small, norm=norm, extent=extent, origin="lower", cmap="gray", interpolation="nearest")
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(-0.5, image.shape[0] - 0.5)
    axes.set_facecolor("tab:red")  # pixels without a value
    axes.set_xlabel(f"{image.dims[1]} [pixel]")
    axes.set_ylabel(f"{image.dims[0]} [pixel]")
    axes.set_title(_title(image, factor))
    bar = figure.colorbar(shown, ax=axes, ticks=ticks, format="%.4g")
    bar.minorticks_off()
    bar.set_label(str(image.attrs.get("unit", "")))
    _draw_compass(axes, str(image.attrs.get("wcs_header") or dataset.attrs.get("wcs_header") or ""))


def _title(image: xr.DataArray, factor: int) -> str:
    name = str(image.attrs.get("long_name") or image.name)
    return f"{name}, mean of {factor} × {factor} pixels" if factor > 1 else name


def block_average(image: xr.DataArray, factor: int) -> np.ndarray[Any, Any]:
    """Average an image over blocks of `factor` × `factor` pixels, in constant memory.

    Parameters
    ----------
    image : xarray.DataArray (y, x)
        Bool, integer or float, of any size.
    factor : int
        Blocks at the upper and right border may hold fewer pixels.

    Returns
    -------
    float64 ndarray (ceil(y / factor), ceil(x / factor))
        Means of the finite values, NaN where a block has none.
    """
    height, width = (-(-length // factor) for length in image.shape)
    sums, counts = np.zeros((height, width)), np.zeros((height, width))
    starts = np.arange(0, image.shape[1], factor)
    row = 0
    for part in _row_groups(image):
        used = np.isfinite(part)
        rows = np.arange(row, row + len(part)) // factor
        np.add.at(sums, rows, np.add.reduceat(np.where(used, part, 0), starts, axis=1, dtype=np.float64))
        np.add.at(counts, rows, np.add.reduceat(used, starts, axis=1, dtype=np.float64))
        row += len(part)
    with np.errstate(invalid="ignore"):
        return sums / counts


def _row_groups(image: xr.DataArray) -> Iterator[np.ndarray[Any, Any]]:
    """Yield rows, few enough at a time for several temporary arrays of their size."""
    rows = max(1, _PIECE // max(1, image.shape[1]))
    for band in bands(image):
        for start in range(0, len(band), rows):
            yield band[start : start + rows]


def stretch(values: np.ndarray[Any, Any]) -> tuple[Any, np.ndarray[Any, Any]]:
    """Return a matplotlib norm and ticks for a colour bar: asinh around the sky, limits at 0.5 and 99.8 %.

    The scale on which asinh turns from linear to logarithmic is three robust standard deviations of the sky.
    """
    from matplotlib.colors import FuncNorm, Normalize

    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return Normalize(), finite[:1]
    low, middle, high = np.percentile(finite, [0.5, 50, 99.8])
    if low == high:
        low, high = finite.min(), finite.max()
    width = 3 * 1.4826 * float(np.median(np.abs(finite - middle))) or float(high - low)

    def forward(value: Any) -> Any:
        return np.arcsinh((value - middle) / width)

    def backward(value: Any) -> Any:
        return middle + width * np.sinh(value)

    ticks = backward(np.linspace(forward(low), forward(high), 7))
    return FuncNorm((forward, backward), vmin=low, vmax=high, clip=True), ticks


def _draw_compass(axes: Any, text: str) -> None:
    """Draw arrows to north and east from the lower left, where the header has a celestial WCS."""
    directions = compass(text)
    if directions is None:
        return
    for label, (dx, dy) in directions.items():
        end = (0.12 + 0.08 * dx, 0.12 + 0.08 * dy)
        axes.annotate(
            label,
            xy=(0.12, 0.12),
            xytext=end,
            xycoords="axes fraction",
            textcoords="axes fraction",
            color="gold",
            ha="center",
            va="center",
            arrowprops={"arrowstyle": "<-", "color": "gold"},
        )


def compass(text: str) -> dict[str, tuple[float, float]] | None:
    """Return unit vectors (x, y) to north and east at the reference pixel; None without a celestial WCS."""
    from astropy.wcs import WCS

    from daskpar.outputs.fits_header import wcs_cards

    world = WCS(wcs_cards(text)).celestial if text else None
    if world is None or world.naxis != 2:
        return None
    matrix = np.linalg.inv(world.pixel_scale_matrix)
    east, north = (column / np.hypot(*column) for column in matrix.T)
    return {"N": (float(north[0]), float(north[1])), "E": (float(east[0]), float(east[1]))}
