"""When to stop: rounds at fixed batch counts, a target for the standard error, and blocks of batches.

Nothing here knows workers or a clock, so a run stops at the same batch everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST_ROUND = 32
# A sample whose variance happens to be small stops early, and its mean is then off by more than it says. The
# remedy is to stop only when the variance itself is known to 10 %, or to 30 % where it comes from batch
# means, which are nearly normal: then Student's t covers. Without it the 95 % interval of an
# exponential variable covered 91 %, and of a rare event 86 %.
_VARIANCE_KNOWN = 0.1
_VARIANCE_KNOWN_FROM_BATCHES = 0.3


def round_ends(n_batches: int) -> Iterator[int]:
    """Batch counts at which a run of at most `n_batches` may stop: 32, 64, 128, ..., and the last."""
    end = FIRST_ROUND
    while end < n_batches:
        yield end
        end *= 2
    yield n_batches


def precise_enough(
    value: Floats,
    standard_error: Floats,
    variance_error: Floats,
    target: float,
    relative: bool = False,
    independent: bool = True,
) -> bool:
    """Whether every standard error is at most the target.

    Parameters
    ----------
    value, standard_error, variance_error : (k,) float64 arrays
        Estimates at the end of a round, their standard errors, and the relative errors of the variances.
    target : float
        Largest standard error: in the unit of the result, or relative to the absolute value.
    relative : bool
        Which of the two.
    independent : bool
        As in `finish.finish`.

    Notes
    -----
    A column without any spread never satisfies a target: it may be a constant or a rare event not yet seen.
    """
    limit = target * np.abs(value) if relative else np.full_like(value, target)
    known = variance_error <= (_VARIANCE_KNOWN if independent else _VARIANCE_KNOWN_FROM_BATCHES)
    return bool(np.all((standard_error <= limit) & known))
