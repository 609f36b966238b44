"""Every command, code block and link of the README works.

A block whose first line is ``# name.suffix`` is a file. The shell blocks run in order, in a folder that holds
these files, eight frames in ``night1/``, and copies of ``recipes/`` and ``conf/``. The two commands of the
installation are tried elsewhere: the first in ``tests/install``, the second runs this test.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request

import pytest
from conftest import ROOT, environment

from daskpar.inputs.synthetic import SyntheticImages
from daskpar.inputs.synthetic_files import write_synthetic

README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")
SETUP = ("python3 -m venv", "bash tests/run.sh")

COMMANDS = [
    command
    for language, body in BLOCKS
    if language == "bash" and not body.startswith(SETUP)
    for command in body.strip().splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has who followed the README so far."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("recipes", "conf"):
        shutil.copytree(ROOT / name, folder / name)
    for _, body in BLOCKS:
        if named := FILE.match(body):
            (folder / named[1]).write_text(body)
    write_synthetic(SyntheticImages(n_frames=8, shape=(64, 64), stars=10), folder / "night1")
    command = folder / "bin" / "daskpar"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m daskpar "$@"\n')
    command.chmod(0o755)
    return folder


def test_every_block_is_tried():
    assert {language for language, _ in BLOCKS} == {"bash", "python", "yaml"}
    for language, body in BLOCKS:
        assert language == "bash" or FILE.match(body), body
    files = [FILE.match(body)[1] for language, body in BLOCKS if language != "bash"]
    assert len(set(files)) == len(files)
    words = {word for command in COMMANDS for word in command.split()}
    for file in files:
        used = file.removeprefix("conf/").removesuffix(".yaml") if file.startswith("conf/") else file
        assert used in words or f"import {used.removesuffix('.py')}" in README or used == "flats.py", file


@pytest.mark.timeout(900)
def test_the_commands_in_their_order(folder):
    path = os.pathsep.join([str(folder / "bin"), os.path.dirname(sys.executable), os.environ["PATH"]])
    variables = environment(PATH=path, DASKPAR_CONFIG=str(folder / "none"), HOME=os.environ.get("HOME", "/"))
    variables.pop("DASKPAR_RUNS", None)
    for command in COMMANDS:
        if command.startswith("daskpar dashboard"):
            _serve(command, folder, variables)
            continue
        done = subprocess.run(
            ["bash", "-e", "-c", command], cwd=folder, env=variables, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{command}\n{done.stderr}"
    results = {path.name for path in folder.glob("runs/*/results/*")}
    assert results >= {"sky.ecsv", "sky.parquet", "distances.ecsv", "levels.ecsv"}
    assert results >= {"combined.fits", "frame_stats.ecsv", "preview.png"}


def _serve(command, folder, variables):
    """Try a command that serves until it is interrupted: its page is there."""
    process = subprocess.Popen(
        command.split(), cwd=folder, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        address = process.stdout.readline().strip()
        assert "daskpar" in urllib.request.urlopen(address, timeout=60).read().decode()
    finally:
        process.terminate()
        process.communicate()


@pytest.mark.parametrize("page", PAGES)
def test_links(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), f"{page} links to {target}"


def test_the_two_commands_come_first():
    setup = [body.strip() for language, body in BLOCKS if language == "bash"][:2]
    assert setup == [
        "python3 -m venv .venv && .venv/bin/pip install . && "
        ".venv/bin/daskpar submit recipes/image_stats.yaml",
        "bash tests/run.sh",
    ]


def test_every_recipe_has_its_line():
    for path in (ROOT / "recipes").iterdir():
        assert f"](recipes/{path.name})" in README


@pytest.mark.parametrize("folder", ["daskpar", "recipes", "conf", "notebooks", "tests"])
def test_every_folder_has_its_sentence(folder):
    folders = [p for p in (ROOT / folder).iterdir() if p.is_dir() and not p.name.startswith(("_", "."))]
    inner = [f"daskpar/{p.name}" for p in folders if any(p.glob("*.*"))] if folder == "daskpar" else []
    for name in [folder, *inner]:
        assert f"]({name})" in README, f"README has no sentence on {name}"


def test_commands_in_the_text_exist():
    """Those named in passing, which no block tries: the verb and its options are known."""
    from typer.main import get_command

    from daskpar.cli import app

    verbs = get_command(app).commands
    bare = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    shown = re.findall(r"`(daskpar\s[^`]+)`", README) + [
        line.partition("#")[0] for block in bare for line in block.splitlines() if line.startswith("daskpar ")
    ]
    assert len(shown) > 20
    for command in shown:
        _, verb, *rest = command.split()
        if not verb.startswith("-"):
            options = {name for one in verbs[verb].params for name in (*one.opts, *one.secondary_opts)}
            asked = {word.partition("=")[0] for word in rest if word.startswith("-")}
            assert asked <= options | {"--help"}, command
