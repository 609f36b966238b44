"""Every public name is what it says, in whatever order names and modules are imported."""

import importlib
import json
import subprocess
import sys

import pytest
from conftest import ROOT, environment

import daskpar

NAMES = sorted(daskpar._PUBLIC)
MODULES = sorted(
    {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "daskpar").rglob("*.py")
    }
    - {"daskpar.__main__", "daskpar", "daskpar.clusters.mpi"}  # the last needs an MPI
)

TWICE = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
for names in json.load(sys.stdin):
    for module in [m for m in sys.modules if m.split(".")[0] == "daskpar"]:
        del sys.modules[module]  # what others have made stays: it takes long, and is not ours
    for name in [n for n in names if n.startswith("daskpar.")]:
        importlib.import_module(name)
    import daskpar
    for name in [n for n in names if not n.startswith("daskpar.")] * 2:
        value = getattr(daskpar, name)
        assert callable(value), (names, name, value)
        assert not hasattr(value, "__path__"), (names, name)
        assert value.__name__ == name, (names, name, value)
        assert value.__doc__, name
        assert value is getattr(importlib.import_module(daskpar._PUBLIC[name]), name), (names, name)
"""


def test_every_name_twice_in_each_import_order():
    each_first = [[first, *(name for name in NAMES if name != first)] for first in NAMES]
    after_one = [[module, *NAMES] for module in MODULES if module.count(".") == 1]
    after_all = [[*MODULES, *NAMES], [*MODULES[::-1], *NAMES[::-1]]]
    done = subprocess.run(
        [sys.executable, "-c", TWICE],
        input=json.dumps([*each_first, *after_one, *after_all]),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_module_or_folder_has_the_name_of_a_public_function():
    """Importing ``daskpar.x`` would put the module where the function ``daskpar.x`` was."""
    top = {module.split(".")[1] for module in MODULES}
    assert top & set(NAMES) == set()


def test_all_says_what_there_is():
    assert sorted(daskpar.__all__) == NAMES
    assert set(NAMES) <= set(dir(daskpar))
    with pytest.raises(AttributeError, match="'daskpar' has no attribute 'nothing'"):
        _ = daskpar.nothing
    assert importlib.import_module("daskpar") is daskpar


def test_a_star_import_gives_them_all():
    code = "from daskpar import *; print(*sorted(n for n in dir() if not n.startswith('_')))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == NAMES
