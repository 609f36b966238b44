"""Commands with the time they took, for limits that hold also while others compute on the same cores."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path


@dataclasses.dataclass
class Timed:
    """How a process ended, and its seconds: of the clock, of those for a core, and of CPU time."""

    code: int
    stdout: str
    stderr: str
    wall: float
    waited: float
    cpu: float

    @property
    def seconds(self):
        """Of the clock, without those in which it could have gone on if only there had been a core."""
        return self.wall - self.waited

    def figures(self):
        return {name: round(getattr(self, name), 2) for name in ("wall", "waited", "cpu")}


def timed(command, timeout=60, **options):
    """Run a command; one that goes on for longer is killed, which its exit code tells."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as told:
        clock = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=told, **options)
        timer = threading.Timer(timeout, os.kill, (process.pid, signal.SIGKILL))
        timer.start()
        # Not yet reaped, so that the system still knows how long it waited for a core.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        wall = time.monotonic() - clock
        timer.cancel()
        waited = 0.0
        with contextlib.suppress(OSError):
            waited = int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[1]) / 1e9
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [file.seek(0) or file.read().decode() for file in (out, told)]
    return Timed(process.returncode, *texts, wall, waited, used.ru_utime + used.ru_stime)


def within(limit, run):
    """Return how ``run()`` ended, which may not take longer; once more where the machine held it up."""
    for _ in range(3):
        ended = run()
        if ended.seconds <= limit and ended.cpu <= limit:
            return ended
    raise AssertionError(f"more than {limit} s, three times: {ended}")
