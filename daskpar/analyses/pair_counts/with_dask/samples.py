"""Samples as nodes of the graph: catalogs read piece by piece, weights summed, patches found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from daskpar.analyses.pair_counts.splits import part_of
from daskpar.analyses.pair_counts.steps import as_sample, find_centres, summed, weigh
from daskpar.durable import collect, durable
from daskpar.inputs.catalogs import Catalog, Piece, read_piece

__all__ = ["Sample", "Shared", "as_sample", "find_centres"]


@dataclass(frozen=True)
class Sample:
    """A catalog as nodes of the graph: its pieces, read and sorted.

    Attributes
    ----------
    catalog : Catalog
    centres : Delayed, optional
        Centres of the patches, and ``n_patches``, how many.
    split : two ints, optional
        Only the points of this part, of so many.
    """

    catalog: Catalog
    centres: Delayed | None = None
    n_patches: int = 0
    tag: Any = None
    split: tuple[int, int] | None = None

    @property
    def identity(self) -> list[Any]:
        """What decides the points and their patches."""
        return [self.catalog.identity(), self.n_patches, self.tag, self.split]

    def pieces(self) -> list[Delayed]:
        """Return a durable node for each piece: points read, checked and placed in space."""
        identity = self.catalog.identity()
        record = delayed(Shared(self.catalog), name=f"catalog-{identity}", traverse=False)
        nodes = [
            durable(read_points, record, piece, key=[identity, list(piece)], label=f"points {number}")
            for number, piece in enumerate(self.catalog.pieces())
        ]
        if self.split is None:
            return nodes
        part, parts = self.split
        return [
            durable(
                part_of, node, part, parts, key=[identity, list(piece), part, parts], label=f"part {part}"
            )
            for node, piece in zip(nodes, self.catalog.pieces(), strict=True)
        ]

    def weights(self) -> Delayed:
        """Return a node with Σw and Σw² of each patch."""
        nodes = [
            durable(weigh, piece, self.centres, self.n_patches, key=[self.identity, n], label=f"weights {n}")
            for n, piece in enumerate(self.pieces())
        ]
        return collect(summed, nodes)


class Shared:
    """A record that all tasks share: in the graph once, opaque to dask."""

    def __init__(self, value: Any) -> None:
        self.value = value


def read_points(shared: Shared, piece: Piece) -> dict[str, NDArray[Any]]:
    """Return the points of a piece of a catalog."""
    part = read_piece(shared.value, piece)
    return {"positions": part.positions} | ({} if part.weights is None else {"weights": part.weights})
