"""A recipe's problem as samples, counts and what becomes of them; for versions that do all themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from daskpar.analyses.pair_counts.estimates import axes
from daskpar.analyses.pair_counts.kernel.partial import Partial
from daskpar.analyses.pair_counts.settings import make_box
from daskpar.analyses.pair_counts.steps import (
    as_sample,
    bare_question,
    correlated,
    make_estimation,
    questions,
    result_layout,
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
        ``d``, and ``r`` where there are randoms or a second sample.
    questions : dict of str to Question
        What each count asks, by name.
    n_patches, seed : int
        Patches that errors come from, and where their search begins.
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
        self.n_patches = 0 if self.how is None else self.how.n_patches

    def letters(self, name: str) -> tuple[str, str | None]:
        """Return the samples of a count; None where the first is paired with itself."""
        if self.questions[name].auto:
            return name[0] if self.how else "d", None
        return (name[0], name[1]) if self.how else ("d", "r")

    @property
    def base(self) -> str:
        """The sample that patches are found in."""
        return "r" if "r" in self.samples else "d"

    def number_of_pieces(self, letter: str) -> int:
        """Return how many pieces a sample is read in."""
        return len(self.samples[letter].pieces())

    def read(self, letter: str, number: int) -> dict[str, Any]:
        """Read a piece of a sample."""
        catalog = self.samples[letter]
        part = read_piece(catalog, catalog.pieces()[number])
        return {"positions": part.positions} | ({} if part.weights is None else {"weights": part.weights})

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
