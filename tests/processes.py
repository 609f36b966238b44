"""Processes of daskpar that use this checkout, and a file to which they tell what they do."""

import collections
import dataclasses
import os
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
# Before a command, so that it has no more rights than a user even where root runs it.
AS_USER = (
    ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0
    else []
)


def environment(**more):
    """Return the environment of a daskpar process that uses this checkout."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def listening(processes):
    """The addresses on which some processes wait for connections."""
    return {
        connection.laddr.ip
        for process in processes
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def ours():
    """This process and all below it."""
    here = psutil.Process()
    found = [here, *here.children(recursive=True)]
    # Without Python's own.
    return [process for process in found if "resource_tracker" not in " ".join(process.cmdline())]


@dataclasses.dataclass
class Count:
    """A file to which any process appends a line for what it did; lines never mix, for O_APPEND is atomic."""

    path: Path

    @property
    def source(self):
        """A function ``mark(text)`` for the user's module of a test, as text."""
        return (
            "import os\n"
            "def mark(text):\n"
            f"    file = os.open({str(self.path)!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n"
            "    os.write(file, f'{text}\\n'.encode())\n"
            "    os.close(file)\n"
        )

    def lines(self):
        return self.path.read_text().splitlines() if self.path.exists() else []

    def each(self):
        """How often each line was written."""
        return collections.Counter(self.lines())

    def clear(self):
        self.path.unlink(missing_ok=True)
