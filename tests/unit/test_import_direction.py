"""Who may import whom: the rules of the architecture, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, environment

PACKAGE = ROOT / "daskpar"
FILES = sorted(path for path in PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]


def imports(path, typing=False):
    """Return the modules that a source file imports anywhere, without those for type checkers only."""
    package = [*path.relative_to(ROOT).parts[:-1]]
    found = set()
    for node in statements(ast.parse(path.read_text()), typing):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def statements(tree, typing):
    for child in ast.iter_child_nodes(tree):
        if not typing and isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        yield child
        yield from statements(child, typing)


def uses(path, *modules):
    """Return which of some modules, or modules below them, a file imports."""
    return {m for m in modules for name in imports(path) if name == m or name.startswith(m + ".")}


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def files(*patterns, without=()):
    found = [path for path in FILES if any(path.relative_to(PACKAGE).match(p) for p in patterns)]
    return [path for path in found if not any(path.relative_to(PACKAGE).match(p) for p in without)]


def in_kernel(path):
    return "kernel" in path.parts or path.name == "kernel.py"


def breaches(paths, *modules):
    return {place(path): found for path in paths if (found := uses(path, *modules))}


def test_there_is_something_to_look_at():
    assert "cli.py" in NAMES
    assert "analyses/map/with_dask.py" in NAMES
    assert "typer" in imports(PACKAGE / "cli.py")
    assert "daskpar.errors" in imports(PACKAGE / "ledger.py")


def test_kernels_know_numbers_only():
    foreign = (
        "dask",
        "distributed",
        "xarray",
        "astropy",
        "pydantic",
        "mpi4py",
        "bokeh",
        "multiprocessing",
        "socket",
    )
    assert breaches([path for path in FILES if in_kernel(path)], *foreign) == {}


def test_kernels_import_nothing_of_ours_but_kernels_and_errors():
    for path in (path for path in FILES if in_kernel(path)):
        own = path.relative_to(ROOT).with_suffix("").parts
        kernel = ".".join(own[: own.index("kernel") + 1])
        ours = {name for name in imports(path) if name.startswith("daskpar.")}
        allowed = ("daskpar.errors", "daskpar.compiled", "daskpar.aligned", kernel, kernel.rpartition(".")[0])
        assert {name for name in ours if not name.startswith(allowed)} == set(), place(path)


def test_analyses_never_see_a_client():
    assert (
        breaches(files("analyses/**/*.py", "analyses/*/*.py"), "distributed", "dask_jobqueue", "dask_mpi")
        == {}
    )


def test_what_is_written_by_hand_knows_no_dask():
    by_hand = [p for p in files("analyses/*/with_*.py") if p.name != "with_dask.py"]
    assert breaches(by_hand, "dask", "daskpar.durable", "xarray") == {}


def test_versions_never_import_each_other():
    for path in files("analyses/*/with_*.py"):
        others = {name for name in imports(path) if ".with_" in name and f".{path.stem}" not in name}
        assert others == set(), place(path)


def test_distributed_is_used_where_clusters_are():
    allowed = ("clusters/*.py", "execution.py", "dashboard/*.py")
    assert breaches(files("**/*.py", "*.py", without=allowed), "distributed", "dask_jobqueue") == {}


def test_mpi_is_used_where_ranks_are():
    allowed = ("analyses/*/with_mpi4py.py", "clusters/mpi.py", "doctor.py")
    assert breaches(files("**/*.py", "*.py", without=allowed), "mpi4py", "dask_mpi") == {}


ORDER = [
    ["cli", "__main__"],
    "submission driver comparison dashboard progress doctor planning replay verification rebuilding".split(),
    ["execution", "preparation"],
    ["recipe", "profile", "inputs", "clusters", "ledger", "rundir", "outputs", "provenance", "settings"],
    ["analysis"],
    ["errors"],
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}


def level(module):
    return LEVEL.get(module.split(".")[1] if "." in module else "", None)


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_down(name):
    path = PACKAGE / name
    own = level(".".join(("daskpar", *Path(name).with_suffix("").parts)))
    if own is None:
        return
    # A lazy import of `preparation` or `driver` inside a function is still an import of it.
    up = {m for m in imports(path) if (other := level(m)) is not None and other < own}
    assert up == set()


def test_watchers_are_imported_by_nothing_that_computes():
    computing = [
        "block.py",
        "durable.py",
        "durable_graph.py",
        "ledger.py",
        "execution.py",
        "driver.py",
        "journal.py",
    ]
    for path in [*(PACKAGE / name for name in computing), *files("analyses/**/*.py", "inputs/*.py")]:
        assert uses(path, "daskpar.progress", "daskpar.dashboard", "bokeh", "rich") == set(), place(path)


def test_leaves_are_leaves():
    assert {m for m in imports(PACKAGE / "durable.py") if m.startswith("daskpar")} == set()
    assert {m for m in imports(PACKAGE / "errors.py") if m.startswith("daskpar")} == set()


@pytest.mark.parametrize(
    "command", ["import daskpar", "import daskpar.cli; daskpar.cli.run_command(['--help'])"]
)
def test_importing_and_helping_load_nothing_heavy(command):
    heavy = ("numba", "bokeh", "distributed", "xarray", "dask", "numpy", "astropy", "pydantic")
    code = f"import sys; {command}; print(*(m for m in {heavy} if m in sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "\n")


@pytest.mark.parametrize("verb", ["status", "list", "logs"])
def test_looking_at_runs_loads_nothing_heavy(verb, tmp_path):
    code = (
        f"import sys, daskpar.cli; daskpar.cli.run_command(['{verb}', '--runs', '{tmp_path}']);"
        "print(*(m for m in ('numba', 'bokeh', 'distributed', 'xarray') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == ""
