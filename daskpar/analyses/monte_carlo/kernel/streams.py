"""The random stream of each batch, from the seed and the number of the batch alone."""

from __future__ import annotations

import numpy as np


def generator(seed: int, batch: int) -> np.random.Generator:
    """Return the generator of one batch.

    Parameters
    ----------
    seed : int
        Seed of the run, not negative.
    batch : int
        Number of the batch, from 0.

    Returns
    -------
    numpy.random.Generator
        ``Generator(PCG64DXSM(SeedSequence(seed, spawn_key=(batch,))))``: it has no state that
        depends on which batches were made before, unlike ``SeedSequence.spawn``.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(batch,))
    return np.random.Generator(np.random.PCG64DXSM(sequence))


def replay_text(seed: int, batch: int) -> str:
    """Python text that makes the generator of a batch again, for error messages."""
    return f"numpy.random.Generator(PCG64DXSM(SeedSequence({seed}, spawn_key=({batch},))))"
