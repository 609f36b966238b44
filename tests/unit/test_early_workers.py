"""The fork server of local workers: asked for where a recipe seems to need it, gone with its driver."""

import importlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

from daskpar.analysis import BUILT_IN
from daskpar.clusters import early

RECIPE = "name: r\nanalysis: {}\n"


@pytest.fixture
def asked(monkeypatch):
    """What the fork server was asked for: the modules, once."""
    found = []
    monkeypatch.setattr(early, "_method", "spawn")

    class Context:
        set_forkserver_preload = staticmethod(found.extend)

    monkeypatch.setattr(early.multiprocessing, "get_context", lambda method: Context)
    monkeypatch.setattr(
        early.forkserver, "ensure_running", lambda: found.append(os.environ["OMP_NUM_THREADS"])
    )
    return found


@pytest.mark.parametrize("analysis", [*BUILT_IN, "mine:ANALYSIS"])
def test_what_the_analysis_uses_is_imported(asked, tmp_path, analysis):
    (tmp_path / "r.yaml").write_text(RECIPE.format(analysis))
    before = os.environ.get("OMP_NUM_THREADS")
    early.prepare(tmp_path / "r.yaml", "local")
    assert early.method() == "forkserver"
    used = [f"daskpar.analyses.{analysis}.on_workers"] if analysis in BUILT_IN else early.OWN
    assert asked == [early.FIRST, *early.ALWAYS, *used, "1"]
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    for name in asked[1:-1]:
        importlib.import_module(name)  # the fork server would pass over what is missing


@pytest.mark.parametrize("profile", ["kind: slurm\n", "kind: local\nprocesses: false\n", None])
def test_other_profiles_need_none(asked, tmp_path, profile):
    (tmp_path / "r.yaml").write_text(RECIPE.format("map"))
    if profile is not None:
        (tmp_path / "p.yaml").write_text(profile)
    early.prepare(tmp_path / "r.yaml", tmp_path / "p.yaml")
    assert (early.method(), asked) == ("spawn", [])


def test_it_ends_with_its_driver_though_it_still_imports(tmp_path):
    (tmp_path / "r.yaml").write_text(RECIPE.format("image_stats"))
    code = (
        "import psutil, sys; from pathlib import Path; from daskpar.clusters import early;"
        "early.prepare(Path(sys.argv[1]), None);"
        "print(*[one.pid for one in psutil.Process().children()]);"  # and Python's own tracker of resources
        "sys.stdout.flush(); import os; os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "r.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -9
    _, alive = psutil.wait_procs(
        [psutil.Process(pid) for pid in map(int, done.stdout.split()) if psutil.pid_exists(pid)], 10
    )
    assert done.stdout.split(), done.stderr
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
