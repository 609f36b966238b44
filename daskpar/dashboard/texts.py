"""The parts of the pages that are text: small HTML from escaped values, shared with report and notebook."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

from daskpar.dashboard.watching import duration

LARGEST_PICTURE = 8 << 20
STYLE = (Path(__file__).parent / "style.css").read_text()


def badge(state: str) -> str:
    """Return a run's state as a coloured word."""
    return f'<span class="badge {escape(state, quote=True)}">{escape(state)}</span>'


def bar(share: float, state: str = "running") -> str:
    """Return a progress bar."""
    kind = "done" if state == "done" else ""
    return f'<div class="bar {kind}"><div style="width:{100 * min(max(share, 0.0), 1.0):.2f}%"></div></div>'


def facts(values: Mapping[str, str]) -> str:
    """Return named values side by side."""
    return (
        '<div class="facts">'
        + "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in values.items())
        + "</div>"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: frozenset[int] = frozenset()) -> str:
    """Return a table; cells are HTML already, the header is not. `numbers` are columns set to the right."""

    def cells(tag: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{tag} class="number">{one}</{tag}>' if k in numbers else f"<{tag}>{one}</{tag}>"
            for k, one in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = cells("th", [escape(one) for one in header])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def size(count: float | None) -> str:
    """Return bytes as people say them."""
    value = float(count or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def rate(blocks_a_second: float) -> str:
    """Return a rate of blocks."""
    if blocks_a_second <= 0:
        return "–"
    if blocks_a_second < 0.5:
        return f"{60 * blocks_a_second:.1f} blocks/min"
    return f"{blocks_a_second:,.1f} blocks/s"


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two times as states hold them."""
    try:
        return (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds()
    except ValueError:
        return None


def clock(text: str | None) -> str:
    """Return a time as states hold it, shortened: day and time in UTC."""
    return str(text or "")[:19].replace("T", " ")


def heading(state: Mapping[str, Any], pace: Mapping[str, Any], now: str) -> str:
    """Return what stands above a run: name, state, bar and the numbers that change."""
    elapsed = seconds_between(state.get("started"), state.get("ended") or now)
    shown = {
        "blocks": f"{pace['done']:,} of {pace['total']:,}",
        "throughput": rate(pace["rate"]),
        "elapsed": duration(elapsed) if state.get("started") else "–",
    }
    if state["state"] == "running":
        shown["left"] = duration(pace["left_seconds"])
        shown["workers"] = str(state.get("workers") or 0)
    if state.get("memory_bytes"):
        shown["memory of the workers"] = size(state["memory_bytes"])
    if state.get("stage"):
        shown["stage"] = str(state["stage"])
    error = f'<div class="error">{escape(str(state["error"]))}</div>' if state.get("error") else ""
    if state.get("queue") and state["state"] == "running":
        error += f'<div class="muted">queue: {escape(str(state["queue"])[:500])}</div>'
    for warning in (state.get("warnings") or ())[:5]:
        error += f'<div class="muted">warning: {escape(str(warning)[:500])}</div>'
    return (
        f"<h1>{escape(str(state['name']))} {badge(str(state['state']))}</h1>"
        f"{bar(pace['share'], str(state['state']))}{facts(shown)}{error}"
    )


def events(notes: Iterable[Mapping[str, Any]], most: int = 60) -> str:
    """Return the last events that are no blocks, newest first."""
    rows = []
    for note in list(notes)[::-1][:most]:
        rest = {k: v for k, v in note.items() if k not in ("event", "time", "traceback")}
        text = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in rest.items())
        rows.append((clock(note.get("time"))[11:], escape(str(note.get("event"))), escape(text[:500])))
    return "<h2>Events</h2>" + (
        table(("time", "event", ""), rows) if rows else '<p class="muted">none yet</p>'
    )


def failures(found: Iterable[Mapping[str, Any]], failed: int, again: int, most: int = 20) -> str:
    """Return the last failures with their messages and tracebacks."""
    again_text = f'<p class="muted">{again:,} blocks were computed more than once</p>' if again else ""
    rows = [
        f"<p><b>{escape(str(one.get('label', one.get('event'))))}</b> "
        f'<span class="error">{escape(str(one.get("message", ""))[:1000])}</span></p>'
        + (
            f"<details><summary>traceback</summary><pre>{escape(str(one['traceback']))}</pre></details>"
            if one.get("traceback")
            else ""
        )
        for one in list(found)[::-1][:most]
    ]
    if not rows:
        return f'<h2>Failures</h2><p class="muted">none</p>{again_text}'
    return f"<h2>Failures: {failed:,}</h2>{again_text}" + "".join(rows)


def pictures(state: Mapping[str, Any]) -> str:
    """Return the pictures among a finished run's outputs, with their data inside."""
    shown = ""
    for name in state.get("outputs") or ():
        path = Path(name)
        if path.suffix == ".png" and path.is_file() and path.stat().st_size <= LARGEST_PICTURE:
            data = base64.b64encode(path.read_bytes()).decode()
            picture = f'<img style="max-width:100%" src="data:image/png;base64,{data}">'
            shown += f"<p>{escape(path.name)}<br>{picture}</p>"
    return f"<h2>Pictures</h2>{shown}" if shown else ""
