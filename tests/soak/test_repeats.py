"""All tests of faults again and again, and the unit tests with the lowest versions that are allowed."""

import os
import subprocess
import sys

import parts
import pytest
from test_start_stop import outcome_of

pytestmark = [pytest.mark.soak, pytest.mark.timeout(4 * 3600)]

LOWEST = parts.ROOT / "tests" / "artefacts" / "lowest"


def test_fault_repeats(tally, tmp_path):
    tally("fault_repeats").each(lambda number: repeated("fault", tmp_path))


@pytest.mark.parametrize("place", ["slurm", "mpi"])
def test_fault_repeats_elsewhere(tally, tmp_path, place):
    tally(f"fault_repeats_{place}").each(lambda number: repeated(place, tmp_path))


def repeated(part, folder):
    """Run the tests of a part that are marked ``fault``; return how many passed and failed."""
    command = parts.command_of(part, ["-p", "no:cacheprovider", f"--basetemp={folder / 'repeat'}"])
    return outcome_of([*without_report(command), "-m", "fault"])


def without_report(command):
    return [word for word in command if not word.startswith("--junitxml")]


def test_lowest_versions(tally, tmp_path):
    def attempt(number):
        python = lowest_environment()
        # A cache of its own: another numba finds nothing in ours, and would put its code in place of it.
        command = ["env", f"NUMBA_CACHE_DIR={LOWEST / 'numba'}", python]
        command += parts.command_of("unit", ["-p", "no:cacheprovider"])[1:]
        return outcome_of(without_report(command))

    tally("lowest_versions").each(attempt)


def lowest_environment():
    """Make an environment of the lowest versions that pyproject.toml allows; return its Python."""
    python = LOWEST / "bin" / "python"
    complete, wanted = LOWEST / "complete", (parts.ROOT / "pyproject.toml").read_text()
    if not complete.exists() or complete.read_text() != wanted:
        base = getattr(sys, "_base_executable", sys.executable)
        subprocess.run([base, "-m", "venv", "--clear", str(LOWEST)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", "uv"], check=True)
        install = ["pip", "install", "--quiet", "--resolution", "lowest-direct", "--editable", ".[test]"]
        install += ["--only-binary", ":all:", "--no-binary", "daskpar"]  # what users get, who build nothing
        install += ["--compile-bytecode"]  # once, and not in each process where Python keeps none
        variables = {**os.environ, "VIRTUAL_ENV": str(LOWEST)}
        subprocess.run([str(python), "-m", "uv", *install], cwd=parts.ROOT, env=variables, check=True)
        complete.write_text(wanted)
    return str(python)
