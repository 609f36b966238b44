"""Images, catalogs and recipes with random bytes changed, for ten minutes."""

import json
import subprocess
import sys

import pytest
from processes import ROOT, environment
from tally import SEED

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

SECONDS = 10


def test_fuzz(tally, tmp_path):
    def attempt(number):
        # A process of its own, which may crash.
        command = [sys.executable, str(ROOT / "tests" / "fuzzing.py"), str(SEED + number), str(SECONDS)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"code {done.returncode}: {done.stderr[-1500:]}"
        return json.loads(done.stdout.splitlines()[-1])

    tally("fuzz").each(attempt)
