"""What a block of an image shows to watchers: its pixels binned, and how many values were rejected.

The receipt of a block holds at most 4 kB, so pixels are averaged over squares whose side is a power of two,
the smallest that leaves at most 128 squares a row and 1280 in all. What is kept is how far each lies from
the middle, as little-endian float16 in base64, scaled to its range: to 1 part in 2000, so that the sky
stays smooth beside stars.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

MOST_COLUMNS, MOST_SQUARES = 128, 1280
LARGEST = 60000.0  # of a float16


def preview(partial: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the preview of a partial: of a band of the combined image, or of some frames' statistics."""
    if "combined" in partial and "count" in partial:
        return _of_band(partial)
    if "clipped_median" in partial and len(partial["clipped_median"]) <= 100:
        names = ("clipped_median", "clipped_std")
        return {name: [float(f"{value:.6g}") for value in partial[name]] for name in names}
    return None


def _of_band(partial: Mapping[str, Any]) -> dict[str, Any]:
    image = np.asarray(partial["combined"], np.float64)
    factor = factor_for(*image.shape)
    sums, used = binned_sums(image, factor)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(used > 0, sums / used, np.nan)
    finite = means[np.isfinite(means)]
    middle = float(np.median(finite)) if finite.size else 0.0
    scale = float(np.abs(finite - middle).max()) / LARGEST if finite.size else 1.0
    return {
        "shape": list(image.shape),
        "factor": factor,
        "middle": middle,
        "scale": scale,
        "pixels": base64.b64encode(((means - middle) / (scale or 1.0)).astype("<f2").tobytes()).decode(),
        "used": int(np.sum(partial["count"], dtype=np.int64)),
        "low": int(np.sum(partial["rejected_low"], dtype=np.int64)),
        "high": int(np.sum(partial["rejected_high"], dtype=np.int64)),
    }


def factor_for(rows: int, columns: int) -> int:
    """Return the side of the squares, a power of two."""
    factor = 1
    while -(-columns // factor) > MOST_COLUMNS or -(-columns // factor) * -(-rows // factor) > MOST_SQUARES:
        factor *= 2
    return factor


def binned_sums(image: np.ndarray[Any, Any], factor: int) -> tuple[Any, Any]:
    """Return sum and number of the finite pixels of each square; those at the end may be incomplete."""
    rows, columns = (np.arange(0, length, factor) for length in image.shape)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    if np.isfinite(sums).all():
        heights, widths = np.diff([*rows, image.shape[0]]), np.diff([*columns, image.shape[1]])
        return sums, np.outer(heights, widths).astype(np.float64)
    used = np.isfinite(image)
    sums, counts = (
        np.add.reduceat(np.add.reduceat(array, rows, axis=0), columns, axis=1)
        for array in (np.where(used, image, 0.0), used.astype(np.float64))
    )
    return sums, counts
