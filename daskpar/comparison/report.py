"""The report of a comparison: one HTML file that needs no network; or its table as Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from daskpar.atomic import write_text
from daskpar.comparison import tables
from daskpar.comparison.agreement import verdict
from daskpar.comparison.result import Comparison
from daskpar.errors import UsageError

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse; font-size: 13px; margin: 1em 0 }
th, td { padding: 3px 7px; border-bottom: 1px solid #ddd; text-align: right }
td { white-space: nowrap }
td.long { white-space: normal; text-align: left; overflow-wrap: anywhere }
li:first-child, li:nth-child(2) { font-weight: bold }
th:first-child, td:first-child { text-align: left }
tr.wrong td { background: #b00020; color: white; font-weight: bold }
li.wrong { color: #b00020; font-weight: bold }
pre { background: #f6f6f6; padding: 1em; overflow-x: auto }
"""

LONG = 40  # characters of a cell that may be broken into lines
CAPTION = (
    "<p><i>Work</i> is from the first block to the last partial merged. Marks are hollow where there were "
    "more cores occupied than physical ones: these are left out of laws and advice.</p>"
)


def write_report(folder: Path, path: str | Path | None = None) -> Path:
    """Write the report of a comparison.

    Parameters
    ----------
    folder : Path
        Of the comparison.
    path : path, optional
        The file: ``.html``, ``.md`` or ``.tex``; by default ``report.html`` in the folder.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    daskpar.errors.UsageError
        The folder holds no comparison, or the suffix is none of these.
    """
    made = {".html": html, ".md": tables.markdown, ".tex": tables.latex}
    target = Path(path) if path is not None else folder / "report.html"
    if target.suffix not in made:
        raise UsageError(f"a report is no {target.suffix!r}", f"choose {', '.join(made)}", path=target)
    write_text(target, made[target.suffix](Comparison(folder).data))
    return target


def html(data: Mapping[str, Any]) -> str:
    """Return the report as one HTML document, scripts and all."""
    from bokeh.embed import components
    from bokeh.resources import INLINE

    from daskpar.comparison.figures import layout

    script, figures = components(layout(data)) if data["scaling"] else ("", "")
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f"<title>{escape(data['name'])}: versions compared</title>",
            f"<style>{STYLE}</style>",
            INLINE.render() if figures else "",
            "</head><body>",
            *_head(data),
            "<h2>Are the results the same?</h2>",
            _agreement(data),
            "<h2>How long did they take?</h2>",
            _main_table(data),
            f"<p>{escape(' '.join(tables.notes(data)))}</p>",
            CAPTION if figures else "",
            figures,
            *_laws(data),
            "<h2>On what?</h2>",
            _machine(data),
            "<h2>What was computed</h2>",
            f"<pre>{escape(data['recipe_text'])}</pre>",
            _method(data),
            script,
            "</body></html>",
        ]
    )


def summary_html(data: Mapping[str, Any]) -> str:
    """Return what a comparison says, and its table, for a notebook: without scripts, with styles inline."""
    loud = 'class="wrong" style="color:#b00020;font-weight:bold"'
    shown = "\n".join([f"<p><b>{escape(data['name'])}</b></p>", *_said(data), _main_table(data)])
    return shown.replace('class="wrong"', loud)


def _head(data: Mapping[str, Any]) -> Iterable[str]:
    yield f"<h1>{escape(data['name'])}: versions compared</h1>"
    yield from _said(data)


def _said(data: Mapping[str, Any]) -> Iterable[str]:
    when = str(data["created"])[:16].replace("T", " ")
    yield f"<p>{escape(data['analysis'])}, {escape(when)} UTC, {data['rounds_done']} rounds"
    yield (", the problem growing with the workers" if data["weak"] else "") + "</p>"
    if data["state"] != "done":
        why = f": {escape(data['error'])}" if data.get("error") else ""
        yield f"<p><b>This comparison is {escape(data['state'])}{why}; what follows is not all of it.</b></p>"
    said = [*data["conclusion"], *(one["text"] for one in data["advice"])]
    yield "<ul>"
    for sentence in said:
        mark = ' class="wrong"' if sentence.startswith(("WRONG", "FAILED")) else ""
        yield f"<li{mark}>{escape(sentence)}</li>"
    yield "</ul>"


def _agreement(data: Mapping[str, Any]) -> str:
    rows = []
    for one in data["agreement"]:
        ulp = one["largest_ulp"]
        far = "" if ulp is None else f"{ulp:g}" if isinstance(ulp, float | int) else str(ulp)
        detail = one["message"] or ", ".join(one["differs"])
        shown = [one["version"], one["workers"], verdict(one), far, one["result_hash"][:16], detail]
        rows.append((not one["agrees"], shown))
    return _table(["version", "workers", "result", "largest ulp", "hash", ""], rows)


def _main_table(data: Mapping[str, Any]) -> str:
    rows = [(row["result"] != "same bits", tables.cells(row)) for row in tables.rows(data)]
    return _table(tables.heads(data), rows)


def _laws(data: Mapping[str, Any]) -> Iterable[str]:
    yield "<h2>How do they scale?</h2>"
    if not data["fits"]:
        yield (
            "<p>No law is fitted: that takes three different numbers of workers that occupy no more than the "
            f"physical cores ({data['physical_cores']}).</p>"
        )
    rows = []
    for fit in data["fits"]:
        left = ", ".join(f"{n}: {100 * value:+.1f} %" for n, value in fit["residuals"].items())
        aicc = "" if fit["aicc"] is None else f"{fit['aicc']:.1f}"
        chosen = "best" if fit["chosen"] else ""
        rows.append((False, [fit["version"], fit["law"], tables.parameters(fit), left, aicc, chosen]))
    if rows:
        yield _table(["version", "law", "parameters", "residuals by workers", "AICc", ""], rows)
    if data.get("predictions"):
        yield "<h2>With more workers</h2><p>The recorded blocks of the dask run, replayed:</p><ul>"
        yield "".join(f"<li>{escape(one['text'])}</li>" for one in data["predictions"])
        yield "</ul>"
    known = [one for one in data["scaling"] if one["karp_flatt"] is not None]
    points = [one for one in known if not one["oversubscribed"]]
    if points:
        yield (
            "<p>Serial share by Karp and Flatt: "
            + "; ".join(
                f"{escape(one['version'])} with {one['workers']}: {one['karp_flatt']:.3f}" for one in points
            )
            + ".</p>"
        )


def _machine(data: Mapping[str, Any]) -> str:
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    threads: dict[str, list[str]] = {}
    for one in data["versions"]:
        held = (one.get("threads") or machine["threads"]).items()
        threads.setdefault(", ".join(f"{name}={value}" for name, value in held), []).append(one["name"])
    cores = f"{data['physical_cores']} physical cores, {machine['cores']} usable"
    facts = [
        ("processor", f"{machine['cpu']} ({cores})"),
        ("system", machine["system"]),
        ("packages", ", ".join(filter(None, [versions, data.get("mpi", "")]))),
        ("cores of", machine.get("allocation") or "this machine, outside a batch job"),
        ("environment of", "; ".join(f"{', '.join(names)}: {text}" for text, names in threads.items())),
        ("fingerprint", machine["fingerprint"]),
    ]
    return "<dl>" + "".join(f"<dt>{a}</dt><dd>{escape(str(b))}</dd>" for a, b in facts) + "</dl>"


def _method(data: Mapping[str, Any]) -> str:
    return (
        "<h2>How it was measured</h2><p>Every version ran in a fresh process tree each time, one thread a "
        "worker, with the same kernel, blocks and input record, in an order that changed from round to "
        "round, after a round that did not count. <i>Work</i> is reading, computing and gathering: from the "
        "first block to the last partial merged; for dask with building the graph and writing the ledger. "
        "Start-up and the writing of the result are apart. Intervals are percentile bootstraps of medians, "
        "whole rounds drawn. Memory is that of the whole process tree, a shared page counted once, from the "
        "round that did not count. Moved is what processes sent each other, where a version knows; for dask, "
        "what went through its ledger. Cores are those that a batch system sets aside. "
        f"Raw timings: timings.jsonl beside this file. Reference: {escape(data['reference'])}.</p>"
    )


def _table(head: Sequence[str], rows: Sequence[tuple[bool, Sequence[Any]]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(str(cell))}</th>" for cell in head) + "</tr>"]
    for wrong, cells in rows:
        mark = ' class="wrong"' if wrong else ""
        lines.append(f"<tr{mark}>" + "".join(map(_cell, cells)) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _cell(value: Any) -> str:
    text = escape(str(value))
    return f'<td class="long">{text}</td>' if len(text) > LONG else f"<td>{text}</td>"
