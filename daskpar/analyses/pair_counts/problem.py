"""A recipe's problem as samples, counts and what becomes of them; for versions that do all themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskpar.analyses.pair_counts.estimates import axes
from daskpar.analyses.pair_counts.kernel.partial import Partial
from daskpar.analyses.pair_counts.settings import make_box
from daskpar.analyses.pair_counts.splits import part_of, split_letters
from daskpar.analyses.pair_counts.steps import (
    as_sample,
    bare_question,
    correlated,
    make_estimation,
    questions,
    result_layout,
    samples_of,
)
from daskpar.by_hand import Variables
from daskpar.inputs.catalogs import read_piece

if TYPE_CHECKING:
    from daskpar.analyses.pair_counts import PairCountsOptions, PairRecord

MOST_BLOCKS = 50_000


class Problem:
    """What is to be counted.

    Parameters
    ----------
    record : PairRecord
    options : PairCountsOptions

    Attributes
    ----------
    samples : dict of str to Catalog
        ``d``, and ``r`` where there are randoms or a second sample; ``r0``, ``r1``, … where these are split.
    questions : dict of str to Question
        What each count asks, by name.
    n_patches, seed : int
        Patches that errors come from, and where their search begins.
    patch_grid : 3 ints, optional
        They are the boxes of a grid.
    """

    def __init__(self, record: PairRecord, options: PairCountsOptions) -> None:
        binning, box = options.binning(), make_box(options.boxsize)
        given = {"d": record.data, "r": record.randoms}
        self.samples = {
            letter: as_sample(catalog, None, options.metric, letter)
            for letter, catalog in given.items()
            if catalog is not None
        }
        data, randoms = self.samples["d"], self.samples.get("r")
        self.binning, self.seed = binning, options.seed
        self.how = None
        if options.estimator is None:
            self.questions = {"npairs": bare_question(binning, box, data, randoms)}
        else:
            self.how = make_estimation(binning, box, data, randoms, options.model_dump())
            self.questions = questions(self.how, analytic=randoms is None)
            self.samples |= {letter: self.samples["r"] for letter in split_letters(self.how.splits)}
        self.n_patches = 0 if self.how is None else self.how.n_patches
        self.patch_grid = None if self.how is None else self.how.patch_grid

    def letters(self, name: str) -> tuple[str, str | None]:
        """Return the samples of a count; None where the first is paired with itself."""
        one, two = samples_of(name) if self.how else ("d", "r")
        return one, None if self.questions[name].auto else two

    @property
    def base(self) -> str:
        """The sample that patches are found in."""
        return "r" if "r" in self.samples else "d"

    def number_of_pieces(self, letter: str) -> int:
        """Return how many pieces a sample is read in."""
        return len(self.samples[letter].pieces())

    def read(self, letter: str, number: int, share: int = 1) -> dict[str, Any]:
        """Read a piece of a sample, or only the first of so many shares of it."""
        catalog = self.samples[letter]
        piece = catalog.pieces()[number]
        stop = piece.start + max(1, (piece.stop - piece.start) // share)
        part = read_piece(catalog, piece._replace(stop=stop))
        points = {"positions": part.positions} | ({} if part.weights is None else {"weights": part.weights})
        return (
            points
            if self.how is None or len(letter) == 1
            else part_of(points, int(letter[1:]), self.how.splits)
        )

    def result(self, counts: Mapping[str, Partial], sums: Mapping[str, Any]) -> Variables:
        """Return the variables of the result.

        Parameters
        ----------
        counts : mapping
            Finished counts, by name, in the order of `questions`.
        sums : mapping
            Σw and Σw² of each patch, by sample, in the order of `samples`.
        """
        if self.how is None:
            return {name: (axes(self.binning), array) for name, array in counts["npairs"].items()}
        names: Sequence[str] = list(counts)
        found = correlated([*counts.values(), *sums.values()], self.how, list(names), list(sums))
        return result_layout(found, self.how, names)
