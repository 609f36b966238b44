"""The main table of a comparison: as rows, as Markdown, as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HEAD = {
    "version": "version",
    "lines": "lines of code",
    "workers": "workers",
    "cores": "cores",
    "seconds": "work (s)",
    "low": "95 % from",
    "high": "to",
    "speedup": "speed-up",
    "efficiency": "efficiency",
    "ratio": "dask / this",
    "significant": "significant",
    "startup": "start-up (s)",
    "total": "total (s)",
    "peak_mb": "memory (MB)",
    "moved_mb": "moved (MB)",
    "result": "result",
}
"""Columns, and what stands above them."""


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
    wrong = [a for a in data["agreement"] if (a["version"], a["workers"]) == cell and not a["agrees"]]
    if not wrong:
        return "same bits"
    return "FAILED" if wrong[0]["message"] and not wrong[0]["result_hash"] else "DIFFERS"


def _by_cell(entries: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], Mapping[str, Any]]:
    return {(one["version"], one["workers"]): one for one in entries}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row as texts; empty where there is no number."""
    return [_shown(row[name]) for name in HEAD]


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def markdown(data: Mapping[str, Any]) -> str:
    """Return the table, and what it says, as Markdown."""
    lines = ["| " + " | ".join(HEAD.values()) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells(row)) + " |" for row in rows(data)]
    said = [f"- {sentence}" for sentence in [*data["conclusion"], *(one["text"] for one in data["advice"])]]
    machine = data["machine"]
    packages = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    where = f"{machine['cpu']}, {data['physical_cores']} cores, {machine['system']}; " + ", ".join(
        filter(None, [*packages, data.get("mpi", ""), machine.get("allocation", "")])
    )
    parts = [f"# {data['name']}: versions compared", "", *lines, "", *said, "", result(data), "", where, ""]
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
    head = " & ".join(map(escape, HEAD.values())) + r" \\"
    comments = [f"% {sentence}" for sentence in [*data["conclusion"], result(data)]]
    return "\n".join(
        [*comments, rf"\begin{{tabular}}{{{form}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
         r"\end{tabular}", ""]
    )  # fmt: skip
