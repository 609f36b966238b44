"""Timings are records; only correct results have one; ratios say when they are not significant."""

import dataclasses
import html.parser
import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from daskpar.by_hand import Clock, blocks_a_message, cores_occupied
from daskpar.comparison.agreement import Agreement, compare_results, difference
from daskpar.comparison.causes import bound_sentences, lock_sentences, missing_sentences
from daskpar.comparison.measuring import problem_digest
from daskpar.comparison.ratios import Ratio, all_ratios, median_interval, ratio_interval
from daskpar.comparison.result import Comparison
from daskpar.comparison.summary import conclusion, ratio_sentence, summarised
from daskpar.comparison.tables import escape, latex, markdown, rows
from daskpar.comparison.timing import Timing, append, counted, machine, read, together
from daskpar.dataset_store import result_hash
from daskpar.errors import UsageError
from daskpar.preparation import prepare_nothing


def timing(version, seconds, workers=1, repeat=1, **more):
    spent = {"startup": 1.0, "read": 0.0, "compute": seconds, "gather": 0.0, "write": 0.0}
    spent["total"] = sum(spent.values())
    return Timing(version, workers, workers, repeat, spent, fingerprint="here", **more)


def rounds(version, values, workers=1):
    return [timing(version, value, workers, number) for number, value in enumerate(values, 1)]


def test_a_timing_is_frozen_and_survives_its_file(tmp_path):
    bad = Timing("bad", 1, 1, 1, None, agrees=False, fingerprint="here")
    made = [timing("dask", 2.5, peak_bytes=10), bad]
    append(tmp_path / "t.jsonl", made[:1])
    append(tmp_path / "t.jsonl", made[1:])
    assert read(tmp_path / "t.jsonl") == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].repeat = 3
    assert made[0].work == 2.5


def test_unlike_machines_are_never_mixed(tmp_path):
    other = dataclasses.replace(timing("dask", 1.0), fingerprint="there")
    with pytest.raises(UsageError, match="unlike machines"):
        together([timing("dask", 1.0)], [other])
    append(tmp_path / "t.jsonl", [timing("dask", 1.0), other])
    with pytest.raises(UsageError, match="unlike machines"):
        read(tmp_path / "t.jsonl")
    (tmp_path / "torn.jsonl").write_text('{"version": "da')
    with pytest.raises(UsageError, match=r"torn\.jsonl:1:1"):
        read(tmp_path / "torn.jsonl")


def test_the_fingerprint_knows_packages_and_processor_not_the_name_of_the_host(monkeypatch):
    here = machine()
    assert "name" not in here
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert machine()["fingerprint"] == here["fingerprint"]
    for name, other in (
        ("daskpar.comparison.timing.versions", lambda: {"numpy": "0.1"}),
        ("daskpar.comparison.timing.mpi_library", lambda: "MPICH 0.1"),
        ("daskpar.comparison.timing._mpi4py", lambda: "0.1"),
        ("daskpar.compiled.sources_digest", lambda folder: "0" * 64),
    ):
        with monkeypatch.context() as changed:
            changed.setattr(name, other)
            assert machine()["fingerprint"] != here["fingerprint"], name
    assert machine() == here


def test_the_mpi_library_is_known_before_ranks_are_started():
    pytest.importorskip("mpi4py", reason="mpi4py is not installed")
    code = "from mpi4py.MPI import Get_library_version as said; print(said())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert machine()["mpi"]
    assert done.stdout.startswith(machine()["mpi"].partition(" ")[0])


def test_unlike_problems_are_never_mixed(tmp_path, monkeypatch):
    other = dataclasses.replace(timing("dask", 1.0), problem="there")
    with pytest.raises(UsageError, match="unlike recipes or inputs"):
        together([timing("dask", 1.0)], [other])
    (tmp_path / "called_here.py").write_text("def call(path): return 1\n")
    (tmp_path / "a.txt").write_text("a")
    monkeypatch.syspath_prepend(tmp_path)

    def problem(weak=False, **options):
        options = {"function": "called_here:call", **options}
        recipe = {"name": "x", "analysis": "map", "inputs": {"files": str(tmp_path / "a.txt")}}
        recipe["options"] = options
        return problem_digest(prepare_nothing(recipe, "local", tmp_path / "s", allow_code=True), weak)

    found = [problem(), problem(weak=True), problem(retries=1)]
    (tmp_path / "a.txt").write_text("other")
    found.append(problem())
    (tmp_path / "called_here.py").write_text("def call(path): return 2\n")
    found.append(problem())
    assert len(set(found)) == len(found)
    assert problem() == found[-1]


def test_made_input_is_the_same_problem_each_time(tmp_path):
    recipe = {
        "name": "x", "analysis": "image_stats", "inputs": {"synthetic": {"n_frames": 2, "shape": [8, 9]}},
    }  # fmt: skip
    found = {problem_digest(prepare_nothing(recipe, "local", tmp_path / n), False) for n in ("a", "b")}
    assert len(found) == 1


def test_a_worker_is_late_by_less_than_a_message():
    for blocks, workers in ((1, 4), (500, 2), (50_000, 2), (50_000, 64)):
        assert blocks_a_message(blocks, workers) <= max(1, blocks / workers / 100)
    assert blocks_a_message(50_000, 2) > 100


def test_what_is_wrong_does_not_count():
    wrong = dataclasses.replace(timing("bad", 0.1), agrees=False)
    warm = dataclasses.replace(timing("dask", 9.0), repeat=0)
    assert counted([wrong, warm, timing("dask", 1.0)]) == [timing("dask", 1.0)]


def test_what_is_wrong_once_has_no_times(data):
    good = rounds("dask", [1.0, 1.0, 1.0]) + rounds("threads", [1.0], 2)
    changed = dataclasses.replace(timing("threads", 1.0, repeat=2), agrees=False)
    failed = dataclasses.replace(timing("bad", 1.0, repeat=2), seconds=None, agrees=False)
    unsteady = [timing("threads", 1.0), changed, timing("bad", 1.0), failed]
    assert counted([*good, *unsteady]) == good
    gave_none = {**DESCRIBED["agreement"][0], "version": "mpi4py", "agrees": False, "result_hash": ""}
    said = conclusion({**DESCRIBED, "agreement": [*DESCRIBED["agreement"], gave_none]}, [], [])[0]
    assert said.startswith("WRONG: bad did not give")
    assert "FAILED: mpi4py gave no result" in said


def test_the_conclusion_begins_with_the_fastest_rival(data):
    assert data["conclusion"][1] == (
        "With 2 workers, dask took 1.06 times as long as the fastest other version, multiprocessing "
        "(95 %: 1.06 to 1.06)."
    )


def test_one_round_has_no_interval(data):
    alone = {**data, "rounds_done": 1}
    assert np.isnan([row["low"] for row in rows(alone)]).all()
    assert "(one round)" in ratio_sentence(Ratio("dask", "mpi4py", 2, 0.95, 0.95, 0.95, 1))
    assert "more than there are cores" in ratio_sentence(Ratio("dask", "mpi4py", 2, 0.9, 0.8, 0.95, 9), 1)


def test_a_clock_is_always_in_one_phase(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("daskpar.by_hand.time.monotonic", lambda: now[0])
    clock = Clock(98.0)
    for phase, spent in (("read", 2.0), ("compute", 5.0), ("startup", 1.0), ("compute", 3.0)):
        clock.phase(phase)
        now[0] += spent
    assert clock.stop() == {
        "startup": 3.0, "read": 2.0, "compute": 8.0, "gather": 0.0, "write": 0.0, "total": 13.0,
    }  # fmt: skip


def test_what_is_known_only_afterwards_is_counted_where_it_belongs(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("daskpar.by_hand.time.monotonic", lambda: now[0])
    clock = Clock(100.0)
    clock.phase("compute")
    now[0] = 107.0
    clock.phase("gather", 104.0)
    clock.phase("startup")
    clock.take("read", 1.5, out_of="compute")
    clock.take("read", 9.0, out_of="gather")  # no more than there is
    assert clock.stop() == {
        "startup": 0.0, "read": 4.5, "compute": 2.5, "gather": 0.0, "write": 0.0, "total": 7.0,
    }  # fmt: skip


def test_ranks_that_do_not_compute_are_counted():
    target = "daskpar.analyses.monte_carlo.with_mpi4py:run_pool"
    assert cores_occupied("mpi4py_pool", target, 4) == 5
    assert cores_occupied("mpi4py", target, 4) == 4
    assert cores_occupied("multiprocessing", "daskpar.analyses.map.with_multiprocessing:run", 4) == 4


def test_intervals_hold_the_truth():
    """The 95 % interval of a ratio of medians covers it in most of many experiments, and 1 where it is 1."""
    rng, inside = np.random.default_rng(0), 0
    for _ in range(100):
        common = np.exp(0.2 * rng.standard_normal(15))  # rounds in which the whole machine was slow
        one = 2.1 * common * np.exp(0.02 * rng.standard_normal(15))
        other = 2.0 * common * np.exp(0.02 * rng.standard_normal(15))
        found = ratio_interval(one, other)
        inside += found.low <= 1.05 <= found.high
    assert inside >= 88
    assert median_interval([3.0]).width == 0
    assert median_interval([1, 2, 3, 4, 100]).value == 3


def test_significance_needs_rounds_and_a_difference():
    near = [1, 1.1, 0.9, 1, 1.05]
    same = all_ratios([*rounds("dask", near), *rounds("mpi4py", [1.02, 1, 1, 0.95, 1])], "dask")
    slow = all_ratios([*rounds("dask", [2, 2.1, 2, 2.2, 2]), *rounds("mpi4py", [1, 1.1, 1, 1.1, 1])], "dask")
    few = all_ratios([*rounds("dask", [2, 2]), *rounds("mpi4py", [1, 1])], "dask")
    assert [one[0].significant for one in (same, slow, few)] == [False, True, False]
    assert "not significant" in ratio_sentence(same[0])
    assert "100 % slower than mpi4py" in ratio_sentence(slow[0])
    assert "not significant with so few rounds" in ratio_sentence(few[0])
    assert "5 % faster" in ratio_sentence(Ratio("dask", "mpi4py", 2, 0.95, 0.93, 0.97, 9))


def test_agreement_is_by_hash_then_by_ulp():
    one = xr.Dataset({"a": ("x", np.arange(4.0)), "n": ("x", np.arange(4))})
    two = one.copy(deep=True)
    assert compare_results("v", 1, one, result_hash(one), two, result_hash(two)).agrees
    two["a"][3] = np.nextafter(3.0, 4)
    found = compare_results("v", 2, two, result_hash(two), one, result_hash(one))
    assert (found.agrees, found.largest_ulp, found.differs) == (False, 1.0, ("a (1 of 4 values)",))
    assert found.text() == "v with 2 workers: DIFFERS in a (1 of 4 values)"
    assert json.dumps(found.data(), allow_nan=False)
    assert difference(np.arange(3), np.arange(3) + 1) == (3, np.inf)
    assert difference(np.array([np.nan, 1]), np.array([np.nan, 1])) == (0, 0.0)
    assert difference(np.array([np.nan]), np.array([1.0])) == (1, np.inf)
    assert difference(np.zeros(3, "f4"), np.zeros(3)) == (3, np.inf)


def test_the_hash_of_a_dataset_is_that_of_saving_it(tmp_path):
    from daskpar.dataset_store import save

    dataset = xr.Dataset({"a": ("x", np.array([-0.0, np.nan, 1])), "s": ((), np.array("word"))})
    assert result_hash(dataset) == save(dataset, tmp_path / "saved")


DESCRIBED = {
    "name": "night_1", "analysis": "map", "created": "now", "state": "done", "weak": False, "rounds_done": 5,
    "reference": "serial", "physical_cores": 4, "recipe_text": "name: <b>", "workers": [1, 2], "repeats": 5,
    "versions": [
        {"name": name, "target": f"m:{name}", "launcher": "python", "lines": 10}
        for name in ("serial", "dask", "threads", "multiprocessing", "bad")
    ],
    "agreement": [
        {"version": version, "workers": workers, "result_hash": "ab", "agrees": version != "bad",
         "largest_ulp": 0.0, "differs": [] if version != "bad" else ["npairs (1 of 3 values)"], "message": ""}
        for workers in (1, 2) for version in ("serial", "dask", "threads", "multiprocessing", "bad")
        if (version, workers) != ("serial", 2)
    ],
    "machine": {"cpu": "a <fast> one", "cores": 4, "system": "Linux", "fingerprint": "here",
                "versions": {"numpy": "2"}, "threads": {"OMP_NUM_THREADS": "1"}},
    "blocks": {"seconds": [0.1, 0.2], "total_seconds": [0.1, 0.3], "bytes": [1, 2], "stage": ["a", "a"],
               "started": [0.0, 0.2], "lane": [0, 0]},
    "stream": {"workers": 2, "total_seconds": [0.1, 0.3], "stage": ["a", "b"], "started": [0.0, 0.1],
               "lane": [0, 1]},
    "mpi": "MPICH 5", "error": "",
}  # fmt: skip


@pytest.fixture
def data():
    """A comparison as its file holds it, made from times that are known."""
    timings = [
        *rounds("serial", [10, 10, 10.1, 9.9, 10]),
        *rounds("dask", [10.4] * 5), *rounds("dask", [5.3] * 5, 2),
        *rounds("threads", [10] * 5), *rounds("threads", [9.8] * 5, 2),
        *rounds("multiprocessing", [10] * 5), *rounds("multiprocessing", [5.0] * 5, 2),
    ]  # fmt: skip
    return {**DESCRIBED, **summarised(DESCRIBED, timings)}


def test_a_wrong_version_has_a_loud_row_and_no_time(data):
    bad = [row for row in rows(data) if row["version"] == "bad"]
    assert len(bad) == 2
    for row in bad:
        assert row["result"] == "DIFFERS"
        assert np.isnan(row["seconds"])
    assert data["conclusion"][0].startswith("WRONG: bad did not give the result of serial")
    assert "bad" not in {one["version"] for one in data["scaling"]}


def test_tables_for_papers(data):
    lines = markdown(data).splitlines()
    head = next(line for line in lines if line.startswith("| version"))
    body = [line for line in lines if line.startswith("| ") and line != head]
    assert len(body) == 9
    assert {line.count("|") for line in body} == {head.count("|")}
    text = latex(data)
    assert text.count(r"\\") == 10
    assert r"95 \% from" in text
    assert escape("a_b & 5%") == r"a\_b \& 5\%"


def test_ratios_are_headed_by_what_they_are_of():
    timings = [*rounds("serial", [10.0] * 5), *rounds("threads", [10.0] * 5)]
    described = {**DESCRIBED, "versions": DESCRIBED["versions"][:1] + DESCRIBED["versions"][2:3]}
    assert "| serial / this |" in markdown({**described, **summarised(described, timings)})


def test_held_locks_are_told(data, monkeypatch):
    monkeypatch.setattr("daskpar.comparison.summary.physical_cores", lambda: 4)
    timings = [*rounds("serial", [10.0] * 5), *rounds("threads", [9.8] * 5, 2)]
    held = conclusion(DESCRIBED, [*timings, *rounds("multiprocessing", [5.2] * 5, 2)], [])
    assert any("lock was held" in sentence for sentence in held)
    free = [*rounds("serial", [10.0] * 5), *rounds("threads", [5.1] * 5, 2)]
    released = conclusion(DESCRIBED, [*free, *rounds("multiprocessing", [5.2] * 5, 2)], [])
    assert any("not in the way" in sentence for sentence in released)


def test_what_turns_wrong_later_is_printed_without_times(data, tmp_path):
    good = rounds("dask", [1.0, 1.0], 1)
    changed = dataclasses.replace(timing("threads", 1.0, repeat=2), seconds=None, agrees=False)
    append(tmp_path / "timings.jsonl", [*good, timing("threads", 0.9, cpu_seconds=0.9), changed])
    (tmp_path / "comparison.json").write_text(json.dumps(data))
    printed = Comparison(tmp_path).printed()["timings"]
    assert {one["version"]: one["seconds"] and one["seconds"]["compute"] for one in printed} == {
        "dask": 1.0, "threads": None,
    }  # fmt: skip
    assert [one["cpu_seconds"] for one in printed if one["version"] == "threads"] == [None, None]


def test_a_row_has_one_word_everywhere(data):
    """A version that turned wrong in a later round has a message and a hash."""
    from daskpar.comparison.report import html

    later = Agreement("threads", 2, "cd", False, message="round 2 gave another result")
    assert later.text() == "threads with 2 workers: DIFFERS, round 2 gave another result"
    gave_none = Agreement("dask", 2, "", False, message="round 3 failed")
    told = {**data, "agreement": [*data["agreement"], later.data(), gave_none.data()]}
    words = {(row["version"], row["workers"]): row["result"] for row in rows(told)}
    assert (words["threads", 2], words["dask", 2]) == ("DIFFERS", "FAILED")
    page = html(told)
    assert "<td>threads</td><td>2</td><td>DIFFERS</td>" in page
    assert "<td>dask</td><td>2</td><td>FAILED</td>" in page
    for text in (markdown(told), latex(told)):
        assert "threads with 2: DIFFERS, round 2 gave another result" in text
        assert "bad with 1: DIFFERS, npairs (1 of 3 values), largest ulp 0" in text


@pytest.fixture
def crowded():
    """Four cores, and a version that has a rank more than workers; times of a known law."""
    timings = [
        dataclasses.replace(one, cores_occupied=one.workers + (version == "bad"))
        for version, first in (("serial", 11.0), ("dask", 10.0), ("bad", 12.0))
        for n in ((1,) if version == "serial" else (1, 2, 4))
        for one in rounds(version, [first * (0.1 + 0.9 / n)] * 5, n)
    ]
    fine = [{**one, "agrees": True, "differs": []} for one in DESCRIBED["agreement"]]
    described = {**DESCRIBED, "agreement": fine}
    return {**described, **summarised(described, timings)}


def test_marks_are_hollow_where_ranks_outnumber_cores(crowded):
    from daskpar.comparison.figures import layout

    figures = layout(crowded)
    for name in ("seconds", "speedup", "efficiency"):
        fill = {
            version: figures.select_one({"name": f"{name} {version}"}).data["fill"]
            for version in ("dask", "bad")
        }
        assert "white" not in fill["dask"]
        assert [one == "white" for one in fill["bad"]] == [False, False, True]
    assert {one["version"] for one in crowded["fits"]} == {"dask"}
    assert "bad with 4 workers (more than there are cores)" in " ".join(crowded["conclusion"])
    assert not any("dask with 4 workers (more than" in one for one in crowded["conclusion"])


def test_the_base_of_speedups_is_named(crowded):
    from daskpar.comparison.figures import speedup
    from daskpar.comparison.report import html

    assert crowded["serial"] == {"version": "dask", "seconds": 10.0}
    assert speedup(crowded).title.text == "Speed-up over dask on one worker, 10 s"
    page = html(crowded)
    for text in (page, markdown(crowded), latex(crowded)):
        assert "Speed-up is over the best serial time, dask on one worker, 10 s" in text
        assert "Lines of code are those of the file" in text
        assert "serial_share = 0.1 ±" in text
    assert "dask, amdahl: seconds = 10 ±" in markdown(crowded)
    assert "dask, replayed: 8 workers" in latex(crowded)
    shares = page[page.index("Karp and Flatt") :].partition("</p>")[0]
    assert "bad with 2" in shares
    assert "bad with 4" not in shares


def test_locks_are_not_told_from_what_is_not_significant():
    alone, slow = rounds("serial", [10.0] * 5), rounds("threads", [9.8, 5.0, 9.8, 5.0, 9.9], 2)
    (said,) = lock_sentences([*alone, *slow, *rounds("multiprocessing", [5.2] * 5, 2)], 4)
    assert "not significant" in said
    (said,) = lock_sentences([*alone[:2], *rounds("threads", [5.1] * 2, 2)], 4)
    assert "not significant" in said
    grown = rounds("threads", [10.1] * 5, 2)
    (said,) = lock_sentences([*alone, *grown, *rounds("multiprocessing", [10.2] * 5, 2)], 4, weak=True)
    assert "not in the way" in said


@pytest.mark.parametrize(("cpu", "said"), [(10.9, "at least 99%"), (4.0, "at most 40%"), (8.0, "")])
def test_imports_are_no_work(cpu, said):
    """One second of start-up, ten of work: what is claimed holds whatever start-up computed."""
    timings = [timing("serial", 10.0, repeat=k, cpu_seconds=cpu) for k in (1, 2, 3)]
    found = bound_sentences(timings)
    assert said in " ".join(found)
    assert len(found) == bool(said)
    short = [timing("serial", 0.1, cpu_seconds=1.0)]  # busy, but with what?
    assert bound_sentences(short) == []


def test_what_advice_takes_is_said():
    described = {
        "analysis": "monte_carlo", "versions": [{"name": "dask"}], "workers": [1],
        "by_hand": ["mpi4py", "multiprocessing", "serial", "threads"],
    }  # fmt: skip
    lock, bound, blocks = missing_sentences(described, 2)
    assert "add threads,multiprocessing to --versions and 2 to --workers and serial" in lock
    assert "add serial to --versions" in bound
    assert "add --block-sizes" in blocks
    names = ["dask", "serial", "threads", "multiprocessing"]
    enough = {**described, "versions": [{"name": name} for name in names], "workers": [2], "sweep": {}}
    assert len(missing_sentences(enough, 2)) == 1
    assert missing_sentences({**enough, "sweep": {"workers": 1, "measured": []}}, 2) == []
    assert missing_sentences({**enough, "analysis": "image_stats"}, 2) == []


def fetched(text):
    """What a browser would load for a page."""
    found = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, pairs: found.extend(
        value for name, value in pairs if name in ("src", "href") and value and not value.startswith("#")
    )
    parser.feed(text)
    return found


def test_the_report_needs_no_network(data, tmp_path):
    from daskpar.comparison.report import write_report

    (tmp_path / "comparison.json").write_text(json.dumps(data))
    text = write_report(tmp_path).read_text()
    assert "a &lt;fast&gt; one" in text
    assert "Task stream of dask with 2" in text
    assert "MPICH 5" in text
    assert "name: &lt;b&gt;" in text
    assert 'class="wrong"' in text
    assert "not significant" in text or "slower" in text
    assert fetched(text) == []
    assert write_report(tmp_path, tmp_path / "t.md").read_text() == markdown(data)
    assert write_report(tmp_path, tmp_path / "t.tex").read_text() == latex(data)
    with pytest.raises(UsageError, match=r"choose \.html"):
        write_report(tmp_path, "t.pdf")
    with pytest.raises(UsageError, match="is no comparison"):
        write_report(tmp_path / "nothing")


def test_a_comparison_in_a_notebook(data, tmp_path):
    (tmp_path / "comparison.json").write_text(json.dumps({**data, "name": "<script>alert(1)</script>"}))
    shown = Comparison(tmp_path)._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr") == 10
    assert 'style="color:#b00020' in shown
    assert fetched(shown) == []


def test_a_report_of_what_failed_is_still_one(tmp_path):
    from daskpar.comparison import report

    empty = {**DESCRIBED, "state": "failed", **summarised(DESCRIBED, [])}
    assert "is failed" in report.html(empty)
