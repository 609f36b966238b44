"""Runs whose workers note in a file which blocks they compute and have stored, whatever the analysis is."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from killing import BLOCKS, SECONDS, SMALL_BLOCKS, Case, ImageCase
from processes import Count, environment

# Put around daskpar's own functions, in each process: the analysis knows nothing of it.
SITE = """
import os, time

if os.environ.get("BLOCK_SECONDS"):
    from daskpar import block, durable

    compute, work = durable.Durable.__call__, block.BlockWork.__call__

    def computing(self, *arguments, **keywords):
        mark(f"begin {self.key} {os.getpid()}")
        time.sleep(float(os.environ["BLOCK_SECONDS"]))
        return compute(self, *arguments, **keywords)

    def working(self, durable, *arguments, **keywords):
        receipt = work(self, durable, *arguments, **keywords)
        mark(f"stored {durable.key} {os.getpid()}")
        return receipt

    durable.Durable.__call__, block.BlockWork.__call__ = computing, working
"""
WORKERS = 3
KINDS = ("map", "plugin", "image")


class Watched:
    """A recipe in a folder of its own, run again and again.

    Attributes
    ----------
    expected : dict
        The status of a run that nobody disturbed.
    seconds : float
        How long that took.
    """

    def __init__(self, kind, folder, seconds=SECONDS):
        folder.mkdir(parents=True)
        self.folder, self.seconds_a_block = folder, seconds
        self.count = Count(folder / "noted.txt")
        self.case = (
            ImageCase(folder, self.count) if kind == "image" else Case(kind, folder, self.count, seconds=0)
        )
        (folder / "site").mkdir(exist_ok=True)
        site = self.count.source + SITE + (SMALL_BLOCKS if kind == "image" else "")
        (folder / "site" / "sitecustomize.py").write_text(site)
        (folder / "site.yaml").write_text(f"kind: local\nworkers: {WORKERS}\nmemory: 1 GiB\n")
        clock = time.monotonic()
        self.expected = self.finished(self.start("calm"))
        self.seconds = time.monotonic() - clock
        self.outputs = self.contents("calm")
        assert self.expected["blocks_total"] >= BLOCKS
        self.count.clear()

    def start(self, runs, *arguments):
        """Begin a run below the folder `runs`, or go on as the arguments say."""
        path = os.pathsep.join([str(self.folder / "site"), environment()["PYTHONPATH"]])
        variables = environment(
            PYTHONPATH=path, BLOCK_SECONDS=str(self.seconds_a_block), DASKPAR_RUNS=str(self.folder / runs)
        )
        with open(self.folder / "said.txt", "w") as said, open(self.folder / "status.json", "w") as status:
            return subprocess.Popen(
                [sys.executable, "-m", "daskpar", *(arguments or self.case.begin)], cwd=self.folder,
                env=variables, stdout=status, stderr=said, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def finished(self, process, timeout=300):
        """Wait for a command and return the status it printed."""
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            raise
        assert code == 0, (code, (self.folder / "said.txt").read_text()[-1500:])
        return json.loads((self.folder / "status.json").read_text())

    def contents(self, runs):
        """Return what the outputs hold, without who made them and when."""
        return {path.name: plain(path) for path in sorted(self.folder.glob(f"{runs}/*/results/*"))}

    def noted(self):
        """Return (what, block, process) in the order in which it happened."""
        words = [line.split() for line in self.count.lines()]
        return [(what, block, int(process)) for what, block, process in (w for w in words if len(w) == 3)]


def plain(path):
    """Return the values in an output as something to compare."""
    if path.suffix == ".fits":
        from astropy.io import fits

        with fits.open(path) as hdus:
            return [hdu.data.tobytes() for hdu in hdus if hdu.is_image and hdu.data is not None]
    return [line for line in Path(path).read_text().splitlines() if not line.startswith("#")]


def redone(noted):
    """Return the blocks that were computed again though they had been stored."""
    stored, again = set(), []
    for what, block, _ in noted:
        if what == "stored":
            stored.add(block)
        elif block in stored:
            again.append(block)
    return again


def computing(noted):
    """Return the processes that compute a block now, and whether enough is stored."""
    busy = {}
    for what, block, process in noted:
        if what == "begin":
            busy[block] = process
        else:
            busy.pop(block, None)
    return busy
