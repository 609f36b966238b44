"""The Science panel of `pair_counts`: ξ with its error as blocks arrive, and pairs with Poisson errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskpar.analyses.pair_counts import Spacing
from daskpar.dashboard.live_correlation import Tally, correlation_so_far, names_of, share
from daskpar.dashboard.plots import Curve, Plot

Floats = NDArray[np.float64]
_LABEL = re.compile(r"(pairs|plan) (\w+)( \d+)?$")
_NAMES = {"dd": "Data–data pairs", "dr": "Data–random pairs", "rd": "Random–data pairs", "rr": "Random pairs"}
_AXES = {"r": "r", "theta": "θ [deg]", "rp_pi": "rp", "s_mu": "s"}
_SECOND = {"rp_pi": "pi_edges", "s_mu": "mu_edges"}


def pairs_panel(receipts: Sequence[Mapping[str, Any]], state: dict[str, Any]) -> list[Plot]:
    """Add receipts to the counts and return what is to be shown; see `daskpar.dashboard.science`."""
    tallies: dict[str, Tally] = state.setdefault("tallies", {})
    for receipt in receipts:
        found = _LABEL.match(receipt["label"])
        if found:
            tally = tallies.setdefault(found[2], Tally())
            if found[1] == "plan":
                tally.plan(receipt["preview"])
            else:
                tally.add(receipt["preview"])
                state["group"] = receipt["preview"]["group"]
    function = _function(tallies, state)
    plots: list[Plot] = [] if function is None else [function]
    return plots + [_curve(name, tally, state) for name, tally in sorted(tallies.items()) if tally.blocks]


def _function(tallies: Mapping[str, Tally], state: Mapping[str, Any]) -> Curve | None:
    options = state["options"]
    names = names_of(options, state["planned"], _signed(options))
    second = bin_edges(options.get(_SECOND.get(options["metric"], "")))
    axes = (_edges(state), np.asarray(second) if second else None)
    ordered = {name: 2 if counted_once(name, state) else 1 for name in names}
    found = correlation_so_far(tallies, names, options, axes, ordered)
    if found is None:
        return None
    xi, error = found
    symbol = "w" if options["metric"] == "theta" else "ξ"
    axis = _AXES[options["metric"]]
    over = {"rp_pi": " over all π", "s_mu": " over all µ"}.get(options["metric"], "")
    title = f"{symbol}({axis.split(' ')[0]}){over} ± error, from {share(tallies, names):.0%} of the blocks"
    middle, spread = _middles(axes[0])
    return Curve(
        title, middle, xi, error=error, x_label=axis, y_label=symbol, x_log=spread, y_log=bool(np.all(xi > 0))
    )


def _edges(state: Mapping[str, Any]) -> Floats:
    """Return the edges of the bins as receipts have them: neighbours may be taken together."""
    edges = np.asarray(bin_edges(state["options"]["edges"]))
    return np.append(edges[:-1][:: state.get("group", 1)], edges[-1])


def _middles(edges: Floats) -> tuple[Floats, bool]:
    """Return the middles of bins, and whether they are to stand on a logarithmic axis."""
    spread = bool(edges[0] > 0 and edges[-1] > 10 * edges[0])
    return np.sqrt(edges[1:] * edges[:-1]) if spread else (edges[1:] + edges[:-1]) / 2, spread


def _curve(name: str, tally: Tally, state: Mapping[str, Any]) -> Curve:
    pairs, ordered = tally.pairs, 2 if counted_once(name, state) else 1
    middle, spread = _middles(_edges(state))
    of = f"{tally.blocks} of {tally.planned}" if tally.planned else f"{tally.blocks}"
    title = f"{_NAMES.get(name, 'Pairs')} ± Poisson error, {int(pairs.sum()) * ordered:,} in {of} blocks"
    return Curve(
        title, middle, pairs.astype(np.float64) * ordered, error=np.sqrt(pairs) * ordered,
        x_label=_AXES[state["options"]["metric"]], y_label="ordered pairs a bin", x_log=spread,
        y_log=bool(pairs.all()),
    )  # fmt: skip


def _signed(options: Mapping[str, Any]) -> bool:
    return any((bin_edges(options.get(axis)) or (0.0,))[0] < 0 for axis in _SECOND.values())


def counted_once(name: str, state: Mapping[str, Any]) -> bool:
    """Whether each pair was counted once and stands for two: a sample with itself, not signed."""
    alone = name in ("dd", "rr") or (name == "all" and not state["planned"].get("randoms"))
    return alone and not _signed(state["options"])


def bin_edges(given: Any) -> tuple[float, ...]:
    """Return edges as a recipe gives them: numbers, a rule, or nothing."""
    if isinstance(given, Mapping):
        return Spacing.model_validate(dict(given)).edges()
    return tuple(given or ())
