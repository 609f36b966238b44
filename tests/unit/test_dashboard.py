"""The pages, the report and the verbs, without a browser: `tests/browser` looks at them in one."""

import json
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Div
from conftest import environment

from daskpar.dashboard import pages
from daskpar.dashboard.app import PAGES
from daskpar.dashboard.notebook import result_html, run_html
from daskpar.dashboard.pages import Site
from daskpar.dashboard.report import write_report
from daskpar.dashboard.watching import Runs
from daskpar.progress import line_of, pace_text
from daskpar.result import Result
from daskpar.rundir import EMPTY_STATE, RunDirectory

BLOCK = {
    "event": "block", "time": "2026-01-01T00:00:00+00:00", "label": "batches 0-0", "started": 1.0,
    "total_seconds": 1.0, "seconds": 1.0, "host": "n", "pid": 1, "thread": 1, "bytes": 1,
    "memory_bytes": 10**9,
    "preview": {"count": 100, "mean": [3.0], "second": [50.0]},
}  # fmt: skip
NASTY = "<script>alert(1)</script>"


def make_run(folder, name, state="done", analysis="monte_carlo", **more):
    run = RunDirectory(folder / name)
    run.path.mkdir(parents=True)
    recipe = {"analysis": analysis, "options": {"target_error": 0.1}}
    run.write_record({"name": name, "created": name, "recipe": recipe, "provenance": {"python": "3"}})
    run.write_state(
        {**EMPTY_STATE, "name": name, "state": state, "blocks_done": 2, "blocks_total": 2, **more}
    )
    run.append_events([{**BLOCK, "key": f"{k:040x}", "label": f"batches {k}-{k}"} for k in range(2)])
    return run


def shown(page, site):
    document = Document()
    page(document, site)
    return document


def texts_of(document):
    return " ".join(model.text for model in document.models if isinstance(model, Div))


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_pages_of_an_empty_folder(page, tmp_path):
    document = shown(page, Site(Runs(tmp_path / "runs")))
    assert "no" in texts_of(document)


def test_pages_of_runs(tmp_path):
    make_run(tmp_path, "first", "failed", error=NASTY)
    make_run(tmp_path, "second")
    site = Site(Runs(tmp_path))
    listed = texts_of(shown(pages.runs_page, site))
    assert listed.index("second") < listed.index("first"), "the newest comes first"
    assert "second" in texts_of(shown(pages.run_page, site))
    site.first = "first"
    text = texts_of(shown(pages.run_page, site))
    assert NASTY not in text
    assert "&lt;script&gt;" in text
    document = shown(pages.science_page, site)
    sources = {model.name: model for model in document.models if isinstance(model, ColumnDataSource)}
    assert sources["plot0"].data["x"].tolist() == [100, 200]
    assert sources["plot0"].data["y"].tolist() == [3.0, 3.0]


def test_two_pages_share_what_is_read_and_see_the_same(tmp_path):
    make_run(tmp_path, "one")
    site = Site(Runs(tmp_path))
    for _ in range(2):
        document = shown(pages.science_page, site)
        (source,) = document.select({"name": "plot0"})
        assert len(source.data["x"]) == 2


def test_a_run_that_cannot_be_shown_says_so(tmp_path):
    make_run(tmp_path, "gone", analysis="nothing_like_this")
    text = texts_of(shown(pages.science_page, Site(Runs(tmp_path))))
    assert "there is no analysis" in text
    assert "no run" in texts_of(shown(pages.run_page, Site(Runs(tmp_path), first="none")))


def test_the_report_is_one_file(tmp_path):
    run = make_run(tmp_path, "one", error=NASTY, state="failed")
    (run.path / "recipe.yaml").write_text(f"name: {NASTY}\n")
    path = write_report(run)
    assert path == run.path / "report.html"
    page = path.read_text()
    assert NASTY not in page
    for tag in ('<script src="', '<link rel="stylesheet"', "cdn.bokeh.org"):
        assert tag not in page.split("<script", 1)[0]
        assert page.count(tag) == 0 or tag == "cdn.bokeh.org"  # the library names it in a message
    assert write_report(run, tmp_path / "other.html").exists()


def test_verbs(tmp_path, cli, runs):
    make_run(runs, "one")
    made = cli("report", "one")
    assert (made.code, made.stderr) == (0, "")
    assert made.stdout.strip().endswith("one/report.html")
    assert cli("report", "none").code == 2
    assert cli("dashboard", "none").code == 2
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        done = cli("dashboard", "--port", busy.getsockname()[1])
    assert done.code == 2
    assert done.stderr.startswith("error: --port: port")
    assert "Traceback" not in done.stderr


def test_without_bokeh(tmp_path, runs):
    make_run(runs, "one")
    code = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'bokeh' else find(name, *rest);"
        "sys.modules['bokeh'] = None; from daskpar.cli import run_command;"
        "sys.exit(run_command(['dashboard', 'one']) * 10 + run_command(['report', 'one']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 22, done.stderr
    assert "pip install bokeh" in done.stderr


def test_the_server_serves_and_loads_quickly(start, runs):
    make_run(runs, "one")
    for number in range(30):
        make_run(runs, f"more{number}")
    process = start("dashboard", "one")
    address = process.stdout.readline().strip()
    told = [process.stdout.readline() for _ in range(3)]
    port = address.split(":")[2].split("/")[0]
    assert f"ssh -N -L {port}:127.0.0.1:{port}" in told[0]
    assert f"/proxy/{port}/" in told[2]
    for path in ("", "run?run=one", "science?run=one", "compare"):
        began = time.monotonic()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30).read().decode()
        assert time.monotonic() - began < 10  # a quiet machine takes a tenth of a second
        assert 'src="./static/js/bokeh' in page, "scripts are found below any path of a proxy"
        assert "cdn" not in page.split("<body")[0]
    process.send_signal(2)
    assert process.wait(20) == 0


def test_runs_and_results_in_a_notebook_are_escaped(tmp_path):
    run = make_run(tmp_path, "one", "failed", error=NASTY, outputs=[NASTY])
    for html in (run_html(run.status()), result_html(Result(run))):
        assert NASTY not in html
        assert "&lt;script&gt;" in html
    status = {
        **EMPTY_STATE,
        "name": "x",
        "state": "running",
        "blocks_done": 1,
        "blocks_total": 4,
        "workers": 3,
    }
    assert "width:25.0%" in run_html(status)
    assert "3 workers" in run_html(status)


def test_progress_in_words():
    state = {"blocks_done": 30, "blocks_total": 100, "workers": 4, "memory_bytes": 1.2e9}
    assert (
        line_of("x", state, (0.0, 10), 10.0)
        == "x: 30 of 100 blocks, 4 workers, 2.0 blocks/s, 1.2 GB, 35 s left"
    )
    assert pace_text({}, None) == ""
    assert pace_text({}, 0.1) == "6.0 blocks/min"


def test_dask_panes_of_jupyterlab_stay_on_loopback():
    import dask
    from conftest import ROOT
    from distributed import LocalCluster

    settings = dask.config.collect_yaml([str(ROOT / "conf" / "dask")])
    merged = dask.config.merge(*settings)
    factory = merged["labextension"]["factory"]
    assert merged["labextension"]["initial"] == []
    assert merged["distributed"]["dashboard"]["link"] == "/proxy/{port}/status"
    with LocalCluster(**factory["kwargs"]) as cluster:
        assert cluster.scheduler_address.startswith("tls://127.0.0.1:")


def test_a_state_says_what_the_workers_hold(runs, cli, tmp_path):
    (tmp_path / "grid.yaml").write_text(
        "name: grid\nanalysis: map\n"
        "inputs: {grid: {redshift: [1, 2], hubble: 70, omega_matter: 0.3}}\n"
        "options: {function: 'daskpar.analyses.map.examples:comoving_distance'}\n"
    )
    done = cli("run", "grid.yaml", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["memory_bytes"] > 10**7


def test_a_comparison_by_name(tmp_path, start, runs):
    folder = runs / "scaling"
    folder.mkdir(parents=True)
    (folder / "timings.jsonl").write_text("")
    process = start("dashboard", "scaling")
    address = process.stdout.readline().strip()
    assert address.endswith("/compare?comparison=scaling")
    assert urllib.request.urlopen(address, timeout=30).status == 200
    process.send_signal(2)
    assert process.wait(20) == 0
