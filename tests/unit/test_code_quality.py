"""Rules on the text: no machine's paths, docstrings on what is public, files of a readable length."""

import ast
import re
import subprocess

from conftest import ROOT

LISTED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
    cwd=ROOT,
    capture_output=True,
    check=False,
)
FILES = [ROOT / name for name in LISTED.stdout.decode().split("\0") if name and (ROOT / name).is_file()]
FILES = FILES or [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in str(path)]
MODULES = sorted(path for path in FILES if path.suffix == ".py" and ROOT / "daskpar" in path.parents)
TEXTS = [
    path
    for path in FILES
    if path.suffix in {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".ipynb", ".json", ""}
]

# Folders of somebody's machine. What every Unix has (/tmp, /usr/sbin) and what examples invent (/project/m13,
# /home/ann) is fine.
MACHINE_PATH = re.compile(
    r"(?<![\w.~])/(?:root|work|mnt|Users|home/(?!ann\b)\w+)/\w|/tmp/(?!(a|b|x)\b)[a-z]{2,}/[a-z]"
)
LONGEST = 420
LENGTH_OF_MOST, MOST = 250, 0.9


def name(path):
    return str(path.relative_to(ROOT))


def test_no_machine_paths():
    found = [
        f"{name(path)}:{number}: {line.strip()[:80]}"
        for path in TEXTS
        if path.name != "test_code_quality.py"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert not found, "\n".join(found)


def test_docstrings():
    missing = []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        missing += [] if ast.get_docstring(tree) else [name(path)]
        missing += [f"{name(path)} {node.name}" for node in _public(tree) if not ast.get_docstring(node)]
    assert not missing, "no docstring: " + ", ".join(missing)


def _public(tree):
    """Yield public classes and functions, and the public methods of these classes; not what overrides."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, definitions) and not node.name.startswith("_") and not _overloads(node):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from (
                    one for one in node.body if isinstance(one, definitions) and not one.name.startswith("_")
                )


def _overloads(node):
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in node.decorator_list)


def test_length_of_files():
    lengths = {name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST} == {}, (
        "they hold a second idea"
    )
    assert sum(lines <= LENGTH_OF_MOST for lines in lengths.values()) >= MOST * len(lengths)


def test_nothing_unfinished():
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    found = [name(path) for path in MODULES if marks.search(path.read_text())]
    assert not found


def test_no_assert_in_the_package():
    """``python -O`` removes them, so no check may depend on one."""
    found = [
        f"{name(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert not found


def test_nothing_is_ignored_without_a_reason():
    """``noqa`` and ``type: ignore`` name what they silence."""
    bare = re.compile(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)")
    found = [name(path) for path in MODULES if bare.search(path.read_text())]
    assert not found
