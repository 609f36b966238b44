"""More files than may be open, and more data than all workers can hold."""

import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from astropy.io import fits
from killing import IMAGE_RECIPE
from processes import environment

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

FILES, HANDLES = 2000, 256
WORKERS, MEMORY, TIMES = 2, 400, 5  # MiB a worker
FRAME = 8  # MiB


def frames(folder, number, side, different):
    """Write so many frames, of which some are the same file under several names."""
    rng = np.random.default_rng(1)
    for i in range(number):
        path = folder / f"frame{i:04d}.fits"
        if i < different:
            fits.PrimaryHDU(rng.normal(1000, 30, (side, side)).astype(np.float32)).writeto(path)
        else:
            os.link(folder / f"frame{i % different:04d}.fits", path)
    (folder / "recipe.yaml").write_text(IMAGE_RECIPE)
    (folder / "site.yaml").write_text(f"kind: local\nworkers: {WORKERS}\nmemory: {MEMORY} MiB\n")


def watched(folder, *before, timeout=600):
    """Run the recipe; return the largest memory of a worker and the most handles open in a process."""
    command = [*before, sys.executable, "-m", "daskpar", "run", "recipe.yaml", "-p", "site.yaml"]
    with (
        open(folder / "said.txt", "w") as said,
        subprocess.Popen(
            command, cwd=folder, env=environment(DASKPAR_RUNS=str(folder / "runs")), stdout=said, stderr=said
        ) as process,
    ):
        try:
            found = watched_process(process, timeout)
        finally:
            process.kill()
    assert process.returncode == 0, (folder / "said.txt").read_text()[-2000:]
    assert "ended its worker" not in (folder / "said.txt").read_text()
    return found


def watched_process(process, timeout):
    driver = psutil.Process(process.pid)
    peak, handles, deadline = 0, 0, time.monotonic() + timeout
    while process.poll() is None:
        assert time.monotonic() < deadline, f"it takes more than {timeout} s"
        for child in driver.children(recursive=True):
            try:
                handles = max(handles, child.num_fds())
                # Between fork and exec a child is still the driver.
                if child.cmdline() != driver.cmdline():
                    peak = max(peak, high_water(child.pid))
            except (psutil.Error, OSError):
                continue
        time.sleep(0.05)
    return peak, handles


def high_water(pid):
    """Return the most memory a process ever held, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return next((1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)


def test_many_files(tally, tmp_path):
    def attempt(number):
        folder = tmp_path / f"many{number}"
        folder.mkdir()
        frames(folder, FILES, 64, FILES)
        limit = ["bash", "-c", f'ulimit -n {HANDLES}; exec "$0" "$@"']
        _, handles = watched(folder, *limit)
        return {"open": handles}

    tally("many_files").each(attempt)


def test_large_data(tally, tmp_path):
    def attempt(number):
        folder = tmp_path / f"large{number}"
        folder.mkdir()
        side = int((FRAME * 2**20 / 4) ** 0.5)
        frames(folder, TIMES * WORKERS * MEMORY // FRAME, side, 16)
        peak, _ = watched(folder)
        share = peak / (MEMORY * 2**20)
        assert share <= 1, f"a worker held {100 * share:.0f} % of what it may"
        return {"share": round(share, 3)}

    tally("large_data").each(attempt)
