"""The main table of a comparison: as rows, as Markdown, as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from daskpar.comparison.agreement import verdict

HEAD = {
    "version": "version",
    "lines": "lines of code",
    "workers": "workers",
    "cores": "cores",
    "seconds": "work (s)",
    "low": "95 % from",
    "high": "to",
    "speedup": "speed-up",
    "efficiency": "efficiency a core",
    "ratio": "dask / this",
    "significant": "significant",
    "startup": "start-up (s)",
    "total": "total (s)",
    "peak_mb": "memory (MB)",
    "moved_mb": "moved (MB)",
    "result": "result",
}
"""Columns, and what stands above them."""


LINES = (
    "Lines of code are those of the file, or folder, that holds a version, without blank ones, comments and "
    "docstrings; kernels and what all versions use do not count, and versions in one file share its lines."
)


def rows(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each version and number of workers; those that are wrong have no times.

    Parameters
    ----------
    data : mapping
        ``comparison.json``.
    """
    several = data["rounds_done"] > 1  # one time has no interval
    lines = {one["name"]: one["lines"] for one in data["versions"]}
    points = _by_cell(data["scaling"])
    phases = _by_cell(data["phases"])
    ratios = {(one["base"], one["workers"]): one for one in data["ratios"]}
    found: list[dict[str, Any]] = []
    for one in data["agreement"]:
        cell = one["version"], one["workers"]
        if any(row["version"] == cell[0] and row["workers"] == cell[1] for row in found):
            continue
        point, phase, ratio = points.get(cell, {}), phases.get(cell, {}), ratios.get(cell, {})
        peak, moved = phase.get("peak_bytes"), phase.get("bytes_moved")
        found.append(
            {
                "version": cell[0],
                "lines": lines.get(cell[0], 0),
                "workers": cell[1],
                "cores": phase.get("cores_occupied", cell[1]),
                "seconds": _number(point.get("seconds")),
                **{name: _number(point.get(name) if several else None) for name in ("low", "high")},
                **{name: _number(point.get(name)) for name in ("speedup", "efficiency")},
                "ratio": _number(ratio.get("ratio")),
                "significant": "yes" if ratio.get("significant") else "no" if ratio else "",
                **{name: _number(phase.get(name)) for name in ("startup", "total")},
                "peak_mb": _number(peak / 1e6 if peak else None),
                "moved_mb": _number(moved / 1e6 if moved is not None else None),
                "result": _verdict(data, cell, one),
            }
        )
    return found


def _verdict(data: Mapping[str, Any], cell: tuple[str, int], one: Mapping[str, Any]) -> str:
    mine = [a for a in data["agreement"] if (a["version"], a["workers"]) == cell]
    return verdict(next((a for a in mine if not a["agrees"]), one))


def _by_cell(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], Mapping[str, Any]]:
    return {(one["version"], one["workers"]): one for one in entries}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def heads(data: Mapping[str, Any]) -> list[str]:
    """Return what stands above the columns; ratios are of dask or, without it, of the reference."""
    above = next((one["version"] for one in data["ratios"]), "dask")
    return [f"{above} / this" if name == "ratio" else head for name, head in HEAD.items()]


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row as texts; empty where there is no number."""
    return [_shown(row[name]) for name in HEAD]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def serial(data: Mapping[str, Any]) -> str:
    """Say which time speed-ups are over; empty where nothing ran on one worker."""
    base = data.get("serial")
    return f"{base['version']} on one worker, {base['seconds']:.3g} s" if base else ""


def notes(data: Mapping[str, Any]) -> list[str]:
    """Return what the columns of the table mean, and what has not all of its numbers there."""
    over = serial(data)
    grown = ", times the workers, since the problem grows with them" if data["weak"] else ""
    return [
        f"Speed-up is over the best serial time, {over}{grown}; efficiency is speed-up by cores occupied."
        if over
        else "There is no speed-up, for nothing ran on one worker.",
        LINES,
    ]


def differing(data: Mapping[str, Any]) -> list[str]:
    """Return how each wrong result differs, in a sentence."""
    found = []
    for one in data["agreement"]:
        if not one["agrees"]:
            ulp = one["largest_ulp"]
            far = [] if ulp is None else [f"largest ulp {ulp:g}" if isinstance(ulp, float | int) else ulp]
            why = " ".join(", ".join(filter(None, [one["message"], *one["differs"], *far])).split())
            found.append(f"{one['version']} with {one['workers']}: {verdict(one)}, {why}")
    return found


def fitted(data: Mapping[str, Any]) -> list[str]:
    """Return the laws that were chosen, and the predictions, a line each."""
    found = []
    for fit in data["fits"]:
        if fit["chosen"]:
            left = ", ".join(f"{n}: {100 * value:+.1f} %" for n, value in fit["residuals"].items())
            found.append(f"{fit['version']}, {fit['law']}: {parameters(fit)} (residuals by workers {left})")
    return [*found, *(f"dask, replayed: {one['text']}" for one in data.get("predictions") or ())]


def parameters(fit: Mapping[str, Any]) -> str:
    """Return the parameters of a law with their errors."""
    found = fit["parameters"].items()
    return "; ".join(f"{name} = {value:.3g} ± {fit['errors'][name]:.1g}" for name, value in found)


def markdown(data: Mapping[str, Any]) -> str:
    """Return the table, and what it says, as Markdown."""
    lines = ["| " + " | ".join(heads(data)) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows(data)]
    said = [f"- {sentence}" for sentence in [*data["conclusion"], *(one["text"] for one in data["advice"])]]
    machine = data["machine"]
    packages = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    where = f"{machine['cpu']}, {data['physical_cores']} cores, {machine['system']}; " + ", ".join(
        filter(None, [*packages, data.get("mpi", ""), machine.get("allocation", "")])
    )
    more = [f"- {line}" for line in [*differing(data), *fitted(data)]]
    parts = [
        f"# {data['name']}: versions compared", "", *lines, "", *said, *more, "", *notes(data), "",
        result(data), "", where, "",
    ]  # fmt: skip
    return "\n".join(parts)


def result(data: Mapping[str, Any]) -> str:
    """Say which result the versions have, or should have: its hash."""
    found = next((one["result_hash"] for one in data["agreement"] if one["agrees"]), "none")
    return f"SHA-256 of the result of {data['reference']}: {found}"


_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def escape(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return re.sub(r"[&%$#_{}~^\\]", lambda found: _SPECIAL.get(found[0], r"\textbackslash{}"), text)


def latex(data: Mapping[str, Any]) -> str:
    """Return the table as LaTeX (booktabs)."""
    texts = ("version", "significant", "result")
    form = "".join("l" if name in texts else "r" for name in HEAD)
    body = [" & ".join(map(escape, cells(row))) + r" \\" for row in rows(data)]
    head = " & ".join(map(escape, heads(data))) + r" \\"
    advice = [one["text"] for one in data["advice"]]
    said = [*data["conclusion"], *advice, *differing(data), *fitted(data), *notes(data), result(data)]
    comments = [f"% {sentence}" for sentence in said]
    return "\n".join(
        [*comments, rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
         r"\end{tabular}", ""]
    )  # fmt: skip
