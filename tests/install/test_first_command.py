"""The README's first command, on a fresh clone: environment, installation, main job."""

import os
import re
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.install, pytest.mark.timeout(1200)]


def clean():
    """An environment that knows nothing of the one that runs the tests."""
    hidden = ("PYTHON", "VIRTUAL_ENV", "DASKPAR", "PYTEST", "COV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    own = os.path.dirname(sys.executable)
    return {**kept, "PATH": os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if part != own)}


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What git would hand to a stranger: the files of this checkout, and nothing that is ignored."""
    target = tmp_path_factory.mktemp("clone") / "daskpar"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(source.read_bytes())
    return target


def test_first_command(clone):
    command = re.search(r"^```bash\n(.*)\n```$", (clone / "README.md").read_text(), re.MULTILINE)[1]
    assert "daskpar submit recipes/image_stats.yaml" in command
    done = subprocess.run(
        ["bash", "-c", command], cwd=clone, env=clean(), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=1100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "result hash" in done.stdout
    (results,) = (clone / "runs").glob("m13_like*/results")
    assert {path.name for path in results.iterdir()} == {"combined.fits", "frame_stats.ecsv", "preview.png"}


def test_the_installed_package_is_complete(clone, tmp_path):
    wheel = [str(clone / ".venv/bin/pip"), "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(wheel, cwd=clone, env=clean(), check=True, timeout=300)
    (built,) = tmp_path.glob("daskpar-*.whl")
    names = set(zipfile.ZipFile(built).namelist())
    sources = [path for path in (clone / "daskpar").rglob("*") if path.suffix in (".py", ".json", ".typed")]
    shipped = [*(clone / "conf").rglob("*"), *(clone / "recipes").rglob("*")]
    examples = [path for path in shipped if path.is_file()]
    wanted = {str(path.relative_to(clone)) for path in sources}
    wanted |= {f"daskpar/{path.relative_to(clone)}" for path in examples}
    assert wanted <= names
    assert not [name for name in names if name.startswith("tests")]


def test_an_example_profile_is_found_from_anywhere(clone, tmp_path):
    command = [str(clone / ".venv/bin/daskpar"), "validate", str(clone / "recipes/map.yaml"), "-p", "slurm"]
    done = subprocess.run(command, cwd=tmp_path, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    example = re.search(r"copy the example (\S+\.yaml) to", done.stderr)[1]
    assert "site-packages" in example
    assert subprocess.run([*command[:-1], example], cwd=tmp_path, env=clean(), check=False).returncode == 0
