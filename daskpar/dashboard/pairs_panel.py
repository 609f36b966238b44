"""The Science panel of `pair_counts`: pairs by separation, with Poisson errors, as blocks arrive."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts import Spacing
from daskpar.dashboard.plots import Curve, Plot

Floats = NDArray[np.float64]
_LABEL = re.compile(r"pairs (\w+) \d+$")
_NAMES = {"dd": "Data–data pairs", "dr": "Data–random pairs", "rd": "Random–data pairs", "rr": "Random pairs"}
_AXES = {"r": "r", "theta": "θ [deg]", "rp_pi": "rp", "s_mu": "s"}


def pairs_panel(receipts: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> list[Plot]:
    """Add receipts to the counts and return what is to be shown; see `daskpar.dashboard.science`."""
    counts: dict[str, Any] = state.setdefault("counts", {})
    for receipt in receipts:
        found = _LABEL.match(receipt["label"])
        if found:
            preview = receipt["preview"]
            more = np.asarray(preview["npairs"], np.int64)
            before, blocks = counts.get(found[1], (np.zeros_like(more), 0))
            counts[found[1]] = (before + more, blocks + 1)
            state["group"] = preview["group"]
    return [_curve(name, pairs, blocks, state) for name, (pairs, blocks) in sorted(counts.items())]


def _curve(name: str, pairs: Any, blocks: int, state: Mapping[str, Any]) -> Curve:
    options = state["options"]
    edges = np.asarray(bin_edges(options["edges"]))
    edges = np.append(edges[:-1][:: state["group"]], edges[-1])
    ordered = 2 if counted_once(name, state) else 1
    spread = edges[0] > 0 and edges[-1] > 10 * edges[0]
    middle = np.sqrt(edges[1:] * edges[:-1]) if spread else (edges[1:] + edges[:-1]) / 2
    title = f"{_NAMES.get(name, 'Pairs')} ± Poisson error, {int(pairs.sum()) * ordered:,} in {blocks} blocks"
    return Curve(
        title, middle, pairs.astype(np.float64) * ordered, error=np.sqrt(pairs) * ordered,
        x_label=_AXES[options["metric"]], y_label="ordered pairs a bin", x_log=bool(spread),
        y_log=bool(pairs.all()),
    )  # fmt: skip


def counted_once(name: str, state: Mapping[str, Any]) -> bool:
    """Whether each pair was counted once and stands for two: a sample with itself, not signed."""
    options = state["options"]
    signed = any((bin_edges(options.get(axis)) or (0.0,))[0] < 0 for axis in ("pi_edges", "mu_edges"))
    alone = name in ("dd", "rr") or (name == "all" and not state["planned"].get("randoms"))
    return alone and not signed


def bin_edges(given: Any) -> tuple[float, ...]:
    """Return edges as a recipe gives them: numbers, a rule, or nothing."""
    if isinstance(given, Mapping):
        return Spacing.model_validate(dict(given)).edges()
    return tuple(given or ())
