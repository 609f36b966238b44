"""Samples as nodes of the graph: catalogs read piece by piece, weights summed, patches found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.patches import SAMPLE_PER_PATCH, assign_patches, patch_centres
from daskpar.analyses.pair_counts.resampling import patch_weights
from daskpar.durable import collect, durable
from daskpar.errors import UsageError
from daskpar.inputs.catalogs import Catalog, Piece, open_catalog, read_piece


@dataclass(frozen=True)
class Sample:
    """A catalog as nodes of the graph: its pieces, read and sorted.

    Attributes
    ----------
    catalog : Catalog
    centres : Delayed, optional
        Centres of the patches, and ``n_patches``, how many.
    """

    catalog: Catalog
    centres: Delayed | None = None
    n_patches: int = 0
    tag: Any = None

    @property
    def identity(self) -> list[Any]:
        """What decides the points and their patches."""
        return [self.catalog.identity(), self.n_patches, self.tag]

    def pieces(self) -> list[Delayed]:
        """Return a durable node for each piece: points read, checked and placed in space."""
        identity = self.catalog.identity()
        record = delayed(Shared(self.catalog), name=f"catalog-{identity}", traverse=False)
        return [
            durable(read_points, record, piece, key=[identity, list(piece)], label=f"points {number}")
            for number, piece in enumerate(self.catalog.pieces())
        ]

    def weights(self) -> Delayed:
        """Return a node with Σw and Σw² of each patch."""
        nodes = [
            durable(weigh, piece, self.centres, self.n_patches, key=[self.identity, n], label=f"weights {n}")
            for n, piece in enumerate(self.pieces())
        ]
        return collect(_summed, nodes)


class Shared:
    """A record that all tasks share: in the graph once, opaque to dask."""

    def __init__(self, value: Any) -> None:
        self.value = value


def read_points(shared: Shared, piece: Piece) -> dict[str, NDArray[Any]]:
    """Return the points of a piece of a catalog."""
    part = read_piece(shared.value, piece)
    return {"positions": part.positions} | ({} if part.weights is None else {"weights": part.weights})


def weigh(piece: Mapping[str, Any], centres: Any, n_patches: int) -> dict[str, NDArray[Any]]:
    """Return Σw and Σw² of the points of a piece, for each patch."""
    positions = piece["positions"]
    weights = piece["weights"] if "weights" in set(piece) else np.ones(len(positions))
    where = np.zeros(len(positions), np.int64)
    if n_patches and len(positions):
        where = assign_patches(positions, centres["centres"])
    first, second = patch_weights(where, weights, max(1, n_patches))
    return {"first": first, "second": second}


def _summed(parts: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
    first, second = parts[0]["first"], parts[0]["second"]
    for part in parts[1:]:
        first, second = first + part["first"], second + part["second"]
    return first, second


def find_centres(pieces: Sequence[Mapping[str, Any]], n_patches: int, seed: int) -> dict[str, NDArray[Any]]:
    """Return the centres of patches, from some points of every piece."""
    step = max(1, sum(len(piece["positions"]) for piece in pieces) // (4 * SAMPLE_PER_PATCH * n_patches))
    some = np.concatenate([piece["positions"][::step] for piece in pieces])
    return {"centres": patch_centres(some, n_patches, seed)}


def as_sample(sample: Any, weights: Any, metric: str, name: str) -> Catalog:
    """Return the catalog that an argument means, fit for a metric.

    Raises
    ------
    daskpar.errors.UsageError
        Weights beside a catalog or files, or positions that do not fit the metric.
    """
    if isinstance(sample, Catalog):
        catalog = sample
    elif weights is not None:
        points = np.asarray(sample, np.float64)
        roles = {2: ("ra", "dec"), 3: ("x", "y", "z")}.get(points.shape[-1] if points.ndim == 2 else 0)
        if roles is None:
            raise UsageError(
                f"{name} has the shape {points.shape}", "weights go with (n, 3) or (n, 2)", key=name
            )
        columns = {role: points[:, k] for k, role in enumerate(roles)} | {"weight": np.asarray(weights)}
        return as_sample(open_catalog(columns, {role: role for role in columns}), None, metric, name)
    else:
        catalog = open_catalog(sample)
    if weights is not None:
        raise UsageError("a catalog holds its own weights", "name their column when opening it", key=name)
    if metric == "theta":
        if catalog.kind != "sky":
            raise UsageError(f"angles need {name} on the sky", "give longitude and latitude", key=name)
        return catalog.directions()
    if catalog.angular:
        raise UsageError(f"{name} has no distances", "give redshifts, or count by theta", key=name)
    return catalog
