"""The dashboard in a real browser, on a live run: progress moves; what is plotted is what was computed."""

import json
import os
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.support.ui import WebDriverWait

from daskpar.comparison.summary import summarised
from daskpar.comparison.timing import Timing, append
from daskpar.dashboard.plots import Bars, Curve, Picture
from daskpar.dashboard.science import Science
from daskpar.dashboard.watching import Watcher
from daskpar.rundir import find_run

pytestmark = pytest.mark.browser

# Blocks of the shipped recipes are done in moments; here each waits until the test lets it go.
GATE = """
import os
import time


def wait():
    '''Return when one more block may go: the gate says how many, and each takes a place of its own.'''
    gate = os.environ["DASKPAR_TEST_GATE"]
    while True:
        for place in range(int(open(gate).read())):
            try:
                os.close(os.open(f"{gate}-{place}", os.O_CREAT | os.O_EXCL))
                return
            except FileExistsError:
                continue
        time.sleep(0.02)
"""

IMAGE = """
import numpy as np
from daskpar.analyses.image_stats.preview import preview
from daskpar.analysis import Analysis
from daskpar.durable import collect, durable
from gate import wait

ROWS, BAND, COLUMNS = 384, 32, 256


def band(number):
    wait()
    rng = np.random.default_rng(number)
    image = rng.normal(300, 5, (BAND, COLUMNS)) + np.linspace(0, 40, COLUMNS)
    image[rng.integers(0, BAND, 6), rng.integers(0, COLUMNS, 6)] += rng.exponential(4000, 6)
    count = np.full(image.shape, 30, np.int32)
    high = count // (15 + number)
    return {"combined": image, "count": count, "rejected_low": 0 * count, "rejected_high": high}


def gather(parts):
    return {"combined": np.concatenate([part["combined"] for part in parts])}


def build(inputs, options):
    labels = [f"combine rows {k}:{k + BAND}" for k in range(0, ROWS, BAND)]
    return collect(gather, [durable(band, k, key=k, label=label) for k, label in enumerate(labels)])


ANALYSIS = Analysis(
    build=build, preview=preview, panel="daskpar.dashboard.image_panel:image_panel",
    cost=lambda record, options: {"rows": ROWS},
)
"""

RECIPE = "name: field\nanalysis: 'field:ANALYSIS'\ninputs: {files: field.py}\n"
BLOCKS = 12
PROFILES = {
    "mpi": "kind: mpi\nworkers: 2\nmemory: 1 GiB\n",
    "slurm": "kind: slurm\nworkers: 2\ncores: 1\nmemory: 900 MB\ninterface: lo\npartition: main\n"
    'walltime: "00:10:00"\ndriver: {memory: 600 MB}\n',
}
READ_BACK = """
    const name = arguments[0]
    const model = window.Bokeh?.documents[0]?.get_model_by_name(name)
    if (model == null) return null
    const found = {}
    const columns = model.data instanceof Map ? model.data.entries() : Object.entries(model.data)
    for (const [key, column] of columns)
        found[key] = Array.from(column, (one) => typeof one == "object" ? Array.from(one) : one)
    return JSON.parse(JSON.stringify(found))
"""


class Live:
    """A run whose blocks are let go by the test, and a dashboard."""

    def __init__(self, folder, start):
        self.folder, self._start = folder, start
        self.gate = folder / "gate"
        self.gate.write_text("0")
        (folder / "gate.py").write_text(GATE)
        (folder / "field.py").write_text(IMAGE)
        (folder / "field.yaml").write_text(RECIPE)

    def open(self, number):
        fresh = self.gate.with_suffix(".new")
        fresh.write_text(str(number))
        fresh.replace(self.gate)

    def run(self, profile="local", **variables):
        if profile in PROFILES:
            (self.folder / f"{profile}.yaml").write_text(PROFILES[profile])
            profile = f"./{profile}.yaml"
        process = self._start(
            "submit", "field.yaml", "--allow-code", "--follow", "-p", profile,
            DASKPAR_TEST_GATE=str(self.gate), **variables,
        )  # fmt: skip
        runs = self.folder / "runs"
        deadline = time.monotonic() + 60
        while not list(runs.glob("*/events.jsonl")):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process, find_run("last", runs)

    def dashboard(self, port=0):
        process = self._start("dashboard", "last", "--port", port)
        first = process.stdout.readline().strip()
        assert first.startswith("http://127.0.0.1:"), process.communicate()
        return process, first

    def until_stored(self, run, number):
        deadline = time.monotonic() + 60
        while len(Watcher(run).look_all().seen.timeline) < number:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.fixture
def live(browser, tmp_path, start, runs):
    browser.get_log("browser")  # what earlier tests left there
    live = Live(tmp_path, start)
    yield live
    browser.get("about:blank")
    live.open(BLOCKS)


@pytest.fixture
def screenshots(tmp_path):
    """Where pictures go: the folder that CI keeps, else one that is forgotten."""
    folder = Path(os.environ.get("DASKPAR_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def until(browser, condition, seconds=30):
    return WebDriverWait(browser, seconds, poll_frequency=0.1).until(lambda page: condition())


def read(browser, name):
    return browser.execute_script(READ_BACK, name)


def text(browser, name="heading"):
    return browser.execute_script(
        "return window.Bokeh?.documents[0]?.get_model_by_name(arguments[0])?.text ?? ''", name
    )


def severe(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def assert_shown(browser, number, plot):
    """What the browser holds is what the panel makes of the receipts."""
    found = read(browser, f"plot{number}")
    if isinstance(plot, Picture):
        pixels = np.array(found["image"][0], float)  # null where nothing is yet
        np.testing.assert_array_equal(pixels.reshape(plot.image.shape), plot.image)
    elif isinstance(plot, Bars):
        np.testing.assert_array_equal(found["top"], plot.heights)
        np.testing.assert_array_equal(found["left"], plot.edges[:-1])
    else:
        assert isinstance(plot, Curve)
        np.testing.assert_array_equal(found["x"], plot.x)
        np.testing.assert_array_equal(found["y"], plot.y)


def merged(run):
    """What the panel makes of all receipts that are on disk now, in one go."""
    science = Science(Watcher(run).look_all())
    science.update()
    return science


@pytest.fixture(params=["local", "mpi", "slurm"])
def site(request):
    """The name of a profile, and the variables that its runs need."""
    places = os.pathsep.join([os.environ["PATH"], os.path.dirname(sys.executable)])
    mpi = shutil.which("mpiexec", path=places) is not None and find_spec("mpi4py") is not None
    if request.param == "mpi" and not mpi:
        pytest.skip("MPI is not installed: no mpiexec")
    if request.param != "slurm":
        return request.param, {}
    slurm = request.getfixturevalue("slurm")
    return request.param, {name: slurm.environment[name] for name in ("SLURM_CONF", "PATH")}


def test_science_and_progress_of_a_live_run(browser, live, screenshots, site):
    profile, variables = site
    driver, run = live.run(profile, **variables)
    server, link = live.dashboard()
    clock = time.monotonic()
    browser.get(link.replace("/run?", "/science?"))
    until(browser, lambda: "running" in text(browser))
    assert (
        time.monotonic() - clock < 10
    )  # the machine of a test may be busy; a quiet one takes under a second
    browser.get_log("browser")
    bars = []
    for moment, number in enumerate((3, 7, BLOCKS)):
        live.open(number)
        live.until_stored(run, number)
        science = merged(run)
        assert science.receipts == number
        until(browser, lambda count=number: read_receipts(browser) == count)
        for place, plot in enumerate(science.plots):
            assert_shown(browser, place, plot)
        filled = np.isfinite(science.plots[0].image).mean()
        assert filled == pytest.approx(number / BLOCKS)
        until(browser, lambda count=number: f"{count} of {BLOCKS}" in text(browser))
        bars.append(text(browser))
        browser.save_screenshot(str(screenshots / f"science_{profile}_{moment}.png"))
    assert len(set(bars)) == 3, "progress moves"
    assert driver.wait(60) == 0, driver.communicate()[1]
    until(browser, lambda: "badge done" in text(browser))
    assert not severe(browser)
    leave(browser, server)


def read_receipts(browser):
    return browser.execute_script(
        "return window.Bokeh?.documents[0]?.get_model_by_name('message')?.tags?.[0]?.receipts"
    )


def leave(browser, server):
    browser.get("about:blank")  # closes the page's socket before the server goes
    server.send_signal(2)
    assert server.wait(20) == 0


def test_the_page_of_a_run_and_the_list(browser, live, screenshots):
    driver, run = live.run()
    server, link = live.dashboard()
    live.open(5)
    browser.get(link)
    until(browser, lambda: len((read(browser, "lanes") or {}).get("label", [])) == 5)
    assert "dask dashboard of this run" in text(browser)
    assert "ssh -N -L" in text(browser)
    live.open(BLOCKS)
    until(browser, lambda: len(read(browser, "lanes")["label"]) == BLOCKS)
    assert driver.wait(60) == 0
    until(browser, lambda: "badge done" in text(browser))
    lanes = read(browser, "lanes")
    timeline = Watcher(run).look_all().seen.timeline.bars()
    np.testing.assert_array_equal(lanes["left"], timeline["left"])
    assert "cluster" in text(browser, "events")
    browser.save_screenshot(str(screenshots / "run.png"))
    browser.get(link.split("/run?")[0] + "/")
    until(browser, lambda: run.name in text(browser, "runs"))
    browser.save_screenshot(str(screenshots / "runs.png"))
    assert not severe(browser)
    leave(browser, server)


def test_the_page_comes_back_with_the_server(browser, live):
    live.open(BLOCKS)
    driver, _ = live.run()
    server, link = live.dashboard()
    port = int(link.split(":")[2].split("/")[0])
    browser.get(link)
    until(browser, lambda: text(browser))
    assert not severe(browser)
    session = browser.execute_script(
        "return Bokeh.documents[0].session_context?.id ?? performance.timeOrigin"
    )
    browser.execute_script("window.before = true")
    server.send_signal(2)
    assert server.wait(20) == 0
    until(
        browser,
        lambda: browser.execute_script("return document.getElementById('lost').style.display") == "block",
    )
    server, again = live.dashboard(port)
    assert again == link
    until(browser, lambda: browser.execute_script("return !window.before"))
    until(browser, lambda: "blocks" in text(browser))
    assert browser.execute_script("return performance.timeOrigin") != session
    browser.get_log("browser")  # the page asked in vain while there was no server
    assert driver.wait(60) == 0
    until(browser, lambda: "badge done" in text(browser))
    assert not severe(browser)
    leave(browser, server)


def test_comparisons(browser, live, screenshots):
    folder = live.folder / "runs" / "scaling"
    folder.mkdir(parents=True)
    timings, extra = [], {"dask": 2, "multiprocessing": 0, "mpi4py": 0}
    for version in extra:
        for workers in (1, 2, 4):
            seconds = {"startup": 0.6, "compute": 20 / workers + 1, "total": 20 / workers + 2}
            timings.append(Timing(version, workers, workers + extra[version], 1, seconds, result_hash="a"))
    append(folder / "timings.jsonl", timings)
    described = {
        "name": "pi", "analysis": "monte_carlo", "created": "now", "state": "done", "rounds_done": 1,
        "weak": False, "reference": "dask", "physical_cores": 4, "workers": [1, 2, 4], "blocks": None,
        "versions": [{"name": name, "target": "", "launcher": "python", "lines": 9} for name in extra],
        "agreement": [
            {"version": one.version, "workers": one.workers, "result_hash": "a", "agrees": True,
             "largest_ulp": 0.0, "differs": [], "message": ""}
            for one in timings
        ],
    }  # fmt: skip
    data = {**described, **summarised(described, timings)}
    (folder / "comparison.json").write_text(json.dumps(data))
    live.open(BLOCKS)
    driver, _ = live.run()
    server, link = live.dashboard()
    browser.get(link.split("/run?")[0] + "/compare")
    until(browser, lambda: read(browser, "speedup dask"))
    shown = read(browser, "speedup multiprocessing")
    np.testing.assert_allclose(shown["y"], [1, 21 / 11, 21 / 6])
    np.testing.assert_allclose(read(browser, "efficiency dask")["y"], [1 / 3, 21 / 11 / 4, 21 / 6 / 6])
    assert read(browser, "efficiency dask")["fill"][2] == "white"  # six ranks on four cores
    assert "same result, bit for bit" in text(browser)
    browser.save_screenshot(str(screenshots / "compare.png"))
    assert driver.wait(60) == 0
    assert not severe(browser)
    leave(browser, server)


def test_the_report_needs_no_network(browser, live, screenshots, cli):
    live.open(BLOCKS)
    driver, run = live.run()
    assert driver.wait(60) == 0
    made = cli("report", "last")
    assert made.code == 0, made.stderr
    path = Path(made.stdout.strip())
    assert path == run.path / "report.html"
    browser.get(path.as_uri())
    until(browser, lambda: read(browser, "plot0"))
    for place, plot in enumerate(merged(run).plots):
        assert_shown(browser, place, plot)
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in asked if not name.startswith("data:")] == []
    assert not severe(browser)
    browser.save_screenshot(str(screenshots / "report.png"))
    browser.get("about:blank")
