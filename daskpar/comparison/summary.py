"""What follows from the timings of a comparison, as data and in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from daskpar.by_hand import PHASES
from daskpar.comparison.causes import bound_sentences, lock_sentences, missing_sentences
from daskpar.comparison.ratios import Ratio, all_ratios
from daskpar.comparison.scaling import advice, best_serial, physical_cores, points, version_fits
from daskpar.comparison.simulation import predict, recorded, worth_it
from daskpar.comparison.sweep import sweep_sentences
from daskpar.comparison.timing import Timing, counted

MORE_WORKERS = (4, 8, 16, 32, 64)


def summarised(described: Mapping[str, Any], timings: Sequence[Timing]) -> dict[str, Any]:
    """Return everything in ``comparison.json`` that follows from the timings."""
    weak, names = bool(described["weak"]), [one["name"] for one in described["versions"]]
    cores = int(described.get("physical_cores") or physical_cores())
    ratios = all_ratios(timings, "dask" if "dask" in names else described["reference"])
    reached = points(timings, weak=weak, cores=cores)
    base = best_serial(timings)
    fitted = {name: version_fits(timings, name, weak=weak, cores=cores) for name in names}
    found = [
        advice([point for point in reached if point.version == name], fitted[name])
        for name in names
        if name != "serial"
    ]
    return {
        "physical_cores": cores,
        "ratios": [{**vars(one), "significant": one.significant} for one in ratios],
        "serial": base.data() if base else None,
        "scaling": [point.data() for point in reached],
        "fits": [{"version": name, **one.data()} for name in names for one in fitted[name]],
        "advice": [one.data() for one in found if one is not None],
        "phases": phases(timings),
        "conclusion": conclusion(described, timings, ratios),
        "predictions": predictions(described, timings, cores),
    }


def predictions(described: Mapping[str, Any], timings: Sequence[Timing], cores: int) -> list[dict[str, Any]]:
    """Return what dask would take on more workers, from the blocks of the recorded run."""
    blocks = described.get("blocks")
    dask = [one for one in counted(timings) if one.version == "dask" and one.cores_occupied <= cores]
    if not blocks or not blocks["seconds"] or not dask or described["weak"]:
        return []
    measured = _medians(dask, "dask")
    startup = float(np.median([(one.seconds or {}).get("startup", 0.0) for one in dask]))
    wanted = sorted({*measured, *MORE_WORKERS})
    found = predict(recorded(blocks, startup), wanted, measured)
    return [{**vars(one), "text": text} for one, text in zip(found, worth_it(found), strict=True)]


def phases(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Return the median seconds of each phase, for each version and number of workers."""
    good = counted(timings)
    found = []
    for version, workers in sorted({(one.version, one.workers) for one in good}):
        mine = [one for one in good if (one.version, one.workers) == (version, workers)]
        medians = {
            name: float(np.median([(one.seconds or {}).get(name, 0.0) for one in mine]))
            for name in (*PHASES, "total")
        }
        peaks = [one.peak_bytes for one in mine if one.peak_bytes]
        moved = [one.bytes_moved for one in mine if one.bytes_moved is not None]
        found.append(
            {
                "version": version,
                "workers": workers,
                "cores_occupied": mine[0].cores_occupied,
                **medians,
                "peak_bytes": max(peaks, default=None),
                "bytes_moved": max(moved, default=None),
            }
        )
    return found


def conclusion(described: Mapping[str, Any], timings: Sequence[Timing], ratios: Sequence[Ratio]) -> list[str]:
    """Return what the comparison says, in sentences."""
    cores = int(described.get("physical_cores") or physical_cores())
    cells = {(one.version, one.workers): one.cores_occupied for one in counted(timings)}
    crowded = {cell for cell, occupied in cells.items() if occupied > cores}
    alone = [one for one in ratios if not {(one.version, one.workers), (one.base, one.workers)} & crowded]
    said = [_agreement_sentence(described), _headline(timings, alone)]
    for one in sorted(ratios, key=lambda one: one.workers):
        said.append(ratio_sentence(one, None if one in alone else 0))
    rest = [
        *lock_sentences(timings, cores, bool(described["weak"])),
        *bound_sentences(timings),
        *sweep_sentences(described.get("sweep")),
        *missing_sentences(described, cores),
    ]
    return [*filter(None, said), *rest]


def _agreement_sentence(described: Mapping[str, Any]) -> str:
    bad = [one for one in described["agreement"] if not one["agrees"]]
    wrong = sorted({one["version"] for one in bad if one["result_hash"]})
    failed = sorted({one["version"] for one in bad if not one["result_hash"]})
    said = []
    if wrong:
        said.append(
            f"WRONG: {', '.join(wrong)} did not give the result of {described['reference']}; "
            "no time is shown for what is wrong."
        )
    if failed:
        said.append(f"FAILED: {', '.join(failed)} gave no result; the table of results says why.")
    if bad or not described["agreement"]:
        return " ".join(said)
    return "All versions gave the same result, bit for bit."


def _headline(timings: Sequence[Timing], ratios: Sequence[Ratio]) -> str:
    """Say what the first version costs beside the fastest other one, of those whose processes had a core."""
    most = max((one.workers for one in ratios if one.base != "serial"), default=0)
    rivals = [one for one in ratios if one.workers == most and one.base != "serial"]
    if len(rivals) < 2:
        return ""  # the only ratio says it
    fastest = min(rivals, key=lambda one: _medians(timings, one.base)[most])
    verdict = f"95 %: {fastest.low:.2f} to {fastest.high:.2f}"
    if not fastest.significant:
        verdict = f"not significant, {verdict}" if fastest.repeats > 1 else "one round, not significant"
    return (
        f"With {most} worker{'s' * (most > 1)}, {fastest.version} took {fastest.ratio:.2f} times as long as "
        f"the fastest other version, {fastest.base} ({verdict})."
    )


def ratio_sentence(ratio: Ratio, cores: int | None = None) -> str:
    """Return what a ratio of times says, and whether it says anything."""
    crowded = " (more than there are cores)" if cores is not None and ratio.workers > cores else ""
    with_workers = f"with {ratio.workers} worker{'s' * (ratio.workers > 1)}{crowded}"
    bounds = f"95 %: {ratio.low:.2f} to {ratio.high:.2f}, {ratio.repeats} rounds"
    interval = f"{ratio.ratio:.2f} ({bounds if ratio.repeats > 1 else 'one round'})"
    if not ratio.significant:
        few = " with so few rounds" if ratio.repeats < 5 else ""
        return (
            f"{ratio.version} and {ratio.base} {with_workers}: the difference is not significant{few}; "
            f"the ratio of times is {interval}."
        )
    word = "slower" if ratio.ratio > 1 else "faster"
    percent = abs(ratio.ratio - 1) * 100
    digits = 1 if percent < 1 else 0
    return f"{ratio.version} is {percent:.{digits}f} % {word} than {ratio.base} {with_workers}: {interval}."


def _medians(timings: Sequence[Timing], version: str) -> dict[int, float]:
    found: dict[int, list[float]] = {}
    for one in counted(timings):
        if one.version == version:
            found.setdefault(one.workers, []).append(one.work)
    return {workers: float(np.median(values)) for workers, values in found.items()}
