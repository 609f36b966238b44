"""Clusters that come and go: nothing stays behind, whoever ends them, and a dashboard is no condition."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, environment

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


def test_nothing_stays_behind(tmp_path):
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "cycles.py", "2"], cwd=tmp_path, capture_output=True, text=True,
        env=environment(TMPDIR=str(tmp_path / "tmp")), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, *_, after = map(json.loads, done.stdout.splitlines())
    assert after["children"] <= before["children"] <= 1  # Python's own tracker of resources
    assert after["files"] == before["files"]
    assert after["listening"] == before["listening"] == 0
    assert after["handles"] <= before["handles"] + 2


NOTEBOOK = """
import time
import daskpar

with daskpar.open_client("local", workers=2) as client:
    open("ready", "w").close()
    time.sleep(600)
"""


@pytest.fixture
def kernel(tmp_path):
    """A kernel of a notebook, as Jupyter starts it."""
    manager = pytest.importorskip("jupyter_client.manager", reason="jupyter_client is not installed")
    kernel, client = manager.start_new_kernel(cwd=str(tmp_path), env=environment())
    yield kernel, client
    client.stop_channels()
    kernel.shutdown_kernel(now=True)


@pytest.mark.filterwarnings("default")  # of the notebook's own packages
@pytest.mark.parametrize("end", ["interrupt", "restart"])
def test_a_notebook_that_is_interrupted_or_restarted(kernel, tmp_path, end):
    manager, client = kernel
    client.execute(NOTEBOOK)
    deadline = time.monotonic() + 120
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = manager.provisioner.process.pid
    children = psutil.Process(pid).children(recursive=True)
    workers = [p for p in children if "resource_tracker" not in " ".join(p.cmdline())]  # it is Python's own
    assert len(workers) >= 2
    if end == "interrupt":
        manager.interrupt_kernel()
    else:
        manager.restart_kernel(now=True)
    _, alive = psutil.wait_procs(workers if end == "interrupt" else children, timeout=5)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def write(folder, seconds=0.0):
    (folder / "mine.py").write_text(
        "import time\n\n\ndef work(p):\n"
        f"    open(str(p['x']), 'w').close()\n    time.sleep({seconds})\n    return {{'x': p['x']}}\n"
    )
    recipe = {
        "name": "short", "analysis": "map", "inputs": {"grid": {"x": list(range(8))}},
        "options": {"function": "mine:work", "items_per_block": 1}, "outputs": ["table.ecsv"],
    }  # fmt: skip
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "site.yaml").write_text("kind: local\nworkers: 2\nmemory: 1 GiB\n")


BEGIN = ["run", "recipe.yaml", "-p", "site.yaml", "--allow-code", "--json"]


WITHOUT_BOKEH = """
import sys

sys.modules['bokeh'] = None
from daskpar.journal import Journal

update = Journal.update


def noting(self, **changes):
    if "dashboard" in changes:
        print(changes["dashboard"], file=open("links", "a"))
    update(self, **changes)


Journal.update = noting
"""


def test_a_run_without_bokeh_warns_and_goes_on(cli, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_BOKEH)
    write(tmp_path)
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    done = cli(*BEGIN, PYTHONPATH=path)
    assert done.code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["blocks_done"] == 8
    without = "no dashboard: Bokeh is not installed here; pip install bokeh"
    assert told["warnings"] == [without]
    assert f"warning: {without}" in cli("status", "last").stdout
    assert (tmp_path / "links").read_text().split() == ["None", "None"]  # with the cluster, and at the end
    (tmp_path / "site.yaml").write_text("kind: local\nworkers: 2\nmemory: 1 GiB\ndashboard: false\n")
    quiet = json.loads(cli(*BEGIN, PYTHONPATH=path).stdout)
    assert not quiet.get("warnings")


def test_a_busy_dashboard_port_disturbs_nobody(cli, tmp_path):
    """The default port of dask belongs to somebody else: ours is any free one."""
    import socket

    write(tmp_path)
    with socket.socket() as taken:
        try:
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        except OSError:
            pass  # taken already, which is as good
        done = cli(*BEGIN)
    assert done.code == 0, done.stderr
    assert "8787" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_after_dask_jobqueue_was_imported(start, tmp_path, number, code):
    """It installs a handler that makes Ctrl-C exit 0."""
    write(tmp_path, 1.0)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n\nif '-m' in sys.orig_argv and 'daskpar' in sys.orig_argv:\n    import dask_jobqueue\n"
    )
    process = start(*BEGIN, PYTHONPATH=f"{tmp_path}:{environment()['PYTHONPATH']}")
    deadline = time.monotonic() + 100
    while not (tmp_path / "0").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code
    assert "daskpar resume" in stderr
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_temporary_folders_of_checks_are_removed(cli, tmp_path):
    write(tmp_path)
    before = set(Path(tempfile.gettempdir()).glob("daskpar-*"))
    for verb in ("validate", "plan"):
        assert cli(verb, "recipe.yaml", "--allow-code").code == 0
    left = set(Path(tempfile.gettempdir()).glob("daskpar-*")) - before
    assert [path for path in left if path.name.startswith(("daskpar-plan", "daskpar-validate"))] == []
    assert not os.path.exists(tmp_path / "runs")
